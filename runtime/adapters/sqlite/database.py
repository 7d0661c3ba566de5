"""What is one open database?

One file with its readers, its writer and its queue, opened and closed together.

Rules
1. Opening and closing wait for the disk, so they happen in another thread.
2. The write-ahead log is moved into the file as it grows; when readers have kept it from starting again for so long
   that it is larger than ``log_bytes``, they are given a pause.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from pathlib import Path

from runtime import limits
from runtime.adapters.sqlite import file
from runtime.adapters.sqlite.commits import Commits
from runtime.adapters.sqlite.feed import Feed
from runtime.adapters.sqlite.readers import Readers, SqliteSnapshot
from runtime.adapters.sqlite.writer import Writer
from runtime.ports import Commit, Followed, KeyRange, Write

_LONGEST_TRANSACTION = limits.QUERY_TIME / 1000


class Database:
    """One deployment's documents. Made by `open_database`."""

    def __init__(self, path: Path, writer: Writer, executor: Executor, log_bytes: int) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._log_bytes = log_bytes
        self._writer = writer
        self._executor = executor
        self._readers = Readers(lambda: file.connect(path), self, self._moved)
        self._feed = Feed(self._readers.log, self._look)
        self._commits = Commits(writer, self._readers, executor, self._feed.landed, self._after_flight)
        self._tried_at = 0

    @property
    def in_use(self) -> bool:
        """Whether a transaction is under way, or somebody follows."""
        return self._readers.in_use or not self._commits.idle or self._feed.followed

    async def snapshot(self) -> SqliteSnapshot:
        """See `DocumentStore.snapshot`."""
        try:
            return await self._readers.snapshot()
        except sqlite3.Error as error:
            raise file.mistake(error, "documents cannot be read") from error

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Committing.commit`."""
        return await self._commits.commit(position, reads, writes)

    async def follow(self, listener: Callable[[Commit], None]) -> Followed:
        """See `DocumentStore.follow`."""
        snapshot = await self.snapshot()
        try:
            return self._feed.follow(snapshot.position, listener)
        finally:
            snapshot.release()

    async def close(self) -> None:
        """Finish what is being committed, take every snapshot away, close the file."""
        self._feed.close()
        await self._commits.close()
        self._readers.close()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.close)

    def _look(self) -> None:
        self._moved(self._readers.position())

    def _moved(self, position: int) -> None:
        # While something of ours lands it cannot be told what is ours; it will be told when it has.
        if not self._commits.landing:
            self._feed.noticed(position)

    async def _after_flight(self) -> None:
        size = 0
        with contextlib.suppress(FileNotFoundError):
            size = os.stat(self._log).st_size
        # When another process's readers are in the way, it is tried again after as much has been written.
        if size - self._tried_at <= self._log_bytes:
            return
        await self._readers.pause(_LONGEST_TRANSACTION)
        with contextlib.suppress(sqlite3.Error):
            await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.truncate_log)
        self._tried_at = os.stat(self._log).st_size
        self._readers.go_on()


async def open_database(path: Path, executor: Executor, log_bytes: int) -> Database:
    """Open a file, made if it is missing, migrated if it is old, recovered if somebody crashed."""
    try:
        writer = await asyncio.get_running_loop().run_in_executor(executor, _open_writer, path)
        return Database(path, writer, executor, log_bytes)
    except sqlite3.Error as error:
        raise file.mistake(error, "the documents file cannot be opened") from error


def _open_writer(path: Path) -> Writer:
    file.create(path)
    return Writer(file.connect(path))
