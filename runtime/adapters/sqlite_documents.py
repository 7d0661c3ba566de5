"""Where are a deployment's documents on the disk?

``<folder>/<deployment>/documents.sqlite3``, one file for each deployment, opened when it is asked for. The work is done
in `adapters/sqlite/`.

Rules
1. At most ``most_open`` files are open, those in use aside: the one that was idle longest is closed first. A thousand
   deployments need no thousand descriptors.
2. A deleted deployment's folder first loses its name and then its content: after a crash it is there as a whole, or is
   no deployment any more.
3. Several processes may use one folder.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import WeakValueDictionary

from runtime import limits
from runtime.adapters.sqlite.database import Database, open_database
from runtime.adapters.sqlite.readers import SqliteSnapshot
from runtime.names import DeploymentName
from runtime.ports import Commit, Followed

_FILE = "documents.sqlite3"
_THREADS = 8


class SqliteDocuments:
    """Every deployment's documents in a folder."""

    def __init__(self, folder: Path, most_open: int = 64, log_bytes: int = 64 * limits.MIB) -> None:
        self._folder = folder
        self._most_open = most_open
        self._log_bytes = log_bytes
        self._executor = ThreadPoolExecutor(_THREADS, "documents")
        self._databases: OrderedDict[DeploymentName, Database] = OrderedDict()
        # One at a time opens, closes or deletes a deployment's file: SQLite removes a log by its name.
        self._locks: WeakValueDictionary[DeploymentName, asyncio.Lock] = WeakValueDictionary()

    async def snapshot(self, name: DeploymentName) -> SqliteSnapshot:
        """See `DocumentStore.snapshot`."""
        database = self._databases.get(name)
        if database is None:
            database = await self._open(name)
        # Nothing may be awaited between here and the snapshot, or somebody would close what seems idle.
        self._databases.move_to_end(name)
        return await database.snapshot()

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        """See `DocumentStore.follow`."""
        database = self._databases.get(name) or await self._open(name)
        return await database.follow(listener)

    async def delete(self, name: DeploymentName) -> None:
        """See `DocumentStore.delete`."""
        async with self._lock(name):
            database = self._databases.pop(name, None)
            if database is not None:
                await database.close()
            await asyncio.get_running_loop().run_in_executor(self._executor, self._remove_folder, name)

    async def close(self) -> None:
        """See `DocumentStore.close`."""
        while self._databases:
            name = next(iter(self._databases))
            async with self._lock(name):
                database = self._databases.pop(name, None)
                if database is not None:
                    await database.close()
        self._executor.shutdown()

    async def _open(self, name: DeploymentName) -> Database:
        await self._make_room()
        async with self._lock(name):
            database = self._databases.get(name)
            if database is None:
                database = await open_database(self._folder / name / _FILE, self._executor, self._log_bytes)
                self._databases[name] = database
            return database

    async def _make_room(self) -> None:
        excess = len(self._databases) + 1 - self._most_open
        for name in [name for name, database in self._databases.items() if not database.in_use][: max(excess, 0)]:
            async with self._lock(name):
                database = self._databases.get(name)
                if database is not None and not database.in_use:
                    del self._databases[name]
                    await database.close()

    def _lock(self, name: DeploymentName) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _remove_folder(self, name: DeploymentName) -> None:
        # A deployment's name cannot begin with a dot.
        nameless = self._folder / f".deleted-{secrets.token_hex(8)}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._folder / name, nameless)
        for remains in self._folder.glob(".deleted-*"):
            shutil.rmtree(remains, ignore_errors=True)
