"""A place to run hostile programs in: lanes, and a world outside to be left untouched.

A program says one word for its attack ("done", or the name of an errno), on its standard output. The same program can
be run without a wall, to see that it would have got out.
"""

import asyncio
import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from runtime.egress.rules import NotAllowed
from runtime.limits import MIB
from worker.lane.launcher import Launcher
from worker.lane.launching import LaneEnd, LaneProcess, Launch
from worker.removing import remove

Result = TypeVar("Result")
PYTHON = os.path.realpath(sys.executable)
NODE = shutil.which("node")
_PRELUDE = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading, time
W = json.loads(sys.argv[1])
def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    found = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return found
def attack():
{attack}
try:
    print(attack() or "done", flush=True)
except OSError as error:
    print(errno.errorcode.get(error.errno, error.errno), flush=True)
"""


@dataclass
class Doors:
    """A judge that lets through what goes to some ports, and to hosts at addresses it would not let through alone."""

    ports: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    def check_name(self, host: str) -> None:
        if host not in self.names:
            raise NotAllowed(f"{host} may not be asked for")

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        if port is None or port in self.ports:
            return addresses
        raise NotAllowed(f"{host or addresses[0]}, port {port}, is not allowed")

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)


class Door:
    """A listener that says one byte to whoever connects."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Door":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"!")


class World:
    """Files, listeners and a neighbour that an attacker would like to reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = contextlib.ExitStack()
        self.neighbour = subprocess.Popen(["sleep", "1000"])
        for name in ("data", "packages", "neighbours_scratch"):
            (folder / name).mkdir()
            (folder / name / "kept").write_text("sings")
        self._sockets = {
            "tcp": self._listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "tcp6": self._listen(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            "udp": self._listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "path": self._listen(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
            "datagrams": self._listen(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagrams")),
            "abstract": self._listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0lane-{os.getpid()}-{folder.name}"),
        }
        self.told = {
            "data": str(folder / "data"),
            "packages": str(folder / "packages"),
            "neighbours_scratch": str(folder / "neighbours_scratch"),
            "tcp": self._sockets["tcp"].getsockname()[1],
            "tcp6": self._sockets["tcp6"].getsockname()[1],
            "udp": self._sockets["udp"].getsockname()[1],
            "path": str(folder / "socket"),
            "datagrams": str(folder / "datagrams"),
            "abstract": f"lane-{os.getpid()}-{folder.name}",
            "host": os.getpid(),
            "neighbour": self.neighbour.pid,
        }

    def _listen(self, family: int, kind: int, address: Any) -> socket.socket:
        listener = self._open.enter_context(socket.socket(family, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        return listener

    def touched(self) -> list[str]:
        """What has been reached: nothing, if the wall holds."""
        with selectors.DefaultSelector() as selector:
            for name, each in self._sockets.items():
                selector.register(each, selectors.EVENT_READ, name)
            reached = [str(key.data) for key, _ in selector.select(0)]
        for folder in ("data", "packages", "neighbours_scratch"):
            if sorted(path.name for path in (self.folder / folder).iterdir()) != ["kept"]:
                reached.append(folder)
            kept = self.folder / folder / "kept"
            if kept.read_text() != "sings" or kept.stat().st_mode & 0o777 != 0o644:
                reached.append(f"{folder}/kept")
        if self.neighbour.poll() is not None:
            reached.append("neighbour")
        return reached

    def close(self) -> None:
        """Close the listeners, and end the neighbour."""
        self._open.close()
        self.neighbour.kill()
        self.neighbour.wait()


@dataclass(frozen=True)
class Ran:
    """What a program said, and how its lane ended."""

    said: str
    end: LaneEnd
    left: list[int]

    @property
    def word(self) -> str:
        """Its last line."""
        return self.said.strip().rpartition("\n")[2]


class Lab:
    """A launcher and an event loop of its own, for tests that are not asynchronous."""

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self.launcher = Launcher(None if names is None else _book(names))
        self.folder = Path(tempfile.mkdtemp())
        self.folder.chmod(0o711)
        self.do(self.launcher.start())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something to its end, or fail after half a minute."""
        return self._loop.run_until_complete(asyncio.wait_for(work, 30))

    def open(
        self,
        command: Sequence[str],
        judge: Doors | None = None,
        readable: Sequence[Path] = (),
        memory: int = 256 * MIB,
        environment: dict[str, str] | None = None,
    ) -> LaneProcess:
        """Open a lane with a scratch folder of its own."""
        scratch = Path(tempfile.mkdtemp(dir=self.folder))
        pythons = (Path(sys.base_prefix),) if command[0] == PYTHON else ()
        what = Launch(tuple(command), environment or {}, (*pythons, *readable), scratch, memory, judge)
        return self.do(self.launcher.launch(what))

    def run(self, command: Sequence[str], **how: Any) -> Ran:
        """Open a lane, hear what it says, and wait for its end."""
        lane = self.open(command, **how)
        return self.do(_to_the_end(lane))

    async def hear(self, lane: LaneProcess) -> bytes:
        """What a lane says next on its channel."""
        return await self._loop.sock_recv(lane.socket, 4096)

    def close(self) -> None:
        """End everything."""
        self.do(self.launcher.stop())
        self._loop.close()
        remove(self.folder)


def _book(names: Mapping[str, Sequence[str]]) -> Callable[[str], Awaitable[Sequence[str]]]:
    """A resolver that knows these names and no others."""

    async def resolve(name: str) -> Sequence[str]:
        if name not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return names[name]

    return resolve


async def _to_the_end(lane: LaneProcess) -> Ran:
    said = b""
    async for piece in lane.words():
        said += piece
    end = await lane.ended()
    await lane.close()
    return Ran(said.decode(errors="replace"), end, members_of(lane.pid))


def members_of(group: int) -> list[int]:
    """The processes that are in a process group now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(path.parent.name))
    return found


def in_python(attack: str, world: dict[str, Any]) -> list[str]:
    """The command that carries out an attack in Python; the attack is the body of a function that may return a word."""
    body = "\n".join(f"    {line}" for line in attack.strip("\n").splitlines())
    return [PYTHON, "-I", "-S", "-c", _PRELUDE.replace("{attack}", body), json.dumps(world)]


def in_node(attack: str, world: dict[str, Any]) -> list[str]:
    """The command that carries out an attack in Node.js; the attack calls ``say(word)`` or ``say(error)``."""
    prelude = (
        "const W = JSON.parse(process.argv[1]);"
        "const say = word => { console.log(word && word.code || String(word)); process.exit(0); };"
        "process.on('uncaughtException', say);"
    )
    assert NODE is not None
    return [NODE, "-e", prelude + attack, json.dumps(world)]


def without_a_wall(command: Sequence[str], folder: Path) -> str:
    """What the same program says when nothing stops it."""
    ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=30, env={}, check=False)
    return ran.stdout.strip().rpartition("\n")[2]
