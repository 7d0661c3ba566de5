"""Who goes next when mutations of one deployment get in each other's way?

A transaction that loses a race runs again, and could lose for ever. So the losers of a deployment run one at a time;
and when even that does not help, those that come fresh wait behind them.

Rules
1. Nobody waits here who has not lost, unless somebody keeps losing (`DESPERATE` times).
2. A turn is held until its holder has committed or given up. Whoever waits is served in the order of arrival.
"""

import asyncio
from typing import Self
from weakref import WeakValueDictionary

from runtime.names import DeploymentName

DESPERATE = 3


class _Line:
    """The losers of one deployment, one behind the other."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.desperate = 0


class Turns:
    """The lines of every deployment that somebody stands in."""

    def __init__(self) -> None:
        self._lines: WeakValueDictionary[DeploymentName, _Line] = WeakValueDictionary()

    def of(self, name: DeploymentName) -> "Turn":
        """A mutation's place in this deployment."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line()
        return Turn(line)


class Turn:
    """One mutation's place in its deployment. Used as a context: leaving it lets the next one go."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._held = False
        self._desperate = False

    async def before(self, attempt: int) -> None:
        """Wait before this attempt (counted from 0) for as long as others go first."""
        if not self._held and (attempt > 0 or self._line.desperate):
            await self._line.lock.acquire()
            self._held = True
        if attempt >= DESPERATE and not self._desperate:
            self._desperate = True
            self._line.desperate += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._line.lock.release()
        if self._desperate:
            self._line.desperate -= 1
