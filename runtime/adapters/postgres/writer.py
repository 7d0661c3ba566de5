"""How do transactions get into the database?

A batch of them becomes one transaction of PostgreSQL in two exchanges: the first locks the store and learns what others
have committed, the second writes and commits.

Rules
1. The lock on the row of the store is held until the commit, so positions become visible in their order, for everybody.
2. When the connection is lost before the commit was sent, the batch is written again: nothing of it was kept. When it
   is lost later, the database is asked, behind the same lock, whether the batch is there: its token says so.
3. When anything fails, nothing of the batch was written; only when the database stays away after a commit was sent
   nobody knows, and that is what is said.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from runtime.adapters.postgres.connections import (
    PATIENCE,
    Connection,
    ConnectionLost,
    Connections,
    pause,
    unreachable,
)
from runtime.adapters.postgres.history import History, Log
from runtime.adapters.postgres.schema import ALIVE, Place, place_of
from runtime.adapters.rivals import Attempt, Keys, keys_of
from runtime.errors import NotFound, OurMistake, Overloaded
from runtime.ports import Write

_LOCK = b"SELECT position, next_number FROM stores WHERE id = %b FOR UPDATE"
_LOG = b"SELECT position, keys FROM commits WHERE store = %b AND position > %b AND position <= %b ORDER BY position"
_LIVING = f"e.store = %(store)b AND e.head = w.head AND e.digest = w.digest AND e.until = {ALIVE}"
_PLACES = "unnest(%(heads)b::bytea[], %(digests)b::bytea[]"

_END = f"UPDATE entries e SET until = %(at)b FROM {_PLACES}) AS w(head, digest) WHERE {_LIVING}".encode()
_CHANGE = f"""INSERT INTO documents (store, number, since, content) SELECT e.store, e.number, %(at)b, w.content
    FROM {_PLACES}, %(contents)b::bytea[]) AS w(head, digest, content) JOIN entries e ON {_LIVING}""".encode()
_MOVE = f"""INSERT INTO entries (store, head, digest, tail, until, since, number)
    SELECT e.store, w.new_head, w.new_digest, w.new_tail, {ALIVE}, %(at)b, e.number
    FROM {_PLACES}, %(new_heads)b::bytea[], %(new_digests)b::bytea[], %(new_tails)b::bytea[])
    AS w(head, digest, new_head, new_digest, new_tail) JOIN entries e ON {_LIVING}""".encode()
_ADD = b"""INSERT INTO documents (store, number, since, content) SELECT %(store)b, w.number, %(at)b, w.content
    FROM unnest(%(numbers)b::bigint[], %(contents)b::bytea[]) AS w(number, content)"""
_ENTER = f"""INSERT INTO entries (store, head, digest, tail, until, since, number)
    SELECT %(store)b, w.head, w.digest, w.tail, {ALIVE}, %(at)b, w.number
    FROM {_PLACES}, %(tails)b::bytea[], %(numbers)b::bigint[]) AS w(head, digest, tail, number)""".encode()
_COMMIT = b"INSERT INTO commits (store, position, token, keys) VALUES (%b, %b, %b, %b)"
_ADVANCE = b"UPDATE stores SET position = %b, next_number = %b WHERE id = %b"
_IS_THERE = b"SELECT token FROM commits WHERE store = %b AND position = %b"

_decode_keys = msgspec.msgpack.Decoder(list[bytes]).decode
_encode_keys = msgspec.msgpack.Encoder().encode


class _Rows(NamedTuple):
    ended: list[Place]
    changed: list[tuple[Place, bytes]]
    moved: list[tuple[Place, Place]]
    contents: list[tuple[int, bytes]]
    entries: list[tuple[Place, int]]


class Written(NamedTuple):
    """A batch that is durable: its position and its sorted keys, which are empty when everybody has lost."""

    position: int
    keys: Keys


async def read_log(connections: Connections, store: int, after: int, upto: int) -> Log:
    """What the log of commits still holds after one position, up to another."""

    async def look(connection: Connection) -> Log:
        rows = await (await connection.execute(_LOG, (store, after, upto), binary=True)).fetchall()
        return [(at, _decode_keys(keys)) for at, keys in rows]

    return await connections.repeat(look)


class Writer:
    """Writes to one store, one batch at a time."""

    def __init__(self, connections: Connections, store: int, history: History) -> None:
        self._connections = connections
        self._store = store
        self._history = history
        self._sent: Written | None = None
        self.news: Log = ()
        """What others had committed that was not known before the last batch."""

    def shown_at(self, position: int) -> bool:
        """Whether the batch that is being written can be seen at this position."""
        return self._sent is not None and self._sent.position <= position

    async def write(self, attempts: Sequence[Attempt]) -> Written:
        """Write what has not lost, and mark what has."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        token = os.urandom(16)
        while True:
            self._sent = None
            try:
                async with self._connections.lend() as connection:
                    return await self._write(connection, attempts, token)
            except ConnectionLost as lost:
                if self._sent is not None and await self._is_there(self._sent.position, token):
                    return self._sent
                if asyncio.get_running_loop().time() > deadline:
                    raise unreachable(lost) from lost
            await pause()

    async def _write(self, connection: Connection, attempts: Sequence[Attempt], token: bytes) -> Written:
        position, number = await self._lock(connection, min(attempt.position for attempt in attempts))
        winners = []
        for attempt in attempts:
            attempt.lost = self._history.lost(attempt.position, attempt.reads) if attempt.reads else None
            if attempt.lost is None:
                winners.append(attempt)
        keys = sorted({key for attempt in winners for key in keys_of(attempt.writes)})
        if not keys:
            await connection.execute("ROLLBACK")
            return Written(position, keys)
        rows, number = _rows([write for attempt in winners for write in attempt.writes], number)
        written = Written(position + 1, keys)
        async with connection.pipeline():
            await self._put(connection, rows, written.position)
            await connection.execute(_COMMIT, (self._store, written.position, token, _encode_keys(keys)))
            await connection.execute(_ADVANCE, (written.position, number, self._store))
            self._sent = written
            await connection.execute("COMMIT")
        return written

    async def _lock(self, connection: Connection, oldest: int) -> tuple[int, int]:
        since = self._history.start_for(oldest)
        async with connection.pipeline():
            await connection.execute("BEGIN")
            locked = await connection.execute(_LOCK, (self._store,), binary=True)
            log = await connection.execute(_LOG, (self._store, since, ALIVE), binary=True)
            row: tuple[int, int] | None = await locked.fetchone()
            rows = await log.fetchall()
        if row is None:
            raise NotFound("this deployment was deleted while the transaction ran")
        self.news = self._history.learn([(at, _decode_keys(keys)) for at, keys in rows], since, row[0])
        return row

    async def _put(self, connection: Connection, rows: _Rows, at: int) -> None:
        always = {"store": self._store, "at": at}
        if rows.ended:
            await connection.execute(_END, always | _columns(rows.ended))
        if rows.changed:
            contents = [content for _, content in rows.changed]
            await connection.execute(
                _CHANGE, always | _columns([place for place, _ in rows.changed]) | {"contents": contents}
            )
        if rows.moved:
            new = {f"new_{name}": column for name, column in _columns([place for _, place in rows.moved]).items()}
            await connection.execute(_MOVE, always | _columns([place for place, _ in rows.moved]) | new)
        if rows.contents:
            numbers, contents = map(list, zip(*rows.contents, strict=True))
            await connection.execute(_ADD, always | {"numbers": numbers, "contents": contents})
        if rows.entries:
            numbers = [number for _, number in rows.entries]
            await connection.execute(
                _ENTER, always | _columns([place for place, _ in rows.entries]) | {"numbers": numbers}
            )

    async def _is_there(self, position: int, token: bytes) -> bool:
        async def look(connection: Connection) -> bool:
            # Whoever was committing has ended when the lock is had.
            async with connection.transaction():
                await connection.execute(_LOCK, (self._store,))
                row = await (await connection.execute(_IS_THERE, (self._store, position), binary=True)).fetchone()
            return row == (token,)

        try:
            return await self._connections.repeat(look)
        except Overloaded as error:
            text = f"the database went away during a commit, and it is not known whether it was written: {error}"
            raise OurMistake(text) from error


def _rows(writes: Sequence[Write], number: int) -> tuple[_Rows, int]:
    rows = _Rows([], [], [], [], [])
    for write in writes:
        if write.before:
            _add_change(rows, write)
        elif write.document is not None:
            rows.contents.append((number, write.document))
            rows.entries.extend([(place_of(key), number) for key in write.after])
            number += 1
    return rows, number


def _add_change(rows: _Rows, write: Write) -> None:
    document = place_of(write.before[0])
    if write.document is not None:
        rows.changed.append((document, write.document))
    if write.before != write.after:
        rows.ended.extend([place_of(key) for key in write.before if key not in write.after])
        rows.moved.extend([(document, place_of(key)) for key in write.after if key not in write.before])


def _columns(places: Sequence[Place]) -> dict[str, list[bytes]]:
    heads, digests, tails = map(list, zip(*places, strict=True))
    return {"heads": heads, "digests": digests, "tails": tails}
