"""A PostgreSQL server for tests: of its own, in a temporary folder, on a Unix socket.

It is started when the first test asks for a database. Where PostgreSQL is not installed, those tests are skipped.

Rules
1. Every database that is handed out is empty: a schema of its own.
2. Nothing waits without an end: each command has `_SECONDS`.
"""

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from runtime.adapters.postgres.bell import Bell
from runtime.adapters.postgres.connections import Connections
from runtime.adapters.postgres.documents import PostgresDocuments
from runtime.adapters.postgres.registry import PostgresRegistry
from runtime.adapters.postgres.schema import migrate
from runtime.names import DeploymentName
from runtime.ports import Commit, Followed, Snapshot

_SECONDS = 30
_OWNER = "postgres"  # the server refuses to run as root


class PostgresServer:
    """The server, once somebody has asked for a database."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._schemas = itertools.count(1)

    def fresh(self) -> str:
        """The address of an empty database."""
        schema = f"test_{next(self._schemas)}"
        self._require_running()
        with psycopg.connect(self._address(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        return f"{self._address()}&options=-csearch_path%3D{schema}"

    def restart(self, how: str = "immediate") -> None:
        """End it as a crash would (or ``fast``), and start it again."""
        self.end(how)
        self.begin()

    def end(self, how: str = "immediate") -> None:
        """End it; what it holds stays."""
        self._run("pg_ctl", "stop", "-w", "-t", str(_SECONDS), "-m", how, "-D", str(self._data))

    def begin(self) -> None:
        """Start it, and wait until it answers."""
        # Nothing here survives the machine, so nobody needs to wait for the disk; a crash of the server alone it does.
        options = f"-c listen_addresses= -c fsync=off -k {self._data.parent}"
        log = str(self._data.parent / "log")
        self._run("pg_ctl", "start", "-w", "-t", str(_SECONDS), "-D", str(self._data), "-l", log, "-o", options)

    def remove(self) -> None:
        """End it for good."""
        if self._folder is not None:
            if (self._data / "postmaster.pid").exists():
                self.end()
            shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        assert self._folder is not None
        return self._folder / "data"

    def _address(self) -> str:
        return f"postgresql://warren@/postgres?host={self._folder}"

    def _require_running(self) -> None:
        if self._folder is not None:
            return
        if _programs() is None:
            pytest.skip("PostgreSQL is not installed")
        # Not a folder of pytest's: those are for one user alone, and a socket's path may not be long.
        self._folder = Path(tempfile.mkdtemp(prefix="warren-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, _OWNER)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "warren", "--no-sync", "-E", "UTF8")
        self.begin()

    def _run(self, program: str, *arguments: str) -> None:
        programs = _programs()
        assert programs is not None
        user = _OWNER if os.geteuid() == 0 else None
        done = subprocess.run(
            [programs / program, *arguments],
            user=user,
            cwd="/",
            timeout=2 * _SECONDS,
            # Not a pipe: the server would keep it.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


def _programs() -> Path | None:
    try:
        pwd.getpwnam(_OWNER)
    except KeyError:
        if os.geteuid() == 0:
            return None
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this test run."""
    server = PostgresServer()
    yield server
    server.remove()


class OpenDatabase:
    """What a router has of a database: connections, and the bell."""

    def __init__(self, url: str) -> None:
        self.connections = Connections(url)
        self.bell = Bell(self.connections)

    async def open(self) -> None:
        """Connect, bring the tables up to date, listen."""
        try:
            await self.connections.open()
            async with self.connections.lend() as connection:
                await migrate(connection)
            await self.bell.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of it."""
        await self.bell.stop()
        await self.connections.close()


class OwnDocuments:
    """A `DocumentStore` that opens its database when it is first used, and closes it at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opening = asyncio.Lock()
        self._database: OpenDatabase | None = None
        self._documents: PostgresDocuments | None = None

    async def opened(self) -> PostgresDocuments:
        """The documents."""
        async with self._opening:
            if self._documents is None:
                database = OpenDatabase(self._url)
                await database.open()
                self._database = database
                self._documents = PostgresDocuments(database.connections, database.bell)
        return self._documents

    async def snapshot(self, name: DeploymentName) -> Snapshot:
        """See `DocumentStore.snapshot`."""
        return await (await self.opened()).snapshot(name)

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        """See `DocumentStore.follow`."""
        return await (await self.opened()).follow(name, listener)

    async def delete(self, name: DeploymentName) -> None:
        """See `DocumentStore.delete`."""
        await (await self.opened()).delete(name)

    async def close(self) -> None:
        """See `DocumentStore.close`."""
        if self._documents is not None and self._database is not None:
            await self._documents.close()
            await self._database.close()


class OwnRegistry(PostgresRegistry):
    """A registry with a database of its own."""

    def __init__(self, url: str) -> None:
        self._database = OpenDatabase(url)
        super().__init__(self._database.connections)

    async def open(self) -> None:
        """Open the database."""
        await self._database.open()

    async def close(self) -> None:
        """Let go of it."""
        await self._database.close()
