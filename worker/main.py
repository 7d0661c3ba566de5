"""What is a worker made of?

The composition root of the night shift: a timekeeper that knocks for whoever is due, threads that answer knocks with
shifts, threads that run errands, and a sweeper. Stands on a router's conductor and isolates, in the process of a whole
server or in one of its own.

Rules
1. Shifts and errands have threads of their own: however long the ones take, the others do not wait for them.
2. It ends in order: nothing new is taken, what runs finishes for `DRAIN` seconds at most and is cancelled after that.
3. A worker whose book does not answer is not alive, and leaves no sign that it is.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from runtime.adapters.queue.agenda import RedisDueBook
from runtime.adapters.queue.connecting import ERRAND_QUEUE, KNOCK_QUEUE, end
from runtime.adapters.queue.crew import Crew
from runtime.adapters.queue.errands.taking import RedisErrandDesk
from runtime.adapters.queue.opening import Queue
from runtime.main import Router
from runtime.names import DeploymentName
from runtime.ports import Errands
from worker.errands import ErrandRunner
from worker.local import open_local
from worker.shifts import Jobs, Shifts
from worker.sweeping import Sweeper
from worker.timekeeper import Timekeeper

__all__ = ["Worker", "is_alive", "open_local", "run_worker"]

log = logging.getLogger("warren.worker")

DRAIN = 10.0  # seconds
_SIGN = "worker.alive"
_SIGN_EVERY = 5.0
_SIGN_LASTS = 30.0
_SILENCE = 15.0


class Worker:
    """A running worker."""

    def __init__(self, timekeeper: Timekeeper) -> None:
        self._timekeeper = timekeeper

    async def work_until_told(self, data: Path) -> None:
        """Return at SIGTERM or SIGINT; leave signs of life in ``data`` until then."""
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        signing = asyncio.create_task(self._keep_signing(data / _SIGN))
        try:
            log.info("this worker does what is due")
            await told.wait()
        finally:
            signing.cancel()
            (data / _SIGN).unlink(missing_ok=True)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _keep_signing(self, sign: Path) -> None:
        while True:
            looked_at = self._timekeeper.looked_at
            if looked_at is not None and time.monotonic() - looked_at < _SILENCE:
                sign.touch()
            await asyncio.sleep(_SIGN_EVERY if sign.exists() else 0.1)


def is_alive(data: Path) -> bool:
    """Whether the worker that keeps its files in ``data`` has given a sign of life lately."""
    try:
        return time.time() - (data / _SIGN).stat().st_mtime < _SIGN_LASTS
    except FileNotFoundError:
        return False


@asynccontextmanager
async def run_worker(router: Router, queue: Queue, jobs: Jobs, local: Errands | None = None) -> AsyncIterator[Worker]:
    """Work for ``queue`` until the context ends. ``local`` runs Node-style modules; without one no errand is taken."""
    threads = router.settings.worker_threads
    for_shifts = max(1, threads // 4)

    async def names() -> Iterable[DeploymentName]:
        return [summary.name for summary in await router.cellar.registry.deployments.summaries()]

    async with AsyncExitStack() as stack:
        book = RedisDueBook(queue.url, router.clock)
        stack.push_async_callback(book.close)
        shifts = Shifts(jobs, book, router.clock)
        crews = [Crew(queue.url, KNOCK_QUEUE, for_shifts, shifts.work, shifts.finish)]
        if local is not None:
            share = max(1, (threads - for_shifts) // 2)
            desk = RedisErrandDesk(queue.url, queue.enqueuer, share)
            stack.push_async_callback(desk.close)
            runner = ErrandRunner(desk, router.directory.find, local)
            crews.append(Crew(queue.url, ERRAND_QUEUE, threads - for_shifts, runner.work))
        stack.push_async_callback(_drain, crews)
        for crew in crews:
            crew.start()
        sweeper = Sweeper(names, jobs, queue.agenda, book)
        timekeeper = Timekeeper(book, queue.enqueuer, router.clock, sweeper.soon)
        for work in (timekeeper.run(), sweeper.run()):
            stack.push_async_callback(end, asyncio.create_task(work))
        yield Worker(timekeeper)


async def _drain(crews: list[Crew]) -> None:
    await asyncio.gather(*(crew.stop(DRAIN) for crew in crews))
