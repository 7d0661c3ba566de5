"""Whatever happens to an agenda in whatever order: Redis does what the book in memory does, and forgets no note.

Notes, claims, settlements and clocks that jump both ways, drawn at random and done to both. In the end whoever was
noted and never settled since is taken.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.adapters.queue.agenda import CLAIM, RedisAgenda, RedisDueBook
from runtime.adapters.queue.connecting import thread_client
from runtime.adapters.queue.memory_due_book import MemoryDueBook
from runtime.names import DeploymentName
from tests.redis_servers import SERVERS, Clock, redis_server

NAMES = [DeploymentName(name) for name in "abcd"]
names, moments = st.sampled_from(NAMES), st.sampled_from([-60_000.0, 0.0, 0.25, 500.0, CLAIM, 60_000.0])

steps = st.one_of(
    st.tuples(st.just("note"), names, moments),
    st.tuples(st.just("take"), st.integers(1, 4), st.none()),
    st.tuples(st.just("settle"), names, st.none() | moments),
    st.tuples(st.just("wait"), moments, st.none()),
)
Step = tuple[str, object, object]


class Pair:
    """The same agenda twice."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.memory = MemoryDueBook(self.clock)
        self.book, self.agenda = RedisDueBook(url, self.clock), RedisAgenda(url)
        self.owed: set[DeploymentName] = set()  # noted, and no shift has ended since that saw to it
        self.claimed: set[DeploymentName] = set()

    async def close(self) -> None:
        """Let go."""
        await self.agenda.close()
        await self.book.close()

    async def do(self, step: Step) -> None:
        """Let one thing happen to both."""
        now = self.clock.now()
        match step:
            case "note", str(name), float(later):
                self._note(DeploymentName(name), now + later)
                await self.agenda.told()
            case "take", int(most), None:
                await self.take(most)
            case "settle", str(name), (float() | None) as later:
                chosen = DeploymentName(name)
                if chosen not in self.claimed:
                    return
                again = None if later is None else now + later
                self.claimed.discard(chosen)
                if again is not None:
                    self.owed.add(chosen)
                await self.memory.settle(chosen, again)
                await self.book.settle(chosen, again)
            case "wait", float(time), None:
                self.clock.moment += time

    async def take(self, most: int) -> None:
        """Claim who is due in both: they are the same, and the next moment is."""
        now = self.clock.now()
        memory, redis = await self.memory.take(now, most), await self.book.take(now, most)
        assert sorted(memory.names) == sorted(redis.names)
        assert (memory.next, memory.fresh) == (redis.next, redis.fresh)
        self.claimed |= set(redis.names)
        self.owed -= set(redis.names)

    def _note(self, name: DeploymentName, at: float) -> None:
        self.memory.note(name, at)
        self.agenda.note(name, at)
        self.owed.add(name)


async def through(url: str, drawn: list[Step]) -> None:
    async with AsyncExitStack() as stack:
        pair = Pair(url)
        stack.push_async_callback(pair.close)
        for step in drawn:
            await pair.do(step)
        # Whoever has claimed somebody is gone; then everybody's time has come, one claim after the other.
        pair.clock.moment += 1_000_000
        for _ in range(2):
            await pair.take(len(NAMES))
            for name in sorted(pair.claimed):
                await pair.do(("settle", name, None))
        assert not pair.owed


@pytest.mark.parametrize("kind", SERVERS)
async def test_redis_and_memory_agree_whatever_happens_and_no_note_is_lost(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(steps, max_size=25))
        def everything(drawn: list[Step]) -> None:
            client = thread_client(server.url)
            client.flushall()
            client.close()
            asyncio.run_coroutine_threadsafe(through(server.url, drawn), loop).result()

        await asyncio.to_thread(everything)
