"""What stands in the documents and not in the queue?

A sweep asks every deployment when something of it is due next, and notes it: at the start, every minute (one worker of
all does it), and whenever the queue was found empty. So all of Redis may be lost, and every note.

Rules
1. Gently: a few deployments at once, because asking opens their documents.
2. A deployment that cannot be asked does not keep the others from it; the sweep is then repeated soon.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from runtime.names import DeploymentName
from runtime.ports import Agenda, DueBook
from worker.shifts import Jobs

log = logging.getLogger("warren.worker")

_EVERY = 60.0  # seconds
_SOON = 5.0
_AT_ONCE = 4


class Sweeper:
    """``names`` are all deployments."""

    def __init__(
        self, names: Callable[[], Awaitable[Iterable[DeploymentName]]], jobs: Jobs, agenda: Agenda, book: DueBook
    ) -> None:
        self._names, self._jobs, self._agenda, self._book = names, jobs, agenda, book
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Sweep now, whoever's turn it is."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep at once and then as often as it is our turn, until cancelled."""
        self.soon()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._wanted.wait()
            try:
                complete = await self._sweep() if self._wanted.is_set() or await self._book.may_sweep() else True
            except Exception as error:
                # Whatever it was: the next sweep is what finds again what was lost.
                log.warning("the sweep for what is due is made again: %s: %s", type(error).__name__, error)
                complete = False
            if not complete:
                await asyncio.sleep(_SOON)
                self.soon()

    async def _sweep(self) -> bool:
        """Ask everybody once; whether all of them could be asked."""
        self._wanted.clear()
        permits, failed = asyncio.Semaphore(_AT_ONCE), 0

        async def ask(name: DeploymentName) -> None:
            nonlocal failed
            async with permits:
                try:
                    at = await self._jobs.next(name)
                except Exception as error:
                    failed += 1
                    log.warning("%s cannot be asked what is due: %s", name, error)
                    return
            if at is not None:
                self._agenda.note(name, at)

        async with asyncio.TaskGroup() as group:
            for name in await self._names():
                group.create_task(ask(name))
        return not failed
