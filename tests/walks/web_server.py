"""A server on loopback for functions to fetch from, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.contracts.web_house import Server, serving


class Reached:
    """The server, and how to look at it from another thread."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.url = server.url
        self._loop = loop

    def wait_until_nobody_is_connected(self) -> None:
        """Return when the last connection has ended."""
        asyncio.run_coroutine_threadsafe(self._left(), self._loop).result(20)

    async def _left(self) -> None:
        while self.server.open:
            self.server.left.clear()
            await self.server.left.wait()


@contextmanager
def reachable() -> Iterator[Reached]:
    """Serve until the test is over."""
    made: list[Reached] = []
    there, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with serving() as server:
            made.append(Reached(server, asyncio.get_running_loop()))
            there.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert there.wait(10)
    try:
        yield made[0]
    finally:
        made[0]._loop.call_soon_threadsafe(over.set)
        thread.join(10)
