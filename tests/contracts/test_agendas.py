"""When somebody has to look at which deployment: one suite for every agenda and its book."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.adapters.queue.agenda import RedisAgenda, RedisDueBook
from runtime.adapters.queue.connecting import AGENDA, CLAIMS, thread_client
from runtime.adapters.queue.memory_due_book import MemoryDueBook
from runtime.names import DeploymentName
from runtime.ports import DueBook
from tests.redis_servers import REAL, SERVERS, Clock, redis_server

A, B, C = (DeploymentName(name) for name in "abc")


class House:
    """An agenda, its book, and a clock that stands at 1000 s."""

    def __init__(self, clock: Clock, book: DueBook, url: str = "") -> None:
        self.clock, self.book, self._url = clock, book, url

    async def note(self, name: DeploymentName, at: float) -> None:
        """Note something, and wait until the book has it."""
        if isinstance(self.book, MemoryDueBook):
            self.book.note(name, at)
            return
        agenda = RedisAgenda(self._url)
        await agenda.start()
        agenda.note(name, at)
        await agenda.close()

    async def taken(self, most: int = 100) -> list[DeploymentName]:
        """Who is due now."""
        return sorted((await self.book.take(self.clock.now(), most)).names)


@pytest.fixture(params=["memory", *SERVERS])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """One empty agenda of each kind."""
    clock = Clock()
    if request.param == "memory":
        yield House(clock, MemoryDueBook(clock))
        return
    async with redis_server(request.param, tmp_path) as server:
        book = RedisDueBook(server.url, clock)
        yield House(clock, book, server.url)
        await book.close()


async def test_who_is_due_is_taken_once(house: House) -> None:
    await house.note(A, 999_000)
    assert await house.taken() == [A]
    assert await house.taken() == []


async def test_who_is_not_due_yet_is_left_and_the_book_says_when(house: House) -> None:
    await house.note(A, 1_000_500.25)
    taken = await house.book.take(house.clock.now(), 10)
    assert taken.names == () and taken.next == 1_000_500.25
    house.clock.moment = 1_000_500.25
    assert await house.taken() == [A]


async def test_the_earliest_note_wins(house: House) -> None:
    await house.note(A, 1_002_000)
    await house.note(A, 1_001_000)
    await house.note(A, 1_003_000)
    assert (await house.book.take(house.clock.now(), 10)).next == 1_001_000


async def test_a_claim_that_is_never_settled_ends_after_ten_seconds(house: House) -> None:
    await house.note(A, 0)
    assert await house.taken() == [A]
    house.clock.moment += 9_999
    assert await house.taken() == []
    house.clock.moment += 1
    assert await house.taken() == [A]


async def test_a_clock_that_was_set_back_lets_no_claim_last_longer_than_ten_seconds(house: House) -> None:
    await house.note(A, 0)
    assert await house.taken() == [A]
    house.clock.moment -= 600_000
    assert await house.taken() == []
    house.clock.moment += 10_000
    assert await house.taken() == [A]


async def test_what_is_noted_during_a_claim_is_due_when_the_claim_is_settled(house: House) -> None:
    await house.note(A, 0)
    assert await house.taken() == [A]
    await house.note(A, 0)
    assert await house.taken() == []
    await house.book.settle(A, None)
    assert await house.taken() == [A]


async def test_what_is_noted_during_a_claim_and_never_looked_at_is_due_when_the_claim_is_settled(house: House) -> None:
    await house.note(A, 0)
    assert await house.taken() == [A]
    await house.note(A, 0)
    await house.book.settle(A, None)
    assert await house.taken() == [A]


async def test_a_later_moment_noted_during_a_claim_outlives_a_shift_that_knows_of_nothing(house: House) -> None:
    await house.note(A, 0)
    assert await house.taken() == [A]
    await house.note(A, 1_060_000)
    await house.book.settle(A, None)
    assert (await house.book.take(house.clock.now(), 10)).next == 1_060_000


async def test_nothing_is_left_of_a_deployment_with_nothing_to_do(house: House) -> None:
    await house.note(A, 0)
    await house.taken()
    await house.book.settle(A, None)
    assert (await house.book.take(house.clock.now(), 10)).next is None


async def test_the_next_moment_of_a_shift_is_kept_and_an_earlier_note_before_it(house: House) -> None:
    for name in (A, B):
        await house.note(name, 0)
    assert await house.taken() == [A, B]
    await house.note(A, 1_001_000)
    await house.book.settle(A, 1_005_000)
    assert (await house.book.take(house.clock.now(), 10)).next == 1_001_000
    await house.book.settle(B, 1_000_700)
    assert (await house.book.take(house.clock.now(), 10)).next == 1_000_700


async def test_no_more_are_taken_than_asked_for(house: House) -> None:
    for name in (A, B, C):
        await house.note(name, 0)
    first = await house.taken(2)
    assert len(first) == 2
    assert sorted([*first, *await house.taken(2)]) == [A, B, C]


async def test_an_empty_book_is_found_out_once(house: House) -> None:
    assert (await house.book.take(0, 1)).fresh
    assert not (await house.book.take(0, 1)).fresh


async def test_one_worker_a_minute_sweeps(house: House) -> None:
    assert await house.book.may_sweep()
    assert not await house.book.may_sweep()


async def test_who_waits_is_woken_by_what_is_due_before_everything_else(house: House) -> None:
    await house.note(A, 1_900_000)
    await house.book.wait(0.001)  # that note has woken whoever comes first
    async with asyncio.timeout(15):
        for number in range(30):  # half a minute of naps, if nobody were woken
            waiting = asyncio.create_task(house.book.wait(60))
            await asyncio.sleep(0)
            await house.note(B, 1_800_000 - number)
            await waiting


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.0001, 0.001])
async def test_the_shortest_wait_ends(house: House, seconds: float) -> None:
    async with asyncio.timeout(4):  # less than Redis has for an answer
        await house.book.wait(seconds)


@pytest.mark.parametrize("kind", ["installed", "wheel"])
async def test_what_is_noted_while_redis_is_away_is_noted_when_it_is_back(kind: str, tmp_path: Path) -> None:
    clock = Clock()
    async with redis_server(kind, tmp_path) as server:
        url = server.url
    agenda = RedisAgenda(url)
    await agenda.start()
    for number in range(1_000):
        agenda.note(A, 5_000 - number)
    agenda.note(B, 7_000)
    await asyncio.sleep(0)
    async with redis_server(kind, tmp_path) as server:
        book = RedisDueBook(server.url, clock)
        names: list[Any] = []
        async with asyncio.timeout(20):
            while len(names) < 2:
                await book.wait(0.05)
                names += (await book.take(clock.now(), 10)).names
        assert sorted(names) == [A, B]
        await agenda.close()
        await book.close()


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_name_that_is_no_text_is_forgotten_and_the_others_are_taken(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        clock = Clock()
        book, client = RedisDueBook(server.url, clock), thread_client(server.url)
        client.zadd(AGENDA, {b"\xff\xfe": 1, b"a": 2})
        assert (await book.take(clock.now(), 10)).names == (A,)
        assert client.zrange(CLAIMS, 0, -1) == [b"a"]
        client.close()
        await book.close()


@pytest.mark.parametrize("kind", REAL)
async def test_what_is_due_is_noted_and_taken_also_where_memory_is_full(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        clock = Clock()
        book = RedisDueBook(server.url, clock)
        house = House(clock, book, server.url)
        await house.note(A, 0)
        assert await house.taken() == [A]
        client = thread_client(server.url)
        client.config_set("maxmemory", 1)
        client.close()
        await house.note(B, 0)
        assert await house.taken() == [B]
        await book.settle(B, 1)
        assert await house.taken() == [B]
        await book.close()
