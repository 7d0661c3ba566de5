"""PostgreSQL goes away, or one of its clients does: what was acknowledged is there, whole, and nothing else."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from runtime.adapters.postgres.connections import Connection, ConnectionLost
from runtime.errors import Overloaded
from runtime.names import DeploymentName
from runtime.ports import DocumentStore, KeyRange, Order, Write
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.transaction import Transactions
from tests.postgres_server import OpenDatabase, OwnDocuments, PostgresServer

ROOT = Path(__file__).parents[2]
NAME = DeploymentName("happy-otter-123")
EVERYTHING = KeyRange(b"", b"\xff")


class StoppedClock:
    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.fresh()


@pytest.fixture
async def store(url: str) -> AsyncIterator[OwnDocuments]:
    made = OwnDocuments(url)
    yield made
    await made.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[OpenDatabase]:
    made = OpenDatabase(url)
    await made.open()
    yield made
    await made.close()


async def put(store: DocumentStore, key: bytes, content: bytes = b"x") -> KeyRange | int:
    return await (await store.snapshot(NAME)).commit((), [Write((), (key,), content)])


async def keys_in(store: DocumentStore, span: KeyRange = EVERYTHING, order: Order = Order.ASCENDING) -> list[bytes]:
    snapshot = await store.snapshot(NAME)
    return [key for key, _ in (await snapshot.read(span, order, 10_000, 1_000_000_000)).entries]


async def test_transactions_outlive_a_restart_of_the_database(postgres: PostgresServer, store: OwnDocuments) -> None:
    await put(store, b"a")
    snapshot = await store.snapshot(NAME)
    await asyncio.to_thread(postgres.restart)
    assert (await snapshot.read(EVERYTHING, Order.ASCENDING, 10, 100)).entries == [(b"a", b"x")]
    assert await snapshot.commit([KeyRange(b"a", b"b")], [Write((), (b"b",), b"y")]) == 3
    assert await keys_in(store) == [b"a", b"b"]


async def test_while_the_database_is_away_everybody_hears_it_and_afterwards_all_is_well(
    postgres: PostgresServer, store: OwnDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, b"a")
    snapshot, other = await store.snapshot(NAME), await store.snapshot(NAME)
    await asyncio.to_thread(postgres.end)
    try:
        outcomes = await asyncio.gather(
            snapshot.read(EVERYTHING, Order.ASCENDING, 1, 1),
            other.commit((), [Write((), (b"b",), b"x")]),
            store.snapshot(NAME),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [Overloaded] * 3
        assert all("cannot be reached" in str(outcome) for outcome in outcomes)
    finally:
        await asyncio.to_thread(postgres.begin)
    assert await keys_in(store) == [b"a"]
    assert await put(store, b"c") == 3


async def test_a_commit_whose_answer_is_lost_is_looked_for_and_made_once(
    url: str, store: OwnDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks when COMMIT was sent: once it had come through, once it had not."""
    await put(store, b"a")
    opened = await store.opened()
    writer = opened._by_name[NAME].commits._writer
    write = type(writer)._write
    lives: list[bool] = [True, False]

    async def cut(self: object, connection: Connection, *rest: object) -> object:
        written = await write(writer, connection, *rest)  # type: ignore[arg-type]  # what it is called with
        if lives:
            came_through = lives.pop()
            if not came_through:
                with psycopg.connect(url, autocommit=True) as meddling:
                    undo = ("DELETE FROM commits WHERE position = 3", "DELETE FROM entries WHERE since = 3")
                    for statement in (*undo, "DELETE FROM documents WHERE since = 3", "UPDATE stores SET position = 2"):
                        meddling.execute(statement.encode())
            await connection.close()
            raise ConnectionLost("the line was cut")
        return written

    monkeypatch.setattr(type(writer), "_write", cut)
    assert await put(store, b"b") == 3
    assert await put(store, b"c") == 4
    assert await keys_in(store) == [b"a", b"b", b"c"]
    assert lives == []


async def test_a_reader_that_is_cancelled_gives_its_connection_back(database: OpenDatabase) -> None:
    async def wait(connection: Connection) -> None:
        await connection.execute("SELECT count(*) FROM generate_series(1, 100000)")

    for _ in range(15):
        task = asyncio.ensure_future(database.connections.repeat(wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def look(connection: Connection) -> tuple[int]:
        row: tuple[int] | None = await (await connection.execute("SELECT 1")).fetchone()
        assert row is not None
        return row

    assert await asyncio.gather(*(database.connections.repeat(look) for _ in range(30))) == [(1,)] * 30


WRITES_FOR_EVER = """
import asyncio, sys
from runtime.errors import CommitConflict
from runtime.names import DeploymentName
from runtime.syscalls.transaction import Transactions
from tests.postgres_server import OwnDocuments

class StoppedClock:
    def now(self): return 1_700_000_000_000.0
    def monotonic(self): return 0.0

transactions = Transactions(OwnDocuments(sys.argv[1]), StoppedClock())

async def write_pair(number):
    while True:
        transaction = await transactions.begin(DeploymentName("happy-otter-123"))
        for half in "ab":
            await transaction.insert("halves", {"pair": number, "half": half, "ballast": "x" * 300})
        try:
            return await transaction.commit()
        except CommitConflict:
            # All of them create the table at first.
            continue

async def work(worker):
    for step in range(1_000_000):
        number = int(sys.argv[2]) * 10_000_000 + worker * 1_000_000 + step
        await write_pair(number)
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(work(worker) for worker in range(8)))

asyncio.run(main())
"""


def start(url: str, life: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, url, str(life)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def pairs_in(url: str) -> dict[int, list[str]]:
    """Every pair that can be read, and its halves."""
    store = OwnDocuments(url)
    transaction = await Transactions(store, StoppedClock()).begin(NAME)
    found: dict[int, list[str]] = {}
    cursor: bytes | None = None
    while True:
        page = await transaction.scan(
            "halves", "by_creation_time", Bounds([], True, [], True), Order.ASCENDING, cursor, 1_000
        )
        for document in map(values.decode, page.documents):
            found.setdefault(document["pair"], []).append(document["half"])
        cursor = page.cursor
        if cursor is None:
            break
    transaction.abandon()
    await store.close()
    return found


def test_what_killed_processes_had_acknowledged_is_there_and_nothing_is_half_written(url: str) -> None:
    acknowledged: list[int] = []
    for lives in ((0,), (1, 2)):
        children = [start(url, life) for life in lives]
        for child in children:
            with child:
                assert child.stdout is not None
                acknowledged += [int(child.stdout.readline()) for _ in range(60)]
                child.kill()
                # What was still in the pipe had been acknowledged too; the last line may be cut.
                acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
        found = asyncio.run(pairs_in(url))
        assert set(acknowledged) <= set(found)
        assert all(sorted(halves) == ["a", "b"] for halves in found.values())


def test_what_was_acknowledged_before_and_after_the_database_crashed_is_there_once(
    postgres: PostgresServer, url: str
) -> None:
    with start(url, 0) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(60)]
        for _ in range(2):
            postgres.restart()
            # It goes on by itself: no transaction was lost, none was told to try again.
            acknowledged += [int(child.stdout.readline()) for _ in range(300)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    found = asyncio.run(pairs_in(url))
    assert set(acknowledged) <= set(found)
    assert all(sorted(halves) == ["a", "b"] for halves in found.values())
