"""The agenda and its book in memory: what the port means, in the fewest words. For one process, and for tests."""

import asyncio
from contextlib import suppress

from runtime.adapters.queue.agenda import CLAIM
from runtime.names import DeploymentName
from runtime.ports import Clock, Taken

_SWEEP_EVERY = 55_000.0


class MemoryDueBook:
    """`Agenda` and `DueBook` in one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[DeploymentName, float] = {}
        self._claims: dict[DeploymentName, float] = {}
        self._again: set[DeploymentName] = set()
        self._woken = asyncio.Event()
        self._fresh = True
        self._swept: float | None = None

    def note(self, name: DeploymentName, at: float) -> None:
        """Something of this deployment is due at ``at``."""
        if at < min(self._due.values(), default=float("inf")):
            self._woken.set()
        self._due[name] = min(at, self._due.get(name, at))

    async def take(self, now: float, most: int) -> Taken:
        """Claim who is due, for ten seconds."""
        self._claims = {name: min(ends, now + CLAIM) for name, ends in self._claims.items()}
        names = _first(self._claims, now, most)
        for name in _first(self._due, now, most):
            del self._due[name]
            if name in self._claims:
                self._again.add(name)
            else:
                names.append(name)
        self._claims.update(dict.fromkeys(names, now + CLAIM))
        fresh, self._fresh = self._fresh, False
        return Taken(tuple(names), min([*self._due.values(), *self._claims.values()], default=None), fresh)

    async def settle(self, name: DeploymentName, again: float | None) -> None:
        """The shift of a claimed deployment is over."""
        self._claims.pop(name, None)
        moments = [again] if again is not None else []
        if name in self._again:
            self._again.discard(name)
            moments.append(self._clock.now())
        if moments:
            self.note(name, min(moments))

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until something is noted that is due before everything else."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def may_sweep(self) -> bool:
        """Whether a minute has passed since the last sweep."""
        now = self._clock.monotonic() * 1000
        if self._swept is not None and now - self._swept < _SWEEP_EVERY:
            return False
        self._swept = now
        return True


def _first(moments: dict[DeploymentName, float], now: float, most: int) -> list[DeploymentName]:
    due = sorted((at, name) for name, at in moments.items() if at <= now)
    return [name for _, name in due[:most]]
