"""The night shift with a queue and jobs that are the test's own: who is served when, and what survives what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from runtime.adapters.queue.agenda import RedisAgenda, RedisDueBook
from runtime.adapters.queue.connecting import KNOCK_QUEUE, end, thread_client
from runtime.adapters.queue.crew import Crew
from runtime.adapters.queue.knocking import Enqueuer
from runtime.main import SystemClock
from runtime.names import DeploymentName
from tests.redis_servers import REAL, SERVERS, redis_server
from worker.shifts import Shifts
from worker.sweeping import Sweeper
from worker.timekeeper import Timekeeper

CLOCK = SystemClock()
_BATCH = 10


class ToDo:
    """Jobs that last: for each deployment the moments of what is due, and what was done in which order."""

    def __init__(self) -> None:
        self.due: dict[DeploymentName, list[float]] = {}
        self.done: list[DeploymentName] = []
        self.early = 0
        self.something = asyncio.Condition()

    def add(self, name: str, at: float, count: int = 1) -> DeploymentName:
        """Write down what is to be done."""
        chosen = DeploymentName(name)
        self.due.setdefault(chosen, []).extend([at] * count)
        return chosen

    async def shift(self, name: DeploymentName) -> float | None:
        """Do ten of what is due."""
        now = CLOCK.now()
        ready = sorted(at for at in self.due.get(name, []) if at <= now)[:_BATCH]
        self.early += not ready
        for at in ready:
            self.due[name].remove(at)
        async with self.something:
            self.done += [name] * len(ready)
            self.something.notify_all()
        return await self.next(name)

    async def next(self, name: DeploymentName) -> float | None:
        """When the next is due."""
        return min(self.due.get(name, []), default=None)

    async def idle(self) -> None:
        """Everything is done in the shift."""

    async def names(self) -> list[DeploymentName]:
        """Everybody."""
        return list(self.due)

    async def until_done(self, count: int) -> None:
        """Wait until so many are done."""
        async with asyncio.timeout(30), self.something:
            await self.something.wait_for(lambda: len(self.done) >= count)


@asynccontextmanager
async def night_shift(url: str, jobs: ToDo, threads: int = 2) -> AsyncIterator[RedisAgenda]:
    """One worker, as `worker.main` makes it."""
    async with AsyncExitStack() as stack:
        agenda, enqueuer, book = RedisAgenda(url), Enqueuer(url), RedisDueBook(url, CLOCK)
        for close in (book.close, enqueuer.close, agenda.close):
            stack.push_async_callback(close)
        await agenda.start()
        shifts = Shifts(jobs, book, CLOCK)
        crew = Crew(url, KNOCK_QUEUE, threads, shifts.work, shifts.finish)
        crew.start()
        stack.push_async_callback(crew.stop, 10)
        sweeper = Sweeper(jobs.names, jobs, agenda, book)
        for work in (Timekeeper(book, enqueuer, CLOCK, sweeper.soon).run(), sweeper.run()):
            stack.push_async_callback(end, asyncio.create_task(work))
        yield agenda


@pytest.fixture(params=SERVERS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of each kind of server."""
    async with redis_server(request.param, tmp_path) as server:
        yield server.url


async def test_what_stands_in_the_documents_alone_is_found_at_the_start(url: str) -> None:
    jobs = ToDo()
    jobs.add("a", 0)
    async with night_shift(url, jobs):
        await jobs.until_done(1)


async def test_what_is_noted_is_done_when_it_is_due_and_not_before(url: str) -> None:
    jobs = ToDo()
    async with night_shift(url, jobs) as agenda:
        at = CLOCK.now() + 150
        for number in range(20):
            agenda.note(jobs.add(f"a{number}", at + number), at + number)
        await jobs.until_done(20)
        assert CLOCK.now() >= at
    assert jobs.early == 0


async def test_one_deployment_with_very_many_does_not_delay_another_by_more_than_a_shift_of_each_thread(
    url: str,
) -> None:
    jobs = ToDo()
    async with night_shift(url, jobs, threads=2) as agenda:
        agenda.note(jobs.add("many", 0, 2_000), 0)
        await jobs.until_done(3 * _BATCH)
        before = len(jobs.done)
        agenda.note(jobs.add("one", 0), 0)
        async with asyncio.timeout(30), jobs.something:
            await jobs.something.wait_for(lambda: "one" in jobs.done)
        # Those under way, those behind them, and the one that was queued before the note arrived.
        assert jobs.done.index(DeploymentName("one")) - before <= 6 * _BATCH
        assert len(jobs.due[DeploymentName("many")]) > 1_000


async def test_what_is_written_down_during_a_shift_is_not_forgotten(url: str) -> None:
    class Late(ToDo):
        """Jobs where somebody schedules at the worst moment: when the shift has looked, and not yet said so."""

        agenda: RedisAgenda

        async def next(self, name: DeploymentName) -> float | None:
            found = await super().next(name)
            if len(self.done) < 20:
                self.agenda.note(self.add(name, 0), 0)
            return found

    jobs = Late()
    async with night_shift(url, jobs) as agenda:
        jobs.agenda = agenda
        agenda.note(jobs.add("a", 0), 0)
        await jobs.until_done(20)


@pytest.mark.parametrize("kind", REAL)
async def test_a_redis_that_dies_and_comes_back_empty_loses_nothing(kind: str, tmp_path: Path) -> None:
    jobs = ToDo()
    async with redis_server(kind, tmp_path) as server, night_shift(server.url, jobs) as agenda:
        at = CLOCK.now() + 400
        for number in range(100):
            agenda.note(jobs.add(f"a{number}", at), at)
        agenda.note(jobs.add("now", 0), 0)
        await jobs.until_done(1)
        client = thread_client(server.url)
        client.shutdown(nosave=True)
        client.close()
        await jobs.until_done(101)
        assert sorted(set(jobs.done)) == sorted(jobs.due)


async def test_two_workers_share_what_is_due_and_do_it_once(url: str) -> None:
    jobs = ToDo()
    async with night_shift(url, jobs) as agenda, night_shift(url, jobs):
        for number in range(100):
            agenda.note(jobs.add(f"a{number}", 0), 0)
        await jobs.until_done(100)
    assert len(jobs.done) == len(set(jobs.done)) == 100
