"""What is remembered of what providers publish, and who asks for it?"""

import asyncio

import pytest

from runtime import limits
from runtime.adapters.outbound.memory_key_sets import MemoryKeySets
from runtime.identification.published import Published
from runtime.ports import LookupFailed, Reading

URL = "https://id.example.org/keys"


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> float:
        return 1_700_000_000_000.0 + self.seconds * 1000

    def monotonic(self) -> float:
        return self.seconds


class Slow(MemoryKeySets):
    """A provider that answers what it had when it was asked, once the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def read(self, url: str) -> Reading:
        found = await super().read(url)
        await self.gate.wait()
        return found


class Shelf:
    """Documents that are texts, with a provider and a clock."""

    def __init__(self, port: MemoryKeySets | None = None) -> None:
        self.port = port or MemoryKeySets()
        self.clock = HandClock()
        self.published: Published[str] = Published(self.port, self.clock, bytes.decode)

    async def find(self) -> str:
        return await self.published.find(URL)

    async def newer(self, wanted: str) -> str:
        return await self.published.newer(URL, lambda text: text == wanted)


async def test_a_document_is_read_once_and_again_when_it_is_old() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one")
    assert [await shelf.find() for _ in range(3)] == ["one"] * 3
    shelf.port.publish(URL, b"two")
    shelf.clock.seconds += limits.KEY_SET_AGE / 1000 - 1
    assert await shelf.find() == "one"
    shelf.clock.seconds += 1
    assert await shelf.find() == "two"
    assert shelf.port.asked == [URL, URL]


@pytest.mark.parametrize("lasts, age", [(0.0, 60), (120.0, 120), (10.0**9, limits.KEY_SET_AGE / 1000)])
async def test_a_publisher_says_how_long_it_lasts_between_a_minute_and_our_own_limit(lasts: float, age: float) -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one", lasts)
    await shelf.find()
    shelf.clock.seconds += age - 1
    await shelf.find()
    assert len(shelf.port.asked) == 1
    shelf.clock.seconds += 1
    await shelf.find()
    assert len(shelf.port.asked) == 2


async def test_one_reads_and_the_others_wait_for_it() -> None:
    port = Slow()
    shelf = Shelf(port)
    port.publish(URL, b"one")
    waiting = [asyncio.create_task(shelf.find()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    port.gate.set()
    assert await asyncio.gather(*waiting[1:]) == ["one"] * 49
    assert port.asked == [URL]


async def test_a_provider_that_is_down_is_left_alone_for_longer_each_time() -> None:
    shelf = Shelf()
    waits = []
    for _ in range(9):
        with pytest.raises(LookupFailed, match="404"):
            await shelf.find()
        before = len(shelf.port.asked)
        waited = 0
        while len(shelf.port.asked) == before:
            waited += 1
            shelf.clock.seconds += 1
            with pytest.raises(LookupFailed, match="asked again in"):
                await shelf.find()
        waits.append(waited)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    shelf.port.publish(URL, b"up")
    shelf.clock.seconds += 60
    assert await shelf.find() == "up"


async def test_an_old_document_serves_on_while_its_provider_is_down_but_not_for_ever() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one")
    await shelf.find()
    shelf.port.withdraw(URL)
    shelf.clock.seconds += limits.KEY_SET_AGE / 1000
    assert await shelf.find() == "one"
    assert len(shelf.port.asked) == 2
    assert await shelf.find() == "one"  # nobody waits again so soon
    assert len(shelf.port.asked) == 2
    shelf.clock.seconds += limits.KEY_SET_STALE / 1000
    with pytest.raises(LookupFailed):
        await shelf.find()


async def test_what_is_no_document_counts_as_a_failure() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"\xff")
    with pytest.raises(LookupFailed, match="decode"):
        await shelf.find()


async def test_a_newer_document_is_read_when_the_wanted_one_is_not_there() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one")
    await shelf.find()
    assert await shelf.newer("one") == "one"
    assert len(shelf.port.asked) == 1
    shelf.port.publish(URL, b"two")
    assert await shelf.newer("two") == "two"
    assert len(shelf.port.asked) == 2


async def test_made_up_wishes_reach_the_provider_only_so_often() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one")
    await shelf.find()
    for _ in range(100):
        assert await shelf.newer("made up") == "one"
    assert len(shelf.port.asked) == 1 + limits.KEY_SET_REFRESHES
    shelf.clock.seconds += 60 / limits.KEY_SET_REFRESHES
    for _ in range(100):
        await shelf.newer("made up")
    assert len(shelf.port.asked) == 2 + limits.KEY_SET_REFRESHES


async def test_a_reading_that_began_before_the_change_is_followed_by_another() -> None:
    port = Slow()
    shelf = Shelf(port)
    port.publish(URL, b"old")
    first = asyncio.create_task(shelf.find())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert port.asked == [URL]
    port.publish(URL, b"new")
    later = [asyncio.create_task(shelf.newer("new")) for _ in range(20)]
    await asyncio.sleep(0)
    port.gate.set()
    assert await first == "old"
    assert await asyncio.gather(*later) == ["new"] * 20
    assert port.asked == [URL, URL]


async def test_nothing_is_read_early_from_a_provider_that_is_down() -> None:
    shelf = Shelf()
    shelf.port.publish(URL, b"one")
    await shelf.find()
    shelf.port.withdraw(URL)
    for _ in range(5):
        assert await shelf.newer("two") == "one"
    assert len(shelf.port.asked) == 2


async def test_a_bounded_number_of_documents_is_remembered() -> None:
    shelf = Shelf()
    for number in range(2_000):
        shelf.port.publish(f"{URL}/{number}", b"x")
        await shelf.published.find(f"{URL}/{number}")
    assert len(shelf.published._entries) <= 1_000
    assert await shelf.published.find(f"{URL}/1999") == "x"
    assert len(shelf.port.asked) == 2_000
