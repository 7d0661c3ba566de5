"""How are uv and npm run?

Each in a process group of its own, with an environment made from nothing, limits of the kernel, a time limit, and an
eye on what it writes. Knows nothing of what they are asked to do.

Rules
1. The environment holds what the operator has set for these tools (`settings.package_variables`), and nothing else of
   this process: no secret of the server, no variable of a tenant. HOME lies in the folder that is thrown away.
2. When a run is over, however it is, nothing of its process group lives. A run does not outlive this process.
3. What it downloads is written below one folder, which is measured while it runs.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from runtime import limits
from runtime.machine import processors
from worker.packages import limiting
from worker.packages.settling import measure

_OUTPUT = 64 * 1024
_GLANCE = 1.0
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class RunTooLong(Exception):
    """It did not end within `PACKAGE_TIME`."""


class RunTooLarge(Exception):
    """It wrote more than `PACKAGE_BYTES` or `PACKAGE_FILES`; the message names the limit and what was there."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended, and what it said, as plain text."""

    code: int
    text: str


class Tools:
    """The package tools of this machine."""

    def __init__(self, variables: Mapping[str, str], node: str | None = None) -> None:
        self.uv = find_uv_bin()
        self.python = sys.executable
        # Wheels are for one interpreter on one kind of machine.
        self.python_tag = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"
        self.node = node or shutil.which("node")
        self.npm = self._beside_node("npm")
        self._node_tag = ""
        self._variables = dict(variables)
        self._places = asyncio.Semaphore(limits.PACKAGE_RUNS)

    def _beside_node(self, name: str) -> str | None:
        beside = Path(self.node).parent / name if self.node else None
        return str(beside) if beside is not None and beside.exists() else shutil.which(name)

    async def node_tag(self) -> str:
        """Which Node.js on which kind of machine this is."""
        if not self._node_tag and self.node is not None:
            process = await asyncio.create_subprocess_exec(
                self.node, "--version", env={"PATH": "/usr/bin:/bin"}, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
            )
            said, _ = await process.communicate()
            self._node_tag = f"node {said.decode(errors='replace').strip()} {sysconfig.get_platform()}"
        return self._node_tag

    async def run(self, folder: Path, command: Sequence[str]) -> Ran:
        """Run a tool in a folder; raise `RunTooLong` or `RunTooLarge`."""
        async with self._places:
            return await self._run(folder, command)

    async def _run(self, folder: Path, command: Sequence[str]) -> Ran:
        seconds = limits.PACKAGE_TIME / 1000
        async with self._started(folder, command) as process:
            watching = asyncio.create_task(_watch(folder))
            reading = asyncio.create_task(_read(process))
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.wait({watching, reading}, return_when=asyncio.FIRST_COMPLETED)
                    if watching.done():
                        watching.result()
                    text = await reading
                    return Ran(await process.wait(), text)
            except TimeoutError:
                raise RunTooLong(f"it took longer than {seconds:g} seconds (limit PACKAGE_TIME)") from None
            finally:
                for task in (watching, reading):
                    task.cancel()
                await asyncio.gather(watching, reading, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _started(self, folder: Path, command: Sequence[str]) -> AsyncIterator[Process]:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        processors.leave_free()
        process = await asyncio.create_subprocess_exec(
            *_limited(self.python),
            *command,
            cwd=folder,
            env=self._environment(home),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _environment(self, home: Path) -> dict[str, str]:
        folders = [str(Path(tool).parent) for tool in (self.node, self.npm) if tool]
        return {
            **self._variables,
            "HOME": str(home),
            "TMPDIR": str(home),
            "PATH": os.pathsep.join([*dict.fromkeys(folders), "/usr/bin", "/bin"]),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }


def _limited(python: str) -> list[str]:
    """What is put before a command so that it is run with its limits."""
    cpu = limits.PACKAGE_TIME // 1000 * (os.cpu_count() or 1)
    chosen = (os.getpid(), cpu, int(limits.PACKAGE_BYTES), int(limits.PACKAGE_MEMORY))
    return [python, "-I", "-S", limiting.__file__, *map(str, chosen)]


async def _watch(folder: Path) -> None:
    """Return never; raise `RunTooLarge` when too much lies in the folder."""
    while True:
        await asyncio.sleep(_GLANCE)
        reason = (await asyncio.to_thread(measure, folder)).objection()
        if reason is not None:
            raise RunTooLarge(reason)


async def _read(process: Process) -> str:
    """What it says until it ends, the beginning and not more than a page."""
    assert process.stdout is not None  # it was asked for
    said = bytearray()
    while piece := await process.stdout.read(_OUTPUT):
        said += piece[: _OUTPUT - len(said)]
    return _CONTROL.sub("", said.decode(errors="replace"))
