"""What does the file look like, and how is it opened?

Documents, index entries (one keyspace, `index_keys`), and a log of the last commits for other processes.

Rules
1. WAL and ``synchronous=FULL``: a commit that returned is on the disk, and a reader never sees one that is not.
2. A file says whose it is (``application_id``) and how old it is (``user_version``). What is somebody else's, or newer
   than this program, is refused and left as it is.
3. A migration is one transaction: after a crash the file is in the old shape or in the new one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import OurMistake, Overloaded

_APPLICATION = 0x5761_5272  # "WaRr"
_PATIENCE = 10.0  # seconds to wait for another process that opens, recovers or writes the same file

# The version of a file is how many of these it has gone through.
_MIGRATIONS = (
    (
        "CREATE TABLE documents (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",
        "CREATE TABLE entries (key BLOB PRIMARY KEY, document INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE commits (position INTEGER PRIMARY KEY, keys BLOB NOT NULL)",
        "INSERT INTO commits (position, keys) VALUES (1, x'90')",
    ),
)


def create(path: Path) -> None:
    """Make the file, or bring it up to date; its folder is made too, and is there after a power cut."""
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)
    # One process at a time: SQLite does not wait where two make the same file a WAL one, it says that it is locked.
    with locked(folder):
        connection = connect(path)
        try:
            _require_ours(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            _migrate(connection)
        finally:
            connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, used by one thread at a time."""
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:  # a damaged file shows itself here
        connection.close()
        raise
    return connection


def mistake(error: sqlite3.Error, what: str) -> OurMistake:
    """What went wrong, in words of this house."""
    text = f"{what}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
    return Overloaded(text) if isinstance(error, sqlite3.OperationalError) else OurMistake(text)


def _require_ours(connection: sqlite3.Connection) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_new = owner == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    if owner != _APPLICATION and not is_new:
        raise OurMistake("the documents file belongs to another program; move it away")
    if version > len(_MIGRATIONS):
        raise OurMistake(
            f"the documents file has version {version}, this program knows {len(_MIGRATIONS)}: use a newer one"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(_MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, behind the lock: another process may have done it meanwhile.
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in _MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={_APPLICATION}")
        connection.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes that do the same; a crash lets go of it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
