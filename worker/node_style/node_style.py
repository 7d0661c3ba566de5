"""How is a Node-style action run here?

A process of its deployment, version and language; a conversation in it, whose questions the same counter answers as an
isolate's; an outcome. Implements `run` of the port `Errands` for the process that it stands in.

Rules
1. It is run once at most: what was begun and lost is a failure that says why, and never a second try.
2. What could not be begun is raised (`Overloaded`, `IsolateLost`): it may be asked for again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from runtime import limits
from runtime.errors import IsolateLost
from runtime.invocation import Failed, Invocation, Outcome
from runtime.isolates.isolate import RETIRED, Isolate
from runtime.protocol.declaration import Engine
from runtime.protocol.messages import Failure, Reason
from worker.node_style.crews import Crews, cause

_TIME = limits.NODE_ACTION_TIME / 1000
_LAST_WAIT = 2.0  # seconds for a process that is gone to say how

Converse = Callable[[Invocation, Isolate, float], Awaitable[Outcome]]
"""Runs an action in a process, for at most so many seconds (`Conductor.converse`)."""


class NodeStyle:
    """Runs Node-style actions in this process's crews."""

    def __init__(self, crews: Crews, converse: Converse) -> None:
        self.crews = crews
        self._converse = converse

    async def run(self, invocation: Invocation) -> Outcome:
        """Run a Node-style action and wait for how it ends; raises `Overloaded` and `IsolateLost` before it began."""
        declared = invocation.version.functions.get(str(invocation.path))
        if declared is None or declared.engine is Engine.ISOLATE:
            text = f"there is no Node-style action {invocation.path}"
            return Failed(Failure(Reason.UNKNOWN, "LookupError", text))
        process = await self.crews.acquire(invocation.deployment, invocation.version, declared.engine)
        try:
            return await self._converse(invocation, process, _TIME)
        except IsolateLost as lost:
            if process.lost in (None, RETIRED):
                raise
            return Failed(await _ended(process, lost))


async def _ended(process: Isolate, lost: IsolateLost) -> Failure:
    how = ""
    try:
        async with asyncio.timeout(_LAST_WAIT):
            how = f" ({cause(process.process, await process.process.exit_status())})"
    except TimeoutError:
        how = " (it is still ending)"
    return Failure(Reason.CRASHED, "ProcessEnded", f"the process that ran this action is gone: {lost}{how}")
