"""Has the client gone?

ASGI tells of a disconnect only to somebody who waits for it, and a task that waits is dearer than most requests are. So
nobody waits for the quick ones: twice in a tenth of a second a glance goes over the open exchanges, and only those that
are still open at the second one get a task of their own.

Rules
1. Nothing else receives while a task waits: an exchange whose body is being read is left alone.
2. `leave` of a client is said at most once, and never after its exchange is over.
"""

import asyncio

from runtime.edge.exchange import Exchange

_GLANCE = 0.05  # seconds


class Departures:
    """The open exchanges of one server."""

    def __init__(self) -> None:
        self._new: set[Exchange] = set()
        self._seen: set[Exchange] = set()
        self._watchers: dict[Exchange, asyncio.Task[None]] = {}
        self._armed = False

    def enter(self, exchange: Exchange) -> None:
        """An exchange begins."""
        self._new.add(exchange)
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_later(_GLANCE, self._glance)

    def close(self, exchange: Exchange) -> None:
        """The exchange is over; its client may leave unseen."""
        exchange.over = True
        if exchange in self._new:
            self._new.discard(exchange)
        elif exchange in self._seen:
            self._seen.discard(exchange)
        else:
            watcher = self._watchers.pop(exchange, None)
            if watcher is not None:
                watcher.cancel()

    def _glance(self) -> None:
        loop = asyncio.get_running_loop()
        kept = set()
        for exchange in self._seen:
            if exchange.reading:
                kept.add(exchange)
            else:
                self._watchers[exchange] = loop.create_task(_watch(exchange))
        self._seen = kept | self._new
        self._new = set()
        self._armed = bool(self._seen)
        if self._armed:
            loop.call_later(_GLANCE, self._glance)


async def _watch(exchange: Exchange) -> None:
    message = await exchange.receive()
    while message["type"] == "http.request":
        message = await exchange.receive()  # the body of a GET: nobody wants it
    if not exchange.over:
        exchange.client.leave()
