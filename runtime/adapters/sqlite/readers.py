"""Which moment does a reader see?

A snapshot is a connection that holds a read transaction. Transactions that begin while nothing is committed share one,
so a quiet database is read without opening anything.

Rules
1. A snapshot shows everything that is committed when it is asked for, by this process or another: SQLite's data version
   is looked at every time.
2. Connections are lent and come back; there are never more than ``_CONNECTIONS``. Who comes too late waits.
3. A snapshot keeps the write-ahead log from starting again. So the log can be given a pause (`pause`): new snapshots
   wait, and those that are held too long are taken away.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from runtime.adapters.sqlite.file import mistake
from runtime.errors import NotFound, Overloaded, WarrenError
from runtime.ports import KeyRange, Order, Page, Write

_CONNECTIONS = 32
_IDLE_CONNECTIONS = 2
_COUNTED = 10_000  # in one go
# Seconds for which a snapshot that nobody holds is kept for the next one. It hinders other processes meanwhile.
_LINGER = 0.25

_ASCENDING = """SELECT e.key, d.content FROM entries e JOIN documents d ON d.number = e.document
    WHERE e.key >= ? AND e.key < ? ORDER BY e.key LIMIT ?"""
_DESCENDING = """SELECT e.key, d.content FROM entries e JOIN documents d ON d.number = e.document
    WHERE e.key >= ? AND e.key < ? ORDER BY e.key DESC LIMIT ?"""
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM entries WHERE key >= ? AND key < ? LIMIT ?)"
_FOLLOWING = "SELECT key FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?"
_POSITION = "SELECT max(position) FROM commits"
_LOG = "SELECT position, keys FROM commits WHERE position > ? AND position <= ? ORDER BY position"


class Committing(Protocol):
    """Who commits what was written on a snapshot."""

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`; ``position`` is the last commit that the snapshot shows."""
        ...


