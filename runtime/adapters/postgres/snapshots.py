"""How far has a deployment come, and what was visible then?

A snapshot is a number: a position. It holds no connection and no transaction of the database, so a function that thinks
for a long time costs nothing here, and a snapshot outlives a restart of the database.

Rules
1. A read is one statement, which also sees whether the past is still complete: what was superseded longer ago than
   `history.KEPT` seconds is removed.
2. A snapshot must show everything that anybody was told is committed, also by another process. So the database is asked
   each time, but once for all who ask at the same time: who asks while a question is under way is part of the next one.
3. Nothing crosses the line that does not belong to the page: sizes are added up where the documents are.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from runtime.adapters.postgres.connections import Connection, Connections
from runtime.adapters.postgres.schema import HEAD, place_of
from runtime.errors import NotFound, Overloaded
from runtime.ports import KeyRange, Order, Page, Write

_POSITIONS = b"SELECT id, position FROM stores WHERE id = ANY(%b::bigint[])"

# One row at least when the store is there. Order is that of the index where all keys are short.
_READ = """
    SELECT s.trimmed, found.head, found.tail, found.content
    FROM stores s LEFT JOIN LATERAL (
        SELECT head, tail, content FROM (
            SELECT head, tail, content, sum(octet_length(content)) OVER (
                ORDER BY {order} ROWS UNBOUNDED PRECEDING) - octet_length(content) AS ahead
            FROM (
                SELECT e.head, e.digest, e.tail, d.content
                FROM entries e CROSS JOIN LATERAL (
                    SELECT content FROM documents d
                    WHERE d.store = e.store AND d.number = e.number AND d.since <= %(position)b
                    ORDER BY d.since DESC LIMIT 1) d
                WHERE e.store = %(store)b AND {range} AND e.until > %(position)b AND e.since <= %(position)b
                ORDER BY {order} LIMIT %(most)b) page) measured
        WHERE ahead < %(enough)b) found ON true
    WHERE s.id = %(store)b"""
_SHORT_RANGE = "e.head >= %(lower)b AND e.head < %(upper)b"
_LONG_RANGE = """e.head >= %(lower)b AND e.head <= %(upper)b
    AND (e.head, e.tail) >= (%(lower)b, %(lower_tail)b) AND (e.head, e.tail) < (%(upper)b, %(upper_tail)b)"""

# Without an order the first bytes of a key say it all, unless a bound is longer than they are.
_COUNT = """
    SELECT s.trimmed, (SELECT count(*) FROM (
        SELECT 1 FROM entries e
        WHERE e.store = %(store)b AND {range} AND e.until > %(position)b AND e.since <= %(position)b
        LIMIT %(most)b) found)
    FROM stores s WHERE s.id = %(store)b"""


def _statement(order: str, limits: str) -> bytes:
    return _READ.format(order=order, range=limits).encode()


_SHORT = {
    Order.ASCENDING: _statement("head, digest", _SHORT_RANGE),
    Order.DESCENDING: _statement("head DESC, digest DESC", _SHORT_RANGE),
}
_LONG = {
    Order.ASCENDING: _statement("head, tail", _LONG_RANGE),
    Order.DESCENDING: _statement("head DESC, tail DESC", _LONG_RANGE),
}

_COUNT_SHORT = _COUNT.format(range=_SHORT_RANGE).encode()
_COUNT_LONG = _COUNT.format(range=_LONG_RANGE).encode()


class _Question:
    def __init__(self) -> None:
        self.stores: set[int] = set()
        self.answer: asyncio.Future[dict[int, int]] = asyncio.get_running_loop().create_future()


class Positions:
    """The positions of every store."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._next: _Question | None = None
        self._asking: asyncio.Task[None] | None = None

    async def of(self, store: int) -> int | None:
        """The last commit of a store, or ``None`` when there is no such store any more."""
        return (await self.of_all({store})).get(store)

    async def of_all(self, stores: set[int]) -> dict[int, int]:
        """The last commits of these stores, those that are still there; maybe of others, too."""
        if self._next is None:
            self._next = _Question()
        question = self._next
        question.stores |= stores
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(question.answer)

    async def _ask(self) -> None:
        try:
            while self._next is not None:
                question, self._next = self._next, None
                try:
                    question.answer.set_result(await self._look(list(question.stores)))
                except Exception as error:
                    question.answer.set_exception(error)
                    # Everybody may have stopped waiting.
                    question.answer.exception()
        finally:
            self._asking = None

    async def _look(self, stores: list[int]) -> dict[int, int]:
        async def look(connection: Connection) -> dict[int, int]:
            return dict(await (await connection.execute(_POSITIONS, (stores,), binary=True)).fetchall())

        return await self._connections.repeat(look)


class Committing(Protocol):
    """Who commits what was written on a snapshot."""

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`; ``position`` is the last commit that the snapshot shows."""
        ...


class PostgresSnapshot:
    """One position of one store."""

    __slots__ = ("_committing", "_connections", "_store", "position", "tables")

    def __init__(
        self, store: int, position: int, tables: dict[str, int], connections: Connections, committing: Committing
    ) -> None:
        self.position = position
        self.tables = tables
        self._store = store
        self._connections = connections
        self._committing = committing

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """See `Snapshot.read`."""
        if max(len(span.lower), len(span.upper)) <= HEAD:
            rows = await self._rows(_SHORT[order], span, most, enough)
            if not any(row[2] for row in rows):
                return self._page(rows, order, most, enough)
        return self._page(await self._rows(_LONG[order], span, most, enough), order, most, enough)

    async def count(self, span: KeyRange, most: int) -> int:
        """See `Snapshot.count`."""
        short = max(len(span.lower), len(span.upper)) <= HEAD
        rows = await self._ask(_COUNT_SHORT if short else _COUNT_LONG, span, {"most": most})
        counted: int = rows[0][1]
        return counted

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        return await self._committing.commit(self.position, reads, writes)

    def release(self) -> None:
        """See `Snapshot.release`. Nothing is held."""

    def share(self) -> "PostgresSnapshot":
        """See `Snapshot.share`."""
        return self

    async def _rows(
        self, statement: bytes, span: KeyRange, most: int, enough: int
    ) -> list[tuple[int, bytes | None, bytes, bytes]]:
        # The first document always belongs to the page.
        return await self._ask(statement, span, {"most": most, "enough": max(enough, 1)})

    async def _ask(self, statement: bytes, span: KeyRange, more: dict[str, int]) -> list[Any]:
        """Ask something about a range; the first column tells up to where the past is incomplete."""
        lower, _, lower_tail = place_of(span.lower)
        upper, _, upper_tail = place_of(span.upper)
        ends = {"lower": lower, "lower_tail": lower_tail, "upper": upper, "upper_tail": upper_tail}
        values = {"store": self._store, "position": self.position, **more, **ends}

        async def look(connection: Connection) -> list[Any]:
            return await (await connection.execute(statement, values, binary=True)).fetchall()

        rows = await self._connections.repeat(look)
        if not rows:
            raise NotFound("this deployment was deleted while the transaction ran")
        if rows[0][0] > self.position:
            raise Overloaded("this transaction was open for too long and its snapshot is gone; try again")
        return rows

    def _page(self, rows: list[tuple[int, bytes | None, bytes, bytes]], order: Order, most: int, enough: int) -> Page:
        entries = [(head + tail, content) for _, head, tail, content in rows if head is not None]
        # They come in order; only, no standard says so.
        entries.sort(key=lambda entry: entry[0], reverse=order is Order.DESCENDING)
        size = sum(len(content) for _, content in entries)
        return Page(entries, len(entries) < most and (not entries or size < enough))
