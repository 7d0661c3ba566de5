"""Node-style processes to call: the real guests, crews and counter, started without any confinement."""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import SyscallRefused
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version
from runtime.isolates.isolate import Isolate
from runtime.isolates.process import IsolateProcess
from runtime.names import DeploymentName, RequestId, VersionNumber, parse_function_path
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Engine, Kind, Packages
from runtime.protocol.messages import Failure, Level
from worker.node_style.crews import Crews, Sizes
from worker.node_style.keeping import Keeper
from worker.node_style.node_style import NodeStyle
from worker.node_style.programs import Program

NAME = DeploymentName("happy-animal-1")


class Clock:
    """A clock that a test may put forward."""

    ahead = 0.0

    def now(self) -> float:
        return time.time() * 1000

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Unconfined:
    """Starts programs as they are. For tests alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launched: list[Program] = []

    async def launch(self, program: Program) -> IsolateProcess:
        self.launched.append(program)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        read, write = os.pipe()
        os.set_blocking(read, False)
        scratch = tempfile.mkdtemp(dir=self.folder)
        environment = {"PATH": os.environ["PATH"], "TMPDIR": scratch}
        number = theirs.fileno()
        child = subprocess.Popen(
            program.command("node"),
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            env=environment,
            cwd=scratch,
            pass_fds=(3,),
            preexec_fn=lambda: os.dup2(number, 3),
        )
        theirs.close()
        os.close(write)
        pidfd = os.pidfd_open(child.pid)
        process = IsolateProcess(ours, read, child.pid, pidfd)
        watched = os.dup(pidfd)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(watched)
            os.close(watched)
            process.ended(child.wait())

        loop.add_reader(watched, ended)
        return process


class Desk:
    """A counter with a few things on it, and a log."""

    def __init__(self, house: "House") -> None:
        self._house = house

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        asked = msgspec.msgpack.decode(args)
        self._house.asked.append((name, asked))
        if name == "run.mutation" and asked[0] == "messages:refuse":
            raise SyscallRefused("no", "ApplicationError", values.encode({"code": 7, "big": values.Int64(1)}))
        if name == "run.query" and asked[0] == "messages:never":
            await asyncio.Event().wait()
        if name == "run.query":
            return values.encode({"path": asked[0], "args": asked[1]})
        if name == "auth.identity":
            return values.encode({"subject": "ada", "issuer": "i", "tokenIdentifier": "i|ada"})
        raise SyscallRefused(f"there is no {name}")

    def ended(self) -> None:
        """Nothing is held for a call."""

    def is_awaited(self, name: str) -> bool:
        return False

    def log(self, level: Level, text: str) -> None:
        self._house.lines.append((level, text))
        self._house.said.set()


class House:
    """Crews of one deployment, and everything that was said in them."""

    def __init__(self, folder: Path, processes: int = 4, per_crew: int = 2) -> None:
        self.launcher = Unconfined(folder)
        self.clock = Clock()
        self.packages: Path | None = None
        self.open_folders = 0
        self.lines: list[tuple[Level, str]] = []
        self.asked: list[tuple[str, Any]] = []
        self.said = asyncio.Event()
        self.own_lines: list[str] = []
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.crews = Crews(self.launcher, self._open, Sizes(processes, per_crew), self.clock)
        self.crews.on_line = lambda name, line: self.own_lines.append(line.text)
        self.crews.on_lost = lambda name, reason: self.lost.put_nowait(reason)
        self.node_style = NodeStyle(self.crews, self._converse)
        self.keeper = Keeper(self.crews, self.clock)
        self._keeping = asyncio.ensure_future(self.keeper.run())
        self.seconds = 30.0
        self.version = Version(VersionNumber(1), "0", {}, Declaration())
        self.environment: Mapping[str, str] = {}

    async def push(self, engine: Engine, files: Mapping[str, str]) -> Declaration:
        """Make these files the active version, as their guest declares them."""
        bundle = {path: text.encode() for path, text in files.items()}
        declaration = await self.crews.analyse(NAME, bundle, self.environment, engine, self.packages)
        number = VersionNumber(self.version.number + 1)
        self.version = Version(number, str(number), bundle, declaration)
        return declaration

    async def run(self, path: str, args: Mapping[str, Any] | None = None) -> Outcome:
        """Call an action of the active version."""
        deployment = Deployment(NAME, self.version, self.environment)
        found = parse_function_path(path)
        invocation = Invocation(
            deployment, self.version, found, Kind.ACTION, values.encode(dict(args or {})), RequestId("r1")
        )
        async with asyncio.timeout(30):
            return await self.node_style.run(invocation)

    async def value(self, path: str, **args: Any) -> Any:
        """The result of an action that must return."""
        outcome = await self.run(path, args)
        assert isinstance(outcome, Succeeded), outcome
        return values.decode(outcome.value)

    async def failure(self, path: str, **args: Any) -> Failure:
        """The failure of an action that must fail."""
        outcome = await self.run(path, args)
        assert isinstance(outcome, Failed), outcome
        return outcome.failure

    async def close(self) -> None:
        self._keeping.cancel()
        await self.crews.stop()

    async def _converse(self, invocation: Invocation, process: Isolate, seconds: float) -> Outcome:
        deadline = self.clock.monotonic() + min(seconds, self.seconds)
        conversation = process.call(invocation, Desk(self), self.clock.now(), deadline)
        try:
            result = await conversation.outcome
        except asyncio.CancelledError:
            conversation.stop(self.clock.monotonic())
            raise
        return Failed(result) if isinstance(result, Failure) else Succeeded(result)

    async def _open(self, packages: Packages | None) -> "Opened":
        self.open_folders += 1
        return Opened(self)


class Opened:
    """The packages of the house, in use."""

    def __init__(self, house: House) -> None:
        self.python = self.node = house.packages
        self._house = house

    def close(self) -> None:
        self._house.open_folders -= 1


def kill(pid: int) -> None:
    """End a process as the kernel would."""
    os.kill(pid, signal.SIGKILL)
