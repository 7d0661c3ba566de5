"""How do transactions get into the file?

A batch of them becomes one SQLite transaction: `prepare` takes the file's lock and writes, `finish` makes it durable.
Every transaction in the batch has been compared with everything this process has committed; what other processes have
committed meanwhile is found here, in the log of commits, behind the lock.

Rules
1. The number of a batch, its position, is its place in the one order that all processes agree on.
2. Alone on a file, looking for other processes' commits is one comparison of two numbers.
3. The log is short. A transaction that began before its beginning, while others were writing, is taken to have lost.
4. When anything fails, nothing of the batch was written.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from runtime.adapters.rivals import Attempt, Keys, keys_of, overlap
from runtime.ports import Write

_LOG_KEPT = 4_096  # commits
_LOG_TRIMMED_EVERY = 256

_POSITION = "SELECT max(position) FROM commits"
_LOG = "SELECT position, keys FROM commits WHERE position > ? ORDER BY position"
_ADD_COMMIT = "INSERT INTO commits (position, keys) VALUES (?, ?)"
_NUMBER = "SELECT document FROM entries WHERE key = ?"
_LAST_NUMBER = "SELECT max(number) FROM documents"
_decode_keys = msgspec.msgpack.Decoder(list[bytes]).decode
_encode_keys = msgspec.msgpack.Encoder().encode


class FileLocked(Exception):
    """Another process is writing to the file."""


class _Rows(NamedTuple):
    documents: list[tuple[int, bytes]]
    entries: list[tuple[bytes, int]]
    contents: list[tuple[bytes, int]]
    gone_documents: list[tuple[int]]
    gone_entries: list[tuple[bytes]]


class Writer:
    """The one connection of this process that writes to a file. Used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: int = connection.execute(_POSITION).fetchone()[0]
        # From here on who waits is decided by the queue.
        connection.execute("PRAGMA busy_timeout=0")
        self._next = self._known
        self._foreign: list[tuple[int, Keys]] = []
        self._complete_since = self._known

    def prepare(self, attempts: Sequence[Attempt]) -> tuple[int, Keys]:
        """Write what has not lost, and say its position and its sorted keys; mark what has lost.

        Raises `FileLocked` when another process is writing.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise FileLocked(str(error)) from error
            raise
        try:
            return self._write(attempts)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def finish(self) -> None:
        """Make durable what was prepared."""
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._known = self._next

    def truncate_log(self) -> None:
        """Move everything from the write-ahead log into the file, and begin the log anew, if no reader is in the
        way."""
        # Never waits for another process's readers: it would hold the file's lock meanwhile.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Close the connection. The last one of a file moves the log into it."""
        self._connection.close()

    def _write(self, attempts: Sequence[Attempt]) -> tuple[int, Keys]:
        position: int = self._connection.execute(_POSITION).fetchone()[0]
        if position != self._known:
            self._learn(position)
        winners = [attempt for attempt in attempts if not self._has_lost(attempt)]
        rows = self._rows(winners)
        keys = sorted({key for attempt in winners for key in keys_of(attempt.writes)})
        if keys:
            position += 1
            self._put(rows)
            self._connection.execute(_ADD_COMMIT, (position, _encode_keys(keys)))
            if position % _LOG_TRIMMED_EVERY == 0:
                self._trim(position)
        self._next = position
        return position, keys

    def _put(self, rows: _Rows) -> None:
        many = self._connection.executemany
        if rows.gone_entries:
            many("DELETE FROM entries WHERE key = ?", rows.gone_entries)
        if rows.gone_documents:
            many("DELETE FROM documents WHERE number = ?", rows.gone_documents)
        if rows.contents:
            many("UPDATE documents SET content = ? WHERE number = ?", rows.contents)
        if rows.documents:
            many("INSERT INTO documents (number, content) VALUES (?, ?)", rows.documents)
        if rows.entries:
            many("INSERT INTO entries (key, document) VALUES (?, ?)", rows.entries)

    def _rows(self, attempts: Sequence[Attempt]) -> _Rows:
        rows = _Rows([], [], [], [], [])
        number: int = self._connection.execute(_LAST_NUMBER).fetchone()[0] or 0
        for attempt in attempts:
            for write in attempt.writes:
                if write.before:
                    self._add_change(rows, write)
                elif write.document is not None:
                    number += 1
                    rows.documents.append((number, write.document))
                    rows.entries.extend([(key, number) for key in write.after])
        return rows

    def _add_change(self, rows: _Rows, write: Write) -> None:
        number: int = self._connection.execute(_NUMBER, (write.before[0],)).fetchone()[0]
        if write.document is None:
            rows.gone_documents.append((number,))
        else:
            rows.contents.append((write.document, number))
        if write.before != write.after:
            rows.gone_entries.extend([(key,) for key in write.before if key not in write.after])
            rows.entries.extend([(key, number) for key in write.after if key not in write.before])

    def _learn(self, position: int) -> None:
        # Remembered even when this batch fails: it is true.
        log = self._connection.execute(_LOG, (self._known,)).fetchall()
        if not log or log[0][0] != self._known + 1:
            self._complete_since = log[0][0] - 1 if log else position
            self._foreign.clear()
        self._foreign.extend((at, _decode_keys(keys)) for at, keys in log)
        if len(self._foreign) > _LOG_KEPT:
            self._complete_since = self._foreign[-_LOG_KEPT][0] - 1
            del self._foreign[:-_LOG_KEPT]
        self._known = position

    def _has_lost(self, attempt: Attempt) -> bool:
        if not attempt.reads or not self._foreign:
            return False
        if attempt.position < self._complete_since:
            attempt.lost = next(iter(attempt.reads))
            return True
        first = bisect_left(self._foreign, attempt.position + 1, key=lambda commit: commit[0])
        for _, keys in self._foreign[first:]:
            attempt.lost = overlap(attempt.reads, keys)
            if attempt.lost is not None:
                return True
        return False

    def _trim(self, position: int) -> None:
        self._connection.execute("DELETE FROM commits WHERE position <= ?", (position - _LOG_KEPT,))
