"""What happens between a knock and the next time?

One shift of one deployment, then its claim is settled with the moment to come again: now puts it behind everybody else
who waits, later puts it into the agenda, never takes it off. Knows no queue and no documents.

Rules
1. A shift never raises: one that failed is said in the log, and done again a little later.
2. The claim is settled after the queue has forgotten the knock: the next one must not meet this one.
3. A claim that cannot be settled ends by itself.
"""

import logging
from typing import Protocol

from runtime.errors import WarrenError
from runtime.names import DeploymentName
from runtime.ports import Clock, DueBook

log = logging.getLogger("warren.worker")

_FAILED = 5_000.0  # ms


class Jobs(Protocol):
    """What is to be done for a deployment, in its documents."""

    async def shift(self, name: DeploymentName) -> float | None:
        """Do a bounded part of what is due; when to come again, or ``None``."""
        ...

    async def next(self, name: DeploymentName) -> float | None:
        """When something is due next, or ``None``."""
        ...

    async def idle(self) -> None:
        """Return when no action runs that a shift has begun."""
        ...


class Shifts:
    """The two halves of a knock's work."""

    def __init__(self, jobs: Jobs, book: DueBook, clock: Clock) -> None:
        self._jobs, self._book, self._clock = jobs, book, clock
        self._again: dict[str, float | None] = {}

    async def work(self, id: str) -> None:
        """Do a shift."""
        # Until it is known better: who is cancelled has left something undone.
        self._again[id] = self._clock.now()
        try:
            self._again[id] = await self._jobs.shift(DeploymentName(id))
        except WarrenError as error:
            log.warning("a shift of %s failed and is done again: %s", id, error)
            self._again[id] = self._clock.now() + _FAILED
        except Exception:
            log.exception("a shift of %s failed and is done again", id)
            self._again[id] = self._clock.now() + _FAILED

    async def finish(self, id: str) -> None:
        """Say when to come again."""
        again = self._again.pop(id, self._clock.now())
        try:
            await self._book.settle(DeploymentName(id), again)
        except WarrenError as error:
            log.info("the claim of %s ends by itself: %s", id, error)