class SqliteSnapshot:
    """One moment of one file, shared by those who began then."""

    __slots__ = ("_connection", "_readers", "position", "tables", "users")

    def __init__(self, readers: "Readers", connection: sqlite3.Connection, position: int) -> None:
        self.tables = readers.tables
        self.position = position
        self.users = 1
        self._readers = readers
        self._connection: sqlite3.Connection | None = connection

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """See `Snapshot.read`. Runs where it is called: a page is a fraction of a millisecond."""
        if self._connection is None:
            raise self._readers.gone()
        sql = _ASCENDING if order is Order.ASCENDING else _DESCENDING
        try:
            rows = self._connection.execute(sql, (span.lower, span.upper, most))
            return _page(rows, most, enough)
        except sqlite3.Error as error:
            raise mistake(error, "documents cannot be read") from error

    async def count(self, span: KeyRange, most: int) -> int:
        """See `Snapshot.count`. Some at a time: a million take a fifth of a second, and others want to go on."""
        counted = 0
        while True:
            step = min(_COUNTED, most - counted)
            found, following = self._count(span, step)
            counted += found
            if following is None or counted >= most:
                return counted
            span = KeyRange(following, span.upper)
            await asyncio.sleep(0)

    def _count(self, span: KeyRange, most: int) -> tuple[int, bytes | None]:
        """Count up to ``most``; and the key that comes then, if there is one."""
        if self._connection is None:
            raise self._readers.gone()
        try:
            following = self._connection.execute(_FOLLOWING, (*span, most)).fetchone()
            if following is not None:
                return most, following[0]
            return self._connection.execute(_COUNT, (*span, most)).fetchone()[0], None
        except sqlite3.Error as error:
            raise mistake(error, "documents cannot be counted") from error

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        if self._connection is None:
            raise self._readers.gone()
        # Nobody reads any more: the position says it all, and the log must not wait for the disk.
        self.release()
        return await self._readers.committing.commit(self.position, reads, writes)

    def release(self) -> None:
        """See `Snapshot.release`."""
        self.users -= 1
        if self.users == 0:
            self._readers.released(self)

    def share(self) -> "SqliteSnapshot":
        """See `Snapshot.share`."""
        self.users += 1
        return self

    def end(self) -> sqlite3.Connection | None:
        """Take the connection away, its read transaction ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.execute("COMMIT")
        return connection


class Readers:
    """The snapshots of one file. Everything here happens on the loop's thread."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], committing: Committing, moved: Callable[[int], None]
    ) -> None:
        self.tables: dict[str, int] = {}
        self.committing = committing
        self._connect = connect
        self._moved = moved
        self._watch = connect()
        self._version = -1
        self._current: SqliteSnapshot | None = None
        self._live: set[SqliteSnapshot] = set()
        self._idle: list[sqlite3.Connection] = []
        self._lingering: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def in_use(self) -> bool:
        """Whether anybody holds a snapshot."""
        return any(snapshot.users for snapshot in self._live)

    @property
    def oldest(self) -> int | None:
        """The position of the oldest snapshot that somebody holds."""
        return min((snapshot.position for snapshot in self._live if snapshot.users), default=None)

    async def snapshot(self) -> SqliteSnapshot:
        """What is committed now; for the one who asks, who ends it."""
        while not self._closed:
            version = self._watch.execute("PRAGMA data_version").fetchone()[0]
            current = self._current
            if current is not None and version == self._version and not self._paused:
                current.users += 1
                return current
            self.retire()
            if not self._paused and len(self._live) < _CONNECTIONS:
                return self._begin(version)
            await self._changed.wait()
        raise self.gone()

    def gone(self) -> WarrenError:
        """Why a snapshot that somebody still holds is gone."""
        if self._closed:
            return NotFound("this deployment was deleted while the transaction ran")
        return Overloaded("this transaction was open for too long and its snapshot is gone; try again")

    def position(self) -> int:
        """The last commit in the file."""
        position: int = self._watch.execute(_POSITION).fetchone()[0]
        return position

    def log(self, after: int, upto: int) -> list[tuple[int, list[bytes]]]:
        """What the log of commits still holds after one position, up to another."""
        rows = self._watch.execute(_LOG, (after, upto)).fetchall()
        return [(at, msgspec.msgpack.decode(keys, type=list[bytes])) for at, keys in rows]

    def retire(self) -> None:
        """Share the present moment with nobody new: it is about to be over."""
        current, self._current = self._current, None
        if current is not None and current.users == 0:
            self._end(current)

    def released(self, snapshot: SqliteSnapshot) -> None:
        """Nobody holds this snapshot any more."""
        if snapshot is not self._current:
            self._end(snapshot)
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(_LINGER, self._end_lingering)

    async def pause(self, patience: float) -> None:
        """Wait until nobody holds a snapshot, and keep it so; those held longer than ``patience`` seconds are taken
        away."""
        self._paused = True
        self.retire()
        try:
            async with asyncio.timeout(patience):
                while self._live:
                    await self._changed.wait()
        except TimeoutError:
            for snapshot in list(self._live):
                self._end(snapshot)

    def go_on(self) -> None:
        """End the pause."""
        self._paused = False
        self._wake()

    def close(self) -> None:
        """Take every snapshot away and close every connection."""
        self._closed = True
        self._current = None
        if self._lingering is not None:
            self._lingering.cancel()
        for snapshot in list(self._live):
            self._end(snapshot)
        self._wake()
        for connection in (*self._idle, self._watch):
            connection.close()
        self._idle.clear()

    def _end_lingering(self) -> None:
        # One timer at a time: who is busy pays for it four times a second, not for every transaction.
        self._lingering = None
        if self._current is not None and self._current.users == 0:
            self.retire()

    def _begin(self, version: int) -> SqliteSnapshot:
        connection = self._idle.pop() if self._idle else self._connect()
        connection.execute("BEGIN")
        position: int = connection.execute(_POSITION).fetchone()[0]
        # The file may have moved on since its version was read; then the next one who asks sees another version.
        self._version = version
        self._current = snapshot = SqliteSnapshot(self, connection, position)
        self._live.add(snapshot)
        self._moved(position)
        return snapshot

    def _end(self, snapshot: SqliteSnapshot) -> None:
        self._live.discard(snapshot)
        connection = snapshot.end()
        if connection is not None and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(connection)
        elif connection is not None:
            connection.close()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


def _page(rows: sqlite3.Cursor, most: int, enough: int) -> Page:
    entries: list[tuple[bytes, bytes]] = []
    size = 0
    try:
        for entry in rows:
            entries.append(entry)
            size += len(entry[1])
            if size >= enough:
                return Page(entries, False)
    finally:
        # An open cursor would hold the snapshot.
        rows.close()
    return Page(entries, len(entries) < most)
