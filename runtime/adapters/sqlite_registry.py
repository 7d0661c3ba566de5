"""Where is the registry kept for good?

The ports `Deployments`, `Versions`, `Variables` and `Keys` over one SQLite file. Knows the statements;
`registry_file.py` knows the file.

Rules
1. A method is one transaction. What must be true of the whole (a free name, a kept version) is checked inside it.
"""

import hmac
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from runtime import limits
from runtime.adapters.registry_file import RegistryFile
from runtime.egress.policy import EgressPolicy, parse_policy
from runtime.errors import Conflict, NotFound
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import DeploymentSummary, KeySummary, VersionSummary
from runtime.protocol.declaration import Declaration

_declarations = msgspec.msgpack.Decoder(Declaration)
_bundles = msgspec.msgpack.Decoder(dict[str, bytes])
_SUMMARY = "SELECT name, created_at, paused, concurrency, active, egress FROM deployments"


class SqliteDeployments:
    """The port `Deployments` over SQLite."""

    def __init__(self, file: RegistryFile) -> None:
        self._file = file

    async def create(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment."""

        def change(db: sqlite3.Connection) -> None:
            try:
                db.execute("INSERT INTO deployments (name, created_at) VALUES (?, ?)", (name, created_at))
            except sqlite3.IntegrityError:
                raise Conflict(f"there is a deployment {name!r} already") from None

        await self._file.write(change)

    async def load(self, name: DeploymentName) -> Deployment | None:
        """The deployment as it is now."""

        def look(db: sqlite3.Connection) -> tuple[Any, Any, dict[str, str]] | None:
            statement = "SELECT paused, concurrency, active, egress FROM deployments WHERE name=?"
            row = db.execute(statement, (name,)).fetchone()
            if row is None:
                return None
            statement = "SELECT number, sha256, bundle, declaration FROM versions WHERE deployment=? AND number=?"
            version = db.execute(statement, (name, row[2])).fetchone()
            return row, version, dict(db.execute("SELECT name, value FROM variables WHERE deployment=?", (name,)))

        found = await self._file.read(look)
        if found is None:
            return None
        (paused, concurrency, _, egress), row, environment = found
        return Deployment(name, _version(row), environment, bool(paused), concurrency, _egress(egress))

    async def by_domain(self, domain: str) -> DeploymentName | None:
        """Whose custom domain this is."""

        def look(db: sqlite3.Connection) -> tuple[str] | None:
            row: tuple[str] | None = db.execute("SELECT deployment FROM domains WHERE domain=?", (domain,)).fetchone()
            return row

        row = await self._file.read(look)
        return DeploymentName(row[0]) if row else None

    async def summaries(self) -> Sequence[DeploymentSummary]:
        """Every deployment, by name."""
        return await self._file.read(
            lambda db: [_summary(db, row) for row in db.execute(f"{_SUMMARY} ORDER BY name").fetchall()]
        )

    async def summary(self, name: DeploymentName) -> DeploymentSummary | None:
        """One deployment."""

        def look(db: sqlite3.Connection) -> DeploymentSummary | None:
            row = db.execute(f"{_SUMMARY} WHERE name=?", (name,)).fetchone()
            return _summary(db, row) if row else None

        return await self._file.read(look)

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

        def change(db: sqlite3.Connection) -> None:
            values = (int(paused), concurrency, _listed(egress), name)
            statement = "UPDATE deployments SET paused=?, concurrency=?, egress=? WHERE name=?"
            if db.execute(statement, values).rowcount == 0:
                raise NotFound(f"there is no deployment {name!r}")
            db.execute("DELETE FROM domains WHERE deployment=?", (name,))
            for position, domain in enumerate(domains):
                try:
                    db.execute("INSERT INTO domains VALUES (?, ?, ?)", (domain, name, position))
                except sqlite3.IntegrityError:
                    raise Conflict(f"the domain {domain!r} belongs to another deployment") from None

        await self._file.write(change)

    async def delete(self, name: DeploymentName) -> None:
        """Remove it with everything that is kept of it here."""

        def change(db: sqlite3.Connection) -> None:
            if db.execute("DELETE FROM deployments WHERE name=?", (name,)).rowcount == 0:
                raise NotFound(f"there is no deployment {name!r}")

        await self._file.write(change)


class SqliteVersions:
    """The port `Versions` over SQLite."""

    def __init__(self, file: RegistryFile) -> None:
        self._file = file

    async def add(
        self,
        name: DeploymentName,
        sha256: str,
        bundle: Mapping[str, bytes],
        declaration: Declaration,
        created_at: float,
    ) -> VersionNumber:
        """Keep a bundle, number it, make it the active version."""

        def change(db: sqlite3.Connection) -> VersionNumber:
            files = msgspec.msgpack.encode(dict(bundle))
            row = db.execute("SELECT next_number FROM deployments WHERE name=?", (name,)).fetchone()
            if row is None:
                raise NotFound(f"there is no deployment {name!r}")
            number = VersionNumber(row[0])
            size = sum(map(len, bundle.values()))
            declared = msgspec.msgpack.encode(declaration)
            db.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, number, sha256, created_at, len(bundle), size, declared, files),
            )
            db.execute("UPDATE deployments SET active=?, next_number=? WHERE name=?", (number, number + 1, name))
            # The newest is the active one, so this never drops what is running.
            db.execute(
                "DELETE FROM versions WHERE deployment=? AND number NOT IN "
                "(SELECT number FROM versions WHERE deployment=? ORDER BY number DESC LIMIT ?)",
                (name, name, int(limits.VERSIONS_KEPT)),
            )
            return number

        return await self._file.write(change)

    async def activate(self, name: DeploymentName, number: VersionNumber) -> None:
        """Make an older version the active one."""

        def change(db: sqlite3.Connection) -> None:
            statement = (
                "UPDATE deployments SET active=:number WHERE name=:name "
                "AND EXISTS (SELECT 1 FROM versions WHERE deployment=:name AND number=:number)"
            )
            if db.execute(statement, {"name": name, "number": number}).rowcount == 0:
                raise NotFound(f"there is no version {number} of {name!r}, or it is no longer kept")

        await self._file.write(change)

    async def summaries(self, name: DeploymentName) -> Sequence[VersionSummary]:
        """Every version kept, newest first."""

        def look(db: sqlite3.Connection) -> list[VersionSummary]:
            columns = "number, sha256, created_at, files, bytes"
            rows = db.execute(f"SELECT {columns} FROM versions WHERE deployment=? ORDER BY number DESC", (name,))
            return [VersionSummary(*row) for row in rows]

        return await self._file.read(look)

    async def declaration(self, name: DeploymentName, number: VersionNumber) -> Declaration | None:
        """What a version that is kept declared."""
        statement = "SELECT declaration FROM versions WHERE deployment=? AND number=?"
        row = await self._file.read(lambda db: db.execute(statement, (name, number)).fetchone())
        return _declarations.decode(row[0]) if row else None


class SqliteVariables:
    """The port `Variables` over SQLite."""

    def __init__(self, file: RegistryFile) -> None:
        self._file = file

    async def all(self, name: DeploymentName) -> Mapping[str, str]:
        """Every variable."""
        statement = "SELECT name, value FROM variables WHERE deployment=?"
        return await self._file.read(lambda db: dict(db.execute(statement, (name,)).fetchall()))

    async def set(self, name: DeploymentName, changes: Mapping[str, str | None]) -> None:
        """Set those with a value, remove those with ``None``."""

        def change(db: sqlite3.Connection) -> None:
            _require(db, name)
            for key, value in changes.items():
                if value is None:
                    db.execute("DELETE FROM variables WHERE deployment=? AND name=?", (name, key))
                else:
                    db.execute("INSERT OR REPLACE INTO variables VALUES (?, ?, ?)", (name, key, value))

        await self._file.write(change)


class SqliteKeys:
    """The port `Keys` over SQLite."""

    def __init__(self, file: RegistryFile) -> None:
        self._file = file

    async def add(self, name: DeploymentName, key: KeySummary, secret_hash: bytes) -> None:
        """Keep a key."""

        def change(db: sqlite3.Connection) -> None:
            _require(db, name)
            db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", (name, key.id, key.name, key.created_at, secret_hash))

        await self._file.write(change)

    async def find(self, name: DeploymentName, secret_hash: bytes) -> KeySummary | None:
        """The key with this hash."""
        statement = "SELECT id, name, created_at, secret_hash FROM keys WHERE deployment=?"
        found = None
        # Every hash is compared, in constant time: an index would stop at the first difference.
        for id, label, created_at, kept in await self._file.read(lambda db: db.execute(statement, (name,)).fetchall()):
            if hmac.compare_digest(kept, secret_hash):
                found = KeySummary(id, label, created_at)
        return found

    async def all(self, name: DeploymentName) -> Sequence[KeySummary]:
        """Every key, oldest first."""
        statement = "SELECT id, name, created_at FROM keys WHERE deployment=? ORDER BY rowid"
        return await self._file.read(lambda db: [KeySummary(*row) for row in db.execute(statement, (name,))])

    async def remove(self, name: DeploymentName, id: str) -> None:
        """Forget a key."""

        def change(db: sqlite3.Connection) -> None:
            _require(db, name)
            if db.execute("DELETE FROM keys WHERE deployment=? AND id=?", (name, id)).rowcount == 0:
                raise NotFound(f"there is no key {id[:40]!r}")

        await self._file.write(change)


class SqliteRegistry:
    """The four ports of the registry, over the same file."""

    def __init__(self, path: Path) -> None:
        self._file = RegistryFile(path)
        self.deployments = SqliteDeployments(self._file)
        self.versions = SqliteVersions(self._file)
        self.variables = SqliteVariables(self._file)
        self.keys = SqliteKeys(self._file)

    async def open(self) -> None:
        """Open the file, make it where there is none, and bring it up to date."""
        await self._file.open()

    async def close(self) -> None:
        """Let go of the file, after everything that was begun."""
        await self._file.close()


def _require(db: sqlite3.Connection, name: DeploymentName) -> None:
    if db.execute("SELECT 1 FROM deployments WHERE name=?", (name,)).fetchone() is None:
        raise NotFound(f"there is no deployment {name!r}")


def _summary(db: sqlite3.Connection, row: tuple[Any, ...]) -> DeploymentSummary:
    name, created_at, paused, concurrency, active, egress = row
    domains = db.execute("SELECT domain FROM domains WHERE deployment=? ORDER BY position", (name,)).fetchall()
    number = None if active is None else VersionNumber(active)
    own = tuple(domain for (domain,) in domains)
    return DeploymentSummary(DeploymentName(name), created_at, bool(paused), concurrency, own, number, _egress(egress))


def _listed(egress: EgressPolicy) -> str | None:
    texts = egress.texts()
    return None if texts is None else " ".join(texts)


def _egress(listed: str | None) -> EgressPolicy:
    return parse_policy(None if listed is None else listed.split())


def _version(row: tuple[Any, ...] | None) -> Version | None:
    if row is None:
        return None
    number, sha256, bundle, declaration = row
    return Version(VersionNumber(number), sha256, _bundles.decode(bundle), _declarations.decode(declaration))
