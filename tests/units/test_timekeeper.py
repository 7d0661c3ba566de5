"""Does the time go on, whatever befalls whoever keeps it?"""

import asyncio
from collections.abc import Sequence

from runtime.adapters.queue.memory_due_book import MemoryDueBook
from runtime.names import DeploymentName
from tests.redis_servers import Clock, soon
from worker.timekeeper import Timekeeper


class Door:
    """Somebody who knocks, and stumbles once."""

    def __init__(self) -> None:
        self.knocked: list[DeploymentName] = []
        self.stumbled, self.done = False, asyncio.Event()

    async def knock(self, names: Sequence[DeploymentName]) -> None:
        """Knock, the second time."""
        if not self.stumbled:
            self.stumbled = True
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")
        self.knocked += names
        self.done.set()


async def test_a_mistake_that_nobody_thought_of_costs_a_moment_and_not_the_time() -> None:
    clock, door = Clock(), Door()
    book = MemoryDueBook(clock)
    book.note(DeploymentName("a"), 0)
    keeping = asyncio.create_task(Timekeeper(book, door, clock, lambda: None).run())
    await asyncio.sleep(0)
    while not door.stumbled:
        await asyncio.sleep(0)
    clock.moment += 10_000
    await soon(door.done)
    keeping.cancel()
    assert door.knocked == ["a"]
