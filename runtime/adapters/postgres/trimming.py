"""What of the past may be removed, and how?

Rows that were superseded longer ago than `KEPT` seconds, found through the log of commits, and that log with them.

Rules
1. First the store says from where on it can be read (`trimmed`), then rows are removed: a reader of an earlier position
   is told so and never sees a part.
2. A few at a time, each time a transaction: nothing waits long, and after a crash somebody goes on. Processes that trim
   one store at once take different commits.
"""

import contextlib
from collections.abc import Sequence

import msgspec

from runtime.adapters.postgres.connections import Connection, Connections
from runtime.adapters.postgres.history import KEPT
from runtime.adapters.postgres.schema import place_of
from runtime.errors import WarrenError

_AT_ONCE = 200  # commits

_OLD = b"""SELECT position FROM commits WHERE store = %b AND at < clock_timestamp() - make_interval(secs => %b)
    ORDER BY position DESC LIMIT 1"""
_SAY = b"UPDATE stores SET trimmed = %b WHERE id = %b AND trimmed < %b"
_TAKE = b"""DELETE FROM commits WHERE store = %(store)b AND position IN (
    SELECT position FROM commits WHERE store = %(store)b AND position <= %(upto)b
    ORDER BY position LIMIT %(most)b FOR UPDATE SKIP LOCKED) RETURNING position, keys"""
# Whoever had one of these keys then was written then: its earlier contents are the past.
_REMOVE_DOCUMENTS = b"""DELETE FROM documents d
    USING unnest(%(heads)b::bytea[], %(digests)b::bytea[], %(positions)b::bigint[]) AS w(head, digest, position)
    JOIN entries e ON e.store = %(store)b AND e.head = w.head AND e.digest = w.digest
        AND e.until >= w.position AND e.since <= w.position
    WHERE d.store = %(store)b AND d.number = e.number AND d.since < w.position"""
_REMOVE_ENTRIES = b"""DELETE FROM entries e
    USING unnest(%(heads)b::bytea[], %(digests)b::bytea[], %(positions)b::bigint[]) AS w(head, digest, position)
    WHERE e.store = %(store)b AND e.head = w.head AND e.digest = w.digest AND e.until <= w.position"""


async def trim(connections: Connections, store: int, kept: float = KEPT) -> None:
    """Remove what nobody can read any more. What cannot be done now is done next time."""
    with contextlib.suppress(WarrenError):
        upto = await connections.repeat(lambda connection: _say(connection, store, kept))
        while upto is not None and await connections.repeat(lambda connection: _remove_some(connection, store, upto)):
            pass


async def _say(connection: Connection, store: int, kept: float) -> int | None:
    row = await (await connection.execute(_OLD, (store, kept), binary=True)).fetchone()
    if row is None:
        return None
    await connection.execute(_SAY, (row[0], store, row[0]))
    return int(row[0])


async def _remove_some(connection: Connection, store: int, upto: int) -> bool:
    async with connection.transaction():
        taken = await connection.execute(_TAKE, {"store": store, "upto": upto, "most": _AT_ONCE}, binary=True)
        rows: Sequence[tuple[int, bytes]] = await taken.fetchall()
        if not rows:
            return False
        touched = [(place_of(key), at) for at, keys in rows for key in msgspec.msgpack.decode(keys, type=list[bytes])]
        values = {
            "store": store,
            "heads": [place.head for place, _ in touched],
            "digests": [place.digest for place, _ in touched],
            "positions": [at for _, at in touched],
        }
        await connection.execute(_REMOVE_DOCUMENTS, values)
        await connection.execute(_REMOVE_ENTRIES, values)
    return True
