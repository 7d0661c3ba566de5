"""How is a Node-style process started behind its wall?

Gives a program a scratch folder of its own and a lane to run in, and shows the lane as what crews know: a process with
a channel, a standard error and an end. Knows no rule of the wall, and no policy of egress: both are asked for.

Rules
1. A scratch folder serves one process, and is removed when nothing of that process is left.
2. Of what it writes to its standard error the end is kept, and nobody waits for a reader.
3. Nothing of this process's environment goes with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from runtime import limits
from runtime.errors import Overloaded
from runtime.isolates.process import IsolateProcess
from runtime.names import DeploymentName
from runtime.protocol.declaration import Engine
from worker.lane.judging import Judge
from worker.lane.launching import LaneProcess, Launch
from worker.node_style.programs import Program
from worker.node_style.scratch import ScratchFolders

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}

OpenLane = Callable[[Launch], Awaitable[LaneProcess]]
JudgeOf = Callable[[DeploymentName], Judge | None]
"""Who decides where a deployment's actions may connect; ``None``: nowhere."""


class ConfinedProcess(IsolateProcess):
    """A program in its lane."""

    def __init__(self, lane: LaneProcess, keep: Callable[[Coroutine[object, object, None]], None]) -> None:
        super().__init__(lane.socket, -1, lane.pid, -1)
        self._lane = lane
        self._keep = keep
        self._tail = b""
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        keep(self._watch())

    def kill(self) -> None:
        """End it with everything that it has started."""
        self._lane.kill()

    def interrupt(self) -> None:
        """There are no turns to interrupt here."""

    def last_words(self) -> bytes:
        """The end of what it has written to its standard output and error."""
        return self._tail

    def close(self) -> None:
        """Let go of its channel and its lane. May be called twice."""
        if not self._closed:
            self._closed = True
            self._keep(self._lane.close())

    async def _listen(self) -> None:
        async for piece in self._lane.words():
            self._tail = (self._tail + piece)[-limits.GUEST_STDERR :]

    async def _watch(self) -> None:
        end = await self._lane.ended()
        # Nobody is left to write: what was written is in the pipe.
        await self._listening
        self.reason = end.reason
        self.ended(end.status)


class ConfinedLauncher:
    """Starts programs in lanes."""

    def __init__(self, open_lane: OpenLane, judge_of: JudgeOf, scratch: ScratchFolders, node: str | None) -> None:
        """``node`` is the Node.js to use, where there is one."""
        self._open_lane = open_lane
        self._judge_of = judge_of
        self._scratch = scratch
        self._node = node
        self._background: set[asyncio.Task[None]] = set()

    async def launch(self, program: Program) -> IsolateProcess:
        """Start it with its channel on descriptor 3."""
        if program.engine is Engine.NODE and self._node is None:
            raise Overloaded("this worker has no Node.js")
        node = self._node or ""
        scratch = await asyncio.to_thread(self._scratch.make)
        try:
            lane = await self._open_lane(
                Launch(
                    program.command(node),
                    _ENVIRONMENT,
                    program.readable(node),
                    scratch,
                    int(limits.NODE_MEMORY),
                    self._judge_of(program.deployment),
                )
            )
        except BaseException:
            await asyncio.to_thread(self._scratch.remove, scratch)
            raise
        self._keep(self._clean_up_after(lane, scratch))
        return ConfinedProcess(lane, self._keep)

    async def stop(self) -> None:
        """Return when nothing is left of what was started; whoever started it has ended it."""
        while self._background:
            await asyncio.wait(self._background)

    async def _clean_up_after(self, lane: LaneProcess, scratch: Path) -> None:
        await lane.ended()
        await asyncio.to_thread(self._scratch.remove, scratch)

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
