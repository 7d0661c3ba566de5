"""What only the PostgreSQL adapter promises: about long keys, the past, several processes, and its tables."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

from runtime.adapters.postgres.schema import HEAD
from runtime.adapters.postgres.trimming import trim
from runtime.errors import NotFound, OurMistake, Overloaded
from runtime.names import DeploymentName
from runtime.ports import Commit, DocumentStore, KeyRange, Order, Write
from tests.postgres_server import OpenDatabase, OwnDocuments, OwnRegistry, PostgresServer

NAME = DeploymentName("happy-otter-123")
EVERYTHING = KeyRange(b"", b"\xff")


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


def one(url: str, statement: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


# --- keys -----------------------------------------------------------------------------------------------------------


async def test_keys_longer_than_an_index_can_hold_stand_in_their_order(store: OwnDocuments) -> None:
    long = b"k" * HEAD
    keys = [b"a", long[:-1], long, *(long + bytes([tail]) * 9_000 for tail in (0, 7, 200)), long + b"\xff" * 3, b"z"]
    keys += [b"m" + secrets.token_bytes(5_000) for _ in range(5)]
    for key in keys:
        await put(store, key)
    keys.sort()
    assert await keys_in(store) == keys
    assert await keys_in(store, order=Order.DESCENDING) == keys[::-1]
    for lower, upper in [
        (keys[3], keys[5]),
        (keys[2], keys[6]),
        (b"b", keys[4]),
        (keys[4], b"z"),
        (long, long + b"\x01"),
    ]:
        wanted = [key for key in keys if lower <= key < upper]
        assert await keys_in(store, KeyRange(lower, upper)) == wanted
        assert await keys_in(store, KeyRange(lower, upper), Order.DESCENDING) == wanted[::-1]


async def test_a_document_with_long_keys_changes_and_goes(store: OwnDocuments) -> None:
    first, old, new = b"id", b"k" * 9_000 + b"1", b"k" * 9_000 + b"2"
    await (await store.snapshot(NAME)).commit((), [Write((), (first, old), b"one")])
    await (await store.snapshot(NAME)).commit((), [Write((first, old), (first, new), b"two")])
    assert await keys_in(store) == [first, new]
    await (await store.snapshot(NAME)).commit((), [Write((first, new), (), None)])
    assert await keys_in(store) == []


async def test_two_living_documents_never_share_a_key(store: OwnDocuments) -> None:
    await put(store, b"a", b"one")
    with pytest.raises(OurMistake):
        await put(store, b"a", b"two")
    assert await keys_in(store) == [b"a"]
    assert await put(store, b"b") == 3


# --- the past -------------------------------------------------------------------------------------------------------


async def test_what_nobody_can_read_any_more_is_removed_and_nothing_else(url: str, database: OpenDatabase) -> None:
    store = OwnDocuments(url)
    for number in range(5):
        await put(store, b"%d" % number, b"first")
    for round in range(20):
        changes = [Write((b"%d" % number,), (b"%d" % number,), b"round %d" % round) for number in range(4)]
        await (await store.snapshot(NAME)).commit((), changes)
    # A key goes from one document to another, at once and later.
    handed = [Write((b"0",), (b"0", b"shared"), b"0"), Write((b"1",), (), None)]
    await (await store.snapshot(NAME)).commit((), handed)
    swapped = [Write((b"0", b"shared"), (b"0",), b"0"), Write((b"2",), (b"2", b"shared"), b"2")]
    await (await store.snapshot(NAME)).commit((), swapped)
    await put(store, b"1", b"again")
    seen = await (await store.snapshot(NAME)).read(EVERYTHING, Order.ASCENDING, 100, 10_000)
    id = one(url, "SELECT id FROM stores")
    old = await store.snapshot(NAME)
    await put(store, b"last")
    await trim(database.connections, id, 0)
    assert (one(url, "SELECT count(*) FROM documents"), one(url, "SELECT count(*) FROM entries")) == (6, 7)
    assert one(url, "SELECT count(*) FROM commits") == 0
    now = await (await store.snapshot(NAME)).read(EVERYTHING, Order.ASCENDING, 100, 10_000)
    assert [entry for entry in now.entries if entry[0] != b"last"] == seen.entries
    with pytest.raises(Overloaded, match="open for too long"):
        await old.read(EVERYTHING, Order.ASCENDING, 1, 1)
    assert isinstance(await old.commit([KeyRange(b"x", b"y")], [Write((), (b"y",), b"y")]), int)
    await store.close()


async def test_who_began_before_the_log_of_commits_has_lost_to_another_process(
    url: str, store: OwnDocuments, database: OpenDatabase
) -> None:
    other = OwnDocuments(url)
    await put(store, b"a")
    snapshot = await store.snapshot(NAME)
    for number in range(3):
        await put(other, b"%d" % number)
    await trim(database.connections, one(url, "SELECT id FROM stores"), 0)
    assert await snapshot.commit([KeyRange(b"x", b"y")], [Write((), (b"z",), b"x")]) == KeyRange(b"x", b"y")
    assert await put(store, b"c") == 6
    await other.close()


async def test_trimming_leaves_what_is_young(url: str, store: OwnDocuments, database: OpenDatabase) -> None:
    await put(store, b"a")
    snapshot = await store.snapshot(NAME)
    await (await store.snapshot(NAME)).commit((), [Write((b"a",), (b"a",), b"new")])
    await trim(database.connections, one(url, "SELECT id FROM stores"))
    assert (await snapshot.read(EVERYTHING, Order.ASCENDING, 1, 1)).entries == [(b"a", b"x")]


# --- several processes ----------------------------------------------------------------------------------------------


async def test_what_another_process_commits_is_seen_at_once(url: str, store: OwnDocuments) -> None:
    other = OwnDocuments(url)
    for number in range(5):
        await put(store, b"%d" % number)
        assert len(await keys_in(other)) == number + 1
    await other.close()


async def test_followers_hear_of_every_commit_of_every_process_once_and_in_order(url: str) -> None:
    stores = [OwnDocuments(url), OwnDocuments(url)]
    heard: list[asyncio.Queue[Commit]] = [asyncio.Queue(), asyncio.Queue()]
    for store, queue in zip(stores, heard, strict=True):
        await store.follow(NAME, queue.put_nowait)
    await asyncio.gather(*(put(stores[number % 2], b"%02d" % number) for number in range(40)))
    last = (await stores[0].snapshot(NAME)).position
    for queue in heard:
        commits = [await asyncio.wait_for(queue.get(), 20) for _ in range(2, last + 1)]
        assert queue.empty()
        assert [commit.position for commit in commits] == list(range(2, last + 1))
        assert sorted(key for commit in commits for key in commit.keys or ()) == [b"%02d" % n for n in range(40)]
    for store in stores:
        await store.close()


async def test_a_snapshot_shows_no_commit_that_followers_were_not_told_of(url: str, store: OwnDocuments) -> None:
    other, heard = OwnDocuments(url), list[int]()
    await store.follow(NAME, lambda commit: heard.append(commit.position))
    for _ in range(10):
        await put(other, os.urandom(4))
        assert (await store.snapshot(NAME)).position == heard[-1]
    await other.close()


async def test_what_the_log_does_not_hold_any_more_is_told_as_something(
    url: str, store: OwnDocuments, database: OpenDatabase
) -> None:
    other, heard = OwnDocuments(url), list[Commit]()
    await store.follow(NAME, heard.append)
    await database.bell.stop()
    opened = await store.opened()
    with psycopg.connect(url, autocommit=True) as connection:
        await put(other, b"a")
        connection.execute("DELETE FROM commits")
    assert (await opened.snapshot(NAME)).position == 2
    assert [commit.position for commit in heard] == [2]
    await other.close()


async def test_what_another_process_deletes_is_gone_here(url: str, store: OwnDocuments) -> None:
    other = OwnDocuments(url)
    await put(store, b"a")
    snapshot = await store.snapshot(NAME)
    await other.delete(NAME)
    with pytest.raises(NotFound):
        await snapshot.read(EVERYTHING, Order.ASCENDING, 1, 1)
    with pytest.raises(NotFound):
        await snapshot.commit((), [Write((), (b"b",), b"x")])
    assert await keys_in(store) == []
    assert one(url, "SELECT count(*) FROM entries") + one(url, "SELECT count(*) FROM documents") == 0
    await other.close()


async def test_servers_hear_of_each_others_changes_to_the_registry(url: str) -> None:
    database, registry = OpenDatabase(url), OwnRegistry(url)
    heard: asyncio.Queue[DeploymentName | None] = asyncio.Queue()
    database.bell.on_registry(heard.put_nowait)
    await database.open()
    await registry.open()
    assert await asyncio.wait_for(heard.get(), 20) is None  # whatever was before
    await registry.deployments.create(NAME, 1)
    await registry.variables.set(NAME, {"A": "with \x00 in it"})
    with pytest.raises(NotFound):
        await registry.versions.activate(NAME, 7)  # type: ignore[arg-type]  # any number will do
    await registry.deployments.delete(NAME)
    assert [await asyncio.wait_for(heard.get(), 20) for _ in range(3)] == [NAME] * 3
    await registry.close()
    await database.close()
    assert heard.empty()


async def test_servers_on_one_database_share_their_secret(url: str) -> None:
    registries = [OwnRegistry(url), OwnRegistry(url)]
    for registry in registries:
        await registry.open()
    drawn = await asyncio.gather(*(registry.secret("installation") for registry in registries * 3))
    assert len(set(drawn)) == 1 and len(drawn[0]) == 32
    assert await registries[0].secret("other") not in drawn
    for registry in registries:
        await registry.close()


# --- tables ---------------------------------------------------------------------------------------------------------


async def test_a_database_of_a_newer_program_is_left_alone(url: str, database: OpenDatabase) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE warren_schema SET version = 99")
    store = OwnDocuments(url)
    with pytest.raises(OurMistake, match=r"version 99.*newer"):
        await store.snapshot(NAME)
    assert one(url, "SELECT version FROM warren_schema") == 99


async def test_many_who_open_an_empty_database_at_once_make_its_tables_once(url: str) -> None:
    stores = [OwnDocuments(url) for _ in range(6)]
    assert await asyncio.gather(*(keys_in(store) for store in stores)) == [[]] * 6
    for store in stores:
        await store.close()


async def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE commits (precious text)")
    database = OpenDatabase(url)
    with pytest.raises(OurMistake, match="commits"):
        await database.open()
    assert one(url, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == 1


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://nobody:s3cret@/postgres?host=/nowhere", "cannot be opened"),
        ("postgresql://x:s3%zzcret@/", "is not the address"),
    ],
)
async def test_a_database_that_cannot_be_had_is_named_without_its_password(address: str, sentence: str) -> None:
    with pytest.raises(OurMistake, match=sentence) as caught:
        await OpenDatabase(address).open()
    assert "cret" not in str(caught.value)


# --- databases that are not as ours are -----------------------------------------------------------------------------


async def test_a_database_without_an_encoding_serves_like_any(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.fresh(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    store = OwnDocuments(postgres.fresh().replace("/postgres?", "/plain?").partition("&options")[0])
    heard: asyncio.Queue[Commit] = asyncio.Queue()
    await store.follow(NAME, heard.put_nowait)
    await put(store, "kéy".encode())
    async with asyncio.timeout(20):
        assert (await heard.get()).keys == ["kéy".encode()]
    await store.close()
