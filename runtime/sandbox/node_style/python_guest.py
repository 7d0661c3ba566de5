"""Who answers the host from a process with all of Python?

The main of a Node-style process: it speaks on descriptor 3 what isolates speak, on an event loop of the standard
library, loads the Node-style modules of one bundle and serves calls of their actions until the host closes the channel.
Started by name, with the folder of the bundle's packages as its argument where it has any.

Rules
1. The packages of the tenant come before everything that is ours; ours cannot be imported but for ``runtime``.
2. Nothing that a tenant's code raises ends the process, ``SystemExit`` included.
3. What the host says is trusted, and must still be a message: a guest that cannot read its host ends.
"""

import asyncio
import contextlib
import gc
import importlib
import os
import socket
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any, NoReturn

from runtime import limits
from runtime.protocol.declaration import Diagnostic
from runtime.protocol.framing import ProtocolViolation, frame, splitter_for_guest
from runtime.protocol.messages import (
    Answer,
    CallFunction,
    Level,
    Load,
    Loaded,
    LoadRefused,
    Ping,
    Pong,
    Ready,
    Refuse,
    SetEnvironment,
    Stop,
)
from runtime.sandbox.guest.calls import Desk
from runtime.sandbox.guest.loader import PACKAGE, Refused
from runtime.sandbox.guest.tracebacks import describe
from runtime.sandbox.node_style import bundle, console
from runtime.sandbox.node_style.python_calls import NodeStyleCall
from runtime.sdk.env import replace_environment

CHANNEL = 3


class Guest(asyncio.Protocol):
    """The dispatcher: what each message of the host sets in motion."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._splitter = splitter_for_guest(limits.HOST_FRAME)
        self._transport: Any = None
        self._desk = Desk(loop, self._send)
        # What the process was started with stays: paths and the like.
        self._own_variables = dict(os.environ)
        self._serve: dict[type, Any] = {
            Load: self._load,
            SetEnvironment: lambda message: self._set_environment(message.environment),
            CallFunction: self._call_function,
            Answer: self._desk.answer,
            Refuse: self._desk.refuse,
            Stop: self._desk.stop,
            Ping: lambda message: self._send(frame(Pong(message.number))),
        }
        console.install(self._desk.own_line, PACKAGE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say that we are ready."""
        self._transport = transport
        self._send(frame(Ready(())))

    def data_received(self, data: bytes) -> None:
        """Hear the host."""
        try:
            for message in self._splitter.feed(data):
                self._serve[type(message)](message)
        except ProtocolViolation:
            os._exit(70)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nobody to work for."""
        os._exit(0)

    def _send(self, data: bytes) -> None:
        if threading.get_ident() == self._thread:
            self._transport.write(data)
        else:
            self._loop.call_soon_threadsafe(self._transport.write, data)

    def _load(self, message: Load) -> None:
        self._desk.deployment = message.deployment
        self._set_environment(message.environment)
        folder = Path(tempfile.mkdtemp(prefix="bundle-"))
        try:
            # A context of its own: what import time sets must not be seen by any call.
            loaded = Context().run(bundle.load, message, folder, self._desk.sources, self._desk.own_line)
        except Refused as refused:
            self._send(frame(LoadRefused(refused.diagnostics[: limits.DIAGNOSTICS])))
            return
        except Exception as error:  # a full disk, or something of the bundle's that cannot even be looked at
            self._send(frame(LoadRefused((Diagnostic("", 1, f"the bundle cannot be loaded: {describe(error)}"),))))
            return
        self._desk.functions = loaded.functions
        gc.freeze()
        self._send(frame(Loaded(loaded.declaration)))

    def _set_environment(self, variables: Mapping[str, str]) -> None:
        replace_environment(variables)
        wanted = {**self._own_variables, **variables}
        for name in set(os.environ) - set(wanted):
            del os.environ[name]
        for name, value in wanted.items():
            # A name or value that no process can have is still there in `env`.
            with contextlib.suppress(ValueError, OSError):
                os.environ[name] = value

    def _call_function(self, message: CallFunction) -> None:
        call = NodeStyleCall(self._desk, message, self._thread)
        call.begin(call.run(message))

    def complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error that nobody waits for."""
        error = context.get("exception")
        text = str(context.get("message", ""))
        self._desk.own_line(Level.ERROR, text if error is None else f"{text}: {describe(error)}")


def main() -> NoReturn:
    """Serve the host until it closes the channel."""
    _find_packages(sys.argv[1:])
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(int(limits.NODE_THREADS), "action"))
    guest = Guest(loop)
    loop.set_exception_handler(guest.complain)
    channel = socket.socket(fileno=CHANNEL)
    channel.setblocking(False)
    # Neither a program that is started nor a fork has anything to say to the host.
    os.set_inheritable(CHANNEL, False)
    os.register_at_fork(after_in_child=lambda: os.close(CHANNEL))
    connecting = loop.create_unix_connection(lambda: guest, sock=channel)
    starting = loop.create_task(connecting)
    while True:
        # `sys.exit` in a task goes through the loop; whoever awaits that task hears of it too.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
        if starting.done() and starting.exception() is not None:
            os._exit(71)


def _find_packages(folders: list[str]) -> None:
    """Let imports find the standard library and the tenant's packages, and nothing else of this installation."""
    # Read by `zoneinfo` where the machine has no time zones of its own.
    for name in ("tzdata", "tzdata.zoneinfo"):
        importlib.import_module(name)
    paths = sysconfig.get_paths()
    standard = {paths["stdlib"], paths["platstdlib"]}
    kept = [path for path in sys.path if path in standard or path.endswith((".zip", "lib-dynload"))]
    sys.path[:] = [*folders, *kept]
    sys.dont_write_bytecode = True
    sys.argv[:] = [PACKAGE]


if __name__ == "__main__":
    main()
