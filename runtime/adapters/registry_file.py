"""How is the registry's SQLite file opened, migrated and worked with?

Knows connections, threads and the schema; not what a port wants with them.

Rules
1. One thread writes and one reads, each with its own connection, so that a push of many megabytes keeps nobody waiting
   who only looks something up. The event loop never touches the file.
2. A change is one transaction, durable when it returns: WAL with `synchronous=FULL`.
3. `MIGRATIONS` is only ever added to; `user_version` says how many were done. A newer program's file is not opened.
4. The file holds secrets of tenants: only this user may read it.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from runtime.adapters.sqlite.file import locked
from runtime.errors import OurMistake

T = TypeVar("T")

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE deployments (
            name TEXT PRIMARY KEY, created_at REAL NOT NULL, paused INTEGER NOT NULL DEFAULT 0, concurrency INTEGER,
            active INTEGER, next_number INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID""",
        """CREATE TABLE domains (
            domain TEXT PRIMARY KEY, deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
            position INTEGER NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX domains_of ON domains (deployment)",
        # The two large columns stand last: a list of versions then never reads their pages.
        """CREATE TABLE versions (
            deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE, number INTEGER NOT NULL,
            sha256 TEXT NOT NULL, created_at REAL NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
            declaration BLOB NOT NULL, bundle BLOB NOT NULL, PRIMARY KEY (deployment, number))""",
        """CREATE TABLE variables (
            deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (deployment, name)) WITHOUT ROWID""",
        """CREATE TABLE keys (
            deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE, id TEXT NOT NULL, name TEXT NOT NULL,
            created_at REAL NOT NULL, secret_hash BLOB NOT NULL, PRIMARY KEY (deployment, id))""",
    ),
    # Where its functions may connect to: entries with spaces between them, NULL where it is open.
    ("ALTER TABLE deployments ADD COLUMN egress TEXT",),
)


class RegistryFile:
    """The registry's file, open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = ThreadPoolExecutor(1, "warren-registry-write")
        self._reading = ThreadPoolExecutor(1, "warren-registry-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, make it where there is none, and bring it up to date."""
        loop = asyncio.get_running_loop()
        self._writer = await loop.run_in_executor(self._writing, self._open_writer)
        self._reader = await loop.run_in_executor(self._reading, _connect, self._path)

    async def close(self) -> None:
        """Let go of the file, after everything that was begun."""
        loop = asyncio.get_running_loop()
        for threads, connection in ((self._reading, self._reader), (self._writing, self._writer)):
            if connection is not None:
                await loop.run_in_executor(threads, connection.close)
            threads.shutdown()
        self._reader = self._writer = None

    async def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Look at one moment of the registry."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._look, look)

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make one change: all of it, durably, or nothing when it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._change, change)

    def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        assert self._reader is not None, "the registry is not open"
        self._reader.execute("BEGIN")
        try:
            return look(self._reader)
        finally:
            self._reader.execute("COMMIT")

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        assert self._writer is not None, "the registry is not open"
        return _in_transaction(self._writer, change)

    def _open_writer(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files the permissions of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # SQLite does not wait where two processes make the same file a WAL one: it says that it is locked.
        with locked(self._path.parent):
            connection = _connect(self._path)
            try:
                _in_transaction(connection, _migrate)
            except BaseException:
                connection.close()
                raise
            return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")
    except BaseException:  # a damaged file shows itself here
        connection.close()
        raise
    return connection


def _in_transaction(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _migrate(connection: sqlite3.Connection) -> None:
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(MIGRATIONS):
        raise OurMistake(
            f"the registry has version {done}, this program knows {len(MIGRATIONS)}: it was written by a newer Warren"
        )
    for statements in MIGRATIONS[done:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
