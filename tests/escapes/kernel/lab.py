"""A place to run attacks in: a zygote whose isolates carry them out, and a world outside to be left untouched.

Judged from outside: by how the process ended, the one word it said, and what happened to files and listeners.
"""

import asyncio
import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from runtime.isolates.process import IsolateProcess
from runtime.isolates.zygote import Zygote
from tests.escapes.kernel.registry import Target

GUEST = Path(__file__).with_name("guest.py")
Result = TypeVar("Result")


class World:
    """Files, listeners and a neighbour that an attacker would like to reach."""

    def __init__(self, folder: Path, peer: int) -> None:
        folder.chmod(0o777)
        self.folder = folder / "open"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.canary = folder / "canary"
        self.canary.write_text("sings")
        self.canary.chmod(0o666)
        self._listeners = contextlib.ExitStack()
        self.tcp = self._listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = self._listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        path = str(folder / "socket")
        self.by_path = self._listen(socket.AF_UNIX, socket.SOCK_STREAM, path)
        self.abstract = self._listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0warren-canary-{os.getpid()}-{peer}")
        self.target = Target(
            canary=str(self.canary),
            folder=str(self.folder),
            tcp=self.tcp.getsockname()[1],
            udp=self.udp.getsockname()[1],
            path_socket=path,
            abstract_socket=f"warren-canary-{os.getpid()}-{peer}",
            host=os.getpid(),
            peer=peer,
        )

    def _listen(self, family: int, kind: int, address: Any) -> socket.socket:
        listener = self._listeners.enter_context(socket.socket(family, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        return listener

    def touched(self) -> list[str]:
        """What has been reached: nothing, if the wall holds."""
        with selectors.DefaultSelector() as selector:
            for name in ("tcp", "udp", "by_path", "abstract"):
                selector.register(getattr(self, name), selectors.EVENT_READ, name)
            reached = [str(key.data) for key, _ in selector.select(0)]
        reached += sorted(path.name for path in self.folder.iterdir())
        if self.canary.read_text() != "sings" or self.canary.stat().st_mode & 0o777 != 0o666:
            reached.append("canary")
        return reached

    def close(self) -> None:
        """Close the listeners."""
        self._listeners.close()


class Lab:
    """A zygote and an event loop of its own, for tests that are not asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.zygote = Zygote(guest=str(GUEST))
        self.do(self.zygote.start())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something to its end, or fail after half a minute."""
        return self._loop.run_until_complete(asyncio.wait_for(work, 30))

    def isolate(self) -> IsolateProcess:
        """Fork an isolate and wait until it says that it is locked down."""
        process = self.do(self.zygote.fork())
        if not self.line(process):
            words = process.last_words()
            process.close()
            raise AssertionError(words)
        return process

    def line(self, process: IsolateProcess) -> str:
        """The next line that an isolate says; empty when it has closed the channel by ending."""
        return self.do(_line(self._loop, process.socket))

    def order(self, process: IsolateProcess, name: str, target: Target) -> None:
        """Tell an isolate which attack to carry out."""
        order = json.dumps({"attack": name, "target": asdict(target)}).encode() + b"\n"
        self.do(self._loop.sock_sendall(process.socket, order))

    def attack(self, name: str, target: Target) -> tuple[str, int]:
        """Have an attack carried out; the word it ended with, if it lived to say one, and the exit status."""
        process = self.isolate()
        try:
            self.order(process, name, target)
            return self.line(process), self.do(process.exit_status())
        finally:
            process.kill()
            process.close()

    def close(self) -> None:
        """End everything."""
        self.do(self.zygote.stop())
        self._loop.close()


async def _line(loop: asyncio.AbstractEventLoop, channel: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        try:
            piece = await loop.sock_recv(channel, 4096)
        except ConnectionResetError:
            return ""
        if not piece:
            return ""
        line += piece
    return line.decode().strip()


def controls(target: Target) -> dict[str, str]:
    """Run the attacks that may be run without a wall, and say how they ended."""
    ran = subprocess.run([sys.executable, str(GUEST), json.dumps(asdict(target))], capture_output=True, check=True)
    ended: dict[str, str] = json.loads(ran.stdout)
    return ended


def ended(pidfd: int) -> bool:
    """Whether a process ends within half a minute."""
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        return bool(selector.select(30))
