"""Where is the registry kept when several processes share it?

The ports `Deployments`, `Versions`, `Variables` and `Keys` over the database. Knows the statements; `connections.py`
knows the database.

Rules
1. A method is one transaction. What must be true of the whole (a free name, a kept version) is checked inside it.
2. Every change begins by locking its deployment's row, so changes of one deployment are made one after the other,
   whichever process makes them; and it is announced to all of them (`bell`).
"""

import hmac
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg.errors import UniqueViolation

from runtime import limits
from runtime.adapters.postgres.bell import ANNOUNCE
from runtime.adapters.postgres.connections import Connection, ConnectionLost, Connections
from runtime.egress.policy import EgressPolicy, parse_policy
from runtime.errors import Conflict, NotFound, WarrenError
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import DeploymentSummary, KeySummary, VersionSummary
from runtime.protocol.declaration import Declaration

T = TypeVar("T")

_declarations = msgspec.msgpack.Decoder(Declaration)
_bundles = msgspec.msgpack.Decoder(dict[str, bytes])
_SUMMARY = (
    "SELECT name, created_at, paused, concurrency, active, "
    "array(SELECT domain FROM domains WHERE deployment = name ORDER BY place), egress FROM deployments"
)


class _Books:
    """The registry's tables, for the four ports."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def rows(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """Everything that one statement finds."""

        async def look(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement, values, binary=True)).fetchall()

        return await self._connections.repeat(look)

    async def look(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Look at one moment with several statements."""
        return await self._connections.look(work)

    async def change(self, name: DeploymentName, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Change something about a deployment, which must be there."""

        async def change(connection: Connection) -> T:
            if not await _row(connection, "SELECT 1 FROM deployments WHERE name = %s FOR UPDATE", name):
                raise NotFound(f"there is no deployment {name!r}")
            result = await work(connection)
            await connection.execute(ANNOUNCE, (name,))
            return result

        return await self._connections.change(change)

    async def answers(self) -> None:
        """See that the database answers, at the first attempt."""
        async with self._connections.lend() as connection:
            await connection.execute("SELECT 1")

    async def agree(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something that belongs to no deployment, in one transaction."""
        return await self._connections.change(work)

    async def make(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment."""

        async def make(connection: Connection) -> None:
            statement: LiteralString = (
                "INSERT INTO deployments (name, created_at) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
            )
            if (await connection.execute(statement, (name, created_at))).rowcount == 0:
                raise Conflict(f"there is a deployment {name!r} already")
            await connection.execute(ANNOUNCE, (name,))

        await self._connections.change(make)


class PostgresDeployments:
    """The port `Deployments` over PostgreSQL."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def create(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment."""
        await self._books.make(name, created_at)

    async def load(self, name: DeploymentName) -> Deployment | None:
        """The deployment as it is now."""

        async def look(connection: Connection) -> Deployment | None:
            statement: LiteralString = "SELECT paused, concurrency, active, egress FROM deployments WHERE name = %s"
            row = await _row(connection, statement, name)
            if row is None:
                return None
            statement = "SELECT number, sha256, bundle, declaration FROM versions WHERE deployment = %s AND number = %s"
            version = await _row(connection, statement, name, row[2])
            statement = "SELECT name, value FROM variables WHERE deployment = %s"
            variables = await (await connection.execute(statement, (name,), binary=True)).fetchall()
            policy = parse_policy(row[3])
            return Deployment(name, _version(version), _environment(variables), row[0], row[1], policy)

        return await self._books.look(look)

    async def by_domain(self, domain: str) -> DeploymentName | None:
        """Whose custom domain this is."""
        rows = await self._books.rows("SELECT deployment FROM domains WHERE domain = %s", domain)
        return DeploymentName(rows[0][0]) if rows else None

    async def summaries(self) -> Sequence[DeploymentSummary]:
        """Every deployment, by name."""
        return [_summary(row) for row in await self._books.rows(_SUMMARY + " ORDER BY name")]

    async def summary(self, name: DeploymentName) -> DeploymentSummary | None:
        """One deployment."""
        rows = await self._books.rows(_SUMMARY + " WHERE name = %s", name)
        return _summary(rows[0]) if rows else None

    async def update(
        self,
        name: DeploymentName,
        *,
        paused: bool,
        concurrency: int | None,
        domains: Sequence[str],
        egress: EgressPolicy,
    ) -> None:
        """Replace what an operator may choose."""

        async def change(connection: Connection) -> None:
            statement: LiteralString = (
                "UPDATE deployments SET paused = %s, concurrency = %s, egress = %s WHERE name = %s"
            )
            await connection.execute(statement, (paused, concurrency, egress.texts(), name))
            await connection.execute("DELETE FROM domains WHERE deployment = %s", (name,))
            for place, domain in enumerate(domains):
                try:
                    await connection.execute("INSERT INTO domains VALUES (%s, %s, %s)", (domain, name, place))
                except UniqueViolation:
                    raise Conflict(f"the domain {domain!r} belongs to another deployment") from None

        await self._books.change(name, change)

    async def delete(self, name: DeploymentName) -> None:
        """Remove it with everything that is kept of it here."""

        async def change(connection: Connection) -> None:
            await connection.execute("DELETE FROM deployments WHERE name = %s", (name,))

        await self._books.change(name, change)


class PostgresVersions:
    """The port `Versions` over PostgreSQL."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def add(
        self,
        name: DeploymentName,
        sha256: str,
        bundle: Mapping[str, bytes],
        declaration: Declaration,
        created_at: float,
    ) -> VersionNumber:
        """Keep a bundle, number it, make it the active version."""
        files, declared = msgspec.msgpack.encode(dict(bundle)), msgspec.msgpack.encode(declaration)
        size = sum(map(len, bundle.values()))

        async def change(connection: Connection) -> VersionNumber:
            statement: LiteralString = (
                "UPDATE deployments SET active = next_number, next_number = next_number + 1 WHERE name = %s "
                "RETURNING active"
            )
            row = await _row(connection, statement, name)
            assert row is not None, "its row is locked"
            await connection.execute(
                "INSERT INTO versions (deployment, number, sha256, created_at, files, bytes, declaration, bundle) "
                "VALUES (%s, %s, %s, %s, %s, %s, %b, %b)",
                (name, row[0], sha256, created_at, len(bundle), size, declared, files),
            )
            # The newest is the active one, so this never drops what is running.
            await connection.execute(
                "DELETE FROM versions WHERE deployment = %s AND number NOT IN "
                "(SELECT number FROM versions WHERE deployment = %s ORDER BY number DESC LIMIT %s)",
                (name, name, int(limits.VERSIONS_KEPT)),
            )
            return VersionNumber(row[0])

        return await self._books.change(name, change)

    async def activate(self, name: DeploymentName, number: VersionNumber) -> None:
        """Make an older version the active one."""

        async def change(connection: Connection) -> None:
            statement: LiteralString = (
                "UPDATE deployments SET active = v.number FROM versions v "
                "WHERE name = %s AND v.deployment = name AND v.number = %s"
            )
            if (await connection.execute(statement, (name, number))).rowcount == 0:
                raise NotFound(f"there is no version {number} of {name!r}, or it is no longer kept")

        await self._books.change(name, change)

    async def summaries(self, name: DeploymentName) -> Sequence[VersionSummary]:
        """Every version kept, newest first."""
        rows = await self._books.rows(
            "SELECT number, sha256, created_at, files, bytes FROM versions WHERE deployment = %s ORDER BY number DESC",
            name,
        )
        return [VersionSummary(*row) for row in rows]

    async def declaration(self, name: DeploymentName, number: VersionNumber) -> Declaration | None:
        """What a version that is kept declared."""
        statement: LiteralString = "SELECT declaration FROM versions WHERE deployment = %s AND number = %s"
        rows = await self._books.rows(statement, name, number)
        return _declarations.decode(rows[0][0]) if rows else None


class PostgresVariables:
    """The port `Variables` over PostgreSQL."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def all(self, name: DeploymentName) -> Mapping[str, str]:
        """Every variable."""
        return _environment(await self._books.rows("SELECT name, value FROM variables WHERE deployment = %s", name))

    async def set(self, name: DeploymentName, changes: Mapping[str, str | None]) -> None:
        """Set those with a value, remove those with ``None``."""
        values = {key: None if value is None else value.encode() for key, value in changes.items()}

        async def change(connection: Connection) -> None:
            for key, value in values.items():
                if value is None:
                    await connection.execute("DELETE FROM variables WHERE deployment = %s AND name = %s", (name, key))
                else:
                    await connection.execute(
                        "INSERT INTO variables (deployment, name, value) VALUES (%s, %s, %b) "
                        "ON CONFLICT (deployment, name) DO UPDATE SET value = excluded.value",
                        (name, key, value),
                    )

        await self._books.change(name, change)


class PostgresKeys:
    """The port `Keys` over PostgreSQL."""

    def __init__(self, books: _Books) -> None:
        self._books = books

    async def add(self, name: DeploymentName, key: KeySummary, secret_hash: bytes) -> None:
        """Keep a key."""

        async def change(connection: Connection) -> None:
            await connection.execute(
                "INSERT INTO keys (deployment, id, name, created_at, secret_hash) VALUES (%s, %s, %b, %s, %b)",
                (name, key.id, key.name.encode(), key.created_at, secret_hash),
            )

        await self._books.change(name, change)

    async def find(self, name: DeploymentName, secret_hash: bytes) -> KeySummary | None:
        """The key with this hash."""
        statement: LiteralString = "SELECT id, name, created_at, secret_hash FROM keys WHERE deployment = %s"
        found = None
        # Every hash is compared, in constant time: an index would stop at the first difference.
        for id, label, created_at, kept in await self._books.rows(statement, name):
            if hmac.compare_digest(kept, secret_hash):
                found = KeySummary(id, label.decode(), created_at)
        return found

    async def all(self, name: DeploymentName) -> Sequence[KeySummary]:
        """Every key, oldest first."""
        statement: LiteralString = "SELECT id, name, created_at FROM keys WHERE deployment = %s ORDER BY place"
        return [KeySummary(id, label.decode(), at) for id, label, at in await self._books.rows(statement, name)]

    async def remove(self, name: DeploymentName, id: str) -> None:
        """Forget a key."""

        async def change(connection: Connection) -> None:
            statement: LiteralString = "DELETE FROM keys WHERE deployment = %s AND id = %s"
            if (await connection.execute(statement, (name, id))).rowcount == 0:
                raise NotFound(f"there is no key {id[:40]!r}")

        await self._books.change(name, change)


class PostgresRegistry:
    """The four ports of the registry, over the same database; and what its servers must agree on."""

    def __init__(self, connections: Connections) -> None:
        books = self._books = _Books(connections)
        self.deployments = PostgresDeployments(books)
        self.versions = PostgresVersions(books)
        self.variables = PostgresVariables(books)
        self.keys = PostgresKeys(books)

    async def trouble(self) -> str | None:
        """Why the database cannot be used at this moment, or ``None``."""
        try:
            await self._books.answers()
        except (ConnectionLost, WarrenError):
            return "the database does not answer"
        return None

    async def secret(self, name: str) -> bytes:
        """A secret of this installation, drawn when it is first asked for."""

        async def find_or_keep(connection: Connection) -> bytes:
            statement: LiteralString = "INSERT INTO secrets (name, value) VALUES (%s, %b) ON CONFLICT (name) DO NOTHING"
            await connection.execute(statement, (name, os.urandom(32)))
            row = await _row(connection, "SELECT value FROM secrets WHERE name = %s", name)
            assert row is not None, "somebody has kept one"
            return bytes(row[0])

        return await self._books.agree(find_or_keep)


async def _row(connection: Connection, statement: LiteralString, *values: Any) -> tuple[Any, ...] | None:
    return await (await connection.execute(statement, values, binary=True)).fetchone()


def _environment(rows: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    return {name: bytes(value).decode() for name, value in rows}


def _summary(row: tuple[Any, ...]) -> DeploymentSummary:
    name, created_at, paused, concurrency, active, domains, egress = row
    number = None if active is None else VersionNumber(active)
    policy = parse_policy(egress)
    return DeploymentSummary(DeploymentName(name), created_at, paused, concurrency, tuple(domains), number, policy)


def _version(row: tuple[Any, ...] | None) -> Version | None:
    if row is None:
        return None
    number, sha256, bundle, declaration = row
    return Version(VersionNumber(number), sha256, _bundles.decode(bundle), _declarations.decode(declaration))
