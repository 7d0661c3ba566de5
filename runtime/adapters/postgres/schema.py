"""What do the tables look like, and how did they come to be?

They stand in the first schema of the search path. Nothing of a document is overwritten: a change adds a row
that is valid from its position on, so what was visible at an earlier position can be read for a while.

Rules
1. `MIGRATIONS` is only ever added to; `warren_schema` says how many were done. A newer program's tables are refused and
   left as they are.
2. All missing migrations are one transaction, and one process does them while the others wait.
3. A key of an index may be longer than what PostgreSQL can index. Its first `HEAD` bytes are indexed, together with a
   digest of its tail, which is empty for nearly every key.
"""

import hashlib
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from runtime.errors import OurMistake

HEAD = 2_000
ALIVE = 2**63 - 1
"""`entries.until` of what has not ended."""

_MIGRATING = 0x5761_5272_0001

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # --- the registry
        """CREATE TABLE deployments (
            name text COLLATE "C" PRIMARY KEY, created_at double precision NOT NULL,
            paused boolean NOT NULL DEFAULT false, concurrency integer, active integer,
            next_number integer NOT NULL DEFAULT 1)""",
        """CREATE TABLE domains (
            domain text PRIMARY KEY, deployment text COLLATE "C" NOT NULL REFERENCES deployments ON DELETE CASCADE,
            place integer NOT NULL)""",
        "CREATE INDEX domains_of ON domains (deployment)",
        """CREATE TABLE versions (
            deployment text COLLATE "C" NOT NULL REFERENCES deployments ON DELETE CASCADE, number integer NOT NULL,
            sha256 text NOT NULL, created_at double precision NOT NULL, files integer NOT NULL, bytes bigint NOT NULL,
            declaration bytea NOT NULL, bundle bytea NOT NULL, PRIMARY KEY (deployment, number))""",
        # Bytes, because a text of PostgreSQL cannot hold every text.
        """CREATE TABLE variables (
            deployment text COLLATE "C" NOT NULL REFERENCES deployments ON DELETE CASCADE, name text NOT NULL,
            value bytea NOT NULL, PRIMARY KEY (deployment, name))""",
        """CREATE TABLE keys (
            deployment text COLLATE "C" NOT NULL REFERENCES deployments ON DELETE CASCADE, id text NOT NULL,
            name bytea NOT NULL, created_at double precision NOT NULL, secret_hash bytea NOT NULL,
            place bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (deployment, id))""",
        "CREATE TABLE secrets (name text PRIMARY KEY, value bytea NOT NULL)",
        # --- documents: `position` is the last commit, what was superseded up to `trimmed` may be gone
        """CREATE TABLE stores (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
            position bigint NOT NULL DEFAULT 1, trimmed bigint NOT NULL DEFAULT 0,
            next_number bigint NOT NULL DEFAULT 1) WITH (fillfactor = 50)""",
        """CREATE TABLE documents (
            store bigint NOT NULL, number bigint NOT NULL, since bigint NOT NULL, content bytea NOT NULL,
            PRIMARY KEY (store, number, since))""",
        # The primary key also keeps two living documents from having one key.
        """CREATE TABLE entries (
            store bigint NOT NULL, head bytea NOT NULL, digest bytea NOT NULL, until bigint NOT NULL,
            since bigint NOT NULL, number bigint NOT NULL, tail bytea NOT NULL,
            PRIMARY KEY (store, head, digest, until))""",
        """CREATE TABLE commits (
            store bigint NOT NULL, position bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
            token bytea NOT NULL, keys bytea NOT NULL, PRIMARY KEY (store, position))""",
    ),
    # Where its functions may connect to: the entries of a list, NULL where it is open.
    ("ALTER TABLE deployments ADD COLUMN egress text[]",),
)


class Place(NamedTuple):
    """Where a key stands: what is indexed, and the rest."""

    head: bytes
    digest: bytes
    tail: bytes


def place_of(key: bytes) -> Place:
    """Where a key stands."""
    if len(key) <= HEAD:
        return Place(key, b"", b"")
    tail = key[HEAD:]
    return Place(key[:HEAD], hashlib.sha256(tail).digest(), tail)


async def migrate(connection: AsyncConnection[TupleRow]) -> None:
    """Bring the tables up to date; make them where there are none."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        version = await _version(connection)
        if version > len(MIGRATIONS):
            raise OurMistake(
                f"the database has version {version}, this program knows {len(MIGRATIONS)}: "
                "it was written by a newer Warren, use that one"
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                await connection.execute(statement.encode())
        if version < len(MIGRATIONS):
            await connection.execute("UPDATE warren_schema SET version = %s", (len(MIGRATIONS),))


async def _version(connection: AsyncConnection[TupleRow]) -> int:
    found = await connection.execute("SELECT to_regclass('warren_schema') IS NOT NULL")
    if (await found.fetchone()) != (True,):
        await connection.execute("CREATE TABLE warren_schema (version integer NOT NULL)")
        await connection.execute("INSERT INTO warren_schema VALUES (0)")
    row = await (await connection.execute("SELECT version FROM warren_schema")).fetchone()
    return int(row[0]) if row else 0
