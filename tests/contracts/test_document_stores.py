"""What every document store does; `MemoryDocuments` is the specification."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.errors import NotFound
from runtime.names import DeploymentName
from runtime.ports import Commit, DocumentStore, KeyRange, Order, Page, Write
from tests.postgres_server import OwnDocuments, PostgresServer

NAME = DeploymentName("happy-otter-123")
OTHER = DeploymentName("brave-heron-456")
EVERYTHING = KeyRange(b"", b"\xff")
MANY = 1_000_000


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> AsyncIterator[DocumentStore]:
    adapters: dict[str, Callable[[], DocumentStore]] = {
        "memory": MemoryDocuments,
        "sqlite": lambda: SqliteDocuments(tmp_path),
        "postgres": lambda: OwnDocuments(postgres.fresh()),
    }
    made = adapters[request.param]()
    yield made
    await made.close()


def new(document: bytes, *keys: bytes) -> Write:
    return Write((), keys, document)


async def commit(store: DocumentStore, *writes: Write, reads: tuple[KeyRange, ...] = ()) -> KeyRange | int:
    return await (await store.snapshot(NAME)).commit(reads, writes)


async def read(
    store: DocumentStore,
    span: KeyRange = EVERYTHING,
    order: Order = Order.ASCENDING,
    most: int = 100,
    enough: int = MANY,
) -> Page:
    snapshot = await store.snapshot(NAME)
    try:
        return await snapshot.read(span, order, most, enough)
    finally:
        snapshot.release()


async def test_what_was_committed_is_there(store: DocumentStore) -> None:
    assert await commit(store, new(b"one", b"a"), new(b"two", b"b")) == 2
    assert await read(store) == ([(b"a", b"one"), (b"b", b"two")], True)


async def test_a_new_deployment_is_empty(store: DocumentStore) -> None:
    assert await read(store) == ([], True)


async def test_a_document_is_found_by_each_of_its_keys(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"id-1", b"time-1"), new(b"two", b"id-2", b"time-2"))
    page = await read(store, KeyRange(b"time", b"timf"))
    assert page.entries == [(b"time-1", b"one"), (b"time-2", b"two")]


async def test_a_range_has_its_lower_end_and_not_its_upper_one(store: DocumentStore) -> None:
    await commit(store, *(new(b"x", key) for key in (b"a", b"b", b"c", b"d")))
    assert [key for key, _ in (await read(store, KeyRange(b"b", b"d"))).entries] == [b"b", b"c"]


async def test_a_range_is_read_both_ways(store: DocumentStore) -> None:
    await commit(store, *(new(b"x", key) for key in (b"c", b"a", b"b")))
    page = await read(store, order=Order.DESCENDING, most=2)
    assert ([key for key, _ in page.entries], page.complete) == ([b"c", b"b"], False)


async def test_a_full_page_is_never_called_complete(store: DocumentStore) -> None:
    await commit(store, new(b"x", b"a"), new(b"x", b"b"))
    assert not (await read(store, most=2)).complete
    assert (await read(store, most=3)).complete


async def test_a_page_ends_when_it_has_enough_bytes_and_holds_one_document_at_least(store: DocumentStore) -> None:
    await commit(store, *(new(b"x" * 100, key) for key in (b"a", b"b", b"c")))
    assert len((await read(store, enough=150)).entries) == 2
    page = await read(store, enough=0)
    assert (len(page.entries), page.complete) == (1, False)


@pytest.mark.parametrize("at_once", [1, 2, 10_000])
async def test_a_range_is_counted_up_to_a_number_as_it_was_at_that_moment(
    store: DocumentStore, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.adapters.sqlite.readers._COUNTED", at_once)
    long = b"c" * 3_000
    await commit(store, new(b"1", b"a", b"b"), new(b"2", b"ba"), new(b"3", long))
    snapshot = await store.snapshot(NAME)
    await commit(store, new(b"4", b"bb"), Write((b"ba",), (), None))
    try:
        assert await snapshot.count(EVERYTHING, MANY) == 4
        assert await snapshot.count(KeyRange(b"b", b"c"), MANY) == 2
        assert await snapshot.count(KeyRange(b"a", b"b"), MANY) == 1
        assert await snapshot.count(KeyRange(long, long + b"\x00"), MANY) == 1
        assert await snapshot.count(KeyRange(long + b"\x00", b"d"), MANY) == 0
        assert await snapshot.count(EVERYTHING, 3) == 3
    finally:
        snapshot.release()


async def test_a_document_changes_under_all_its_keys(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"id", b"old"))
    await commit(store, Write((b"id", b"old"), (b"id", b"new"), b"two"))
    assert (await read(store)).entries == [(b"id", b"two"), (b"new", b"two")]


async def test_a_removed_document_is_gone_under_all_its_keys(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"id", b"key"), new(b"two", b"other"))
    await commit(store, Write((b"id", b"key"), (), None))
    assert (await read(store)).entries == [(b"other", b"two")]
    await commit(store, new(b"three", b"id"))
    assert (await read(store)).entries == [(b"id", b"three"), (b"other", b"two")]


async def test_a_snapshot_does_not_move(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a"))
    snapshot = await store.snapshot(NAME)
    await commit(store, new(b"two", b"b"), Write((b"a",), (b"a",), b"changed"))
    assert (await snapshot.read(EVERYTHING, Order.ASCENDING, 10, MANY)).entries == [(b"a", b"one")]
    snapshot.release()
    assert (await read(store)).entries == [(b"a", b"changed"), (b"b", b"two")]


async def test_snapshots_of_one_moment_end_one_by_one(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a"))
    first, second = await store.snapshot(NAME), await store.snapshot(NAME)
    first.release()
    assert len((await second.read(EVERYTHING, Order.ASCENDING, 10, MANY)).entries) == 1
    second.release()


async def test_who_read_what_changed_meanwhile_loses_and_writes_nothing(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"b"))
    snapshot = await store.snapshot(NAME)
    await commit(store, Write((b"b",), (b"b",), b"changed"))
    span = KeyRange(b"a", b"c")
    assert await snapshot.commit([KeyRange(b"x", b"y"), span], [new(b"two", b"z")]) == span
    assert (await read(store)).entries == [(b"b", b"changed")]


@pytest.mark.parametrize("meanwhile", [new(b"x", b"b"), Write((b"bb",), (), None)])
async def test_what_appears_or_disappears_in_a_range_changes_it(store: DocumentStore, meanwhile: Write) -> None:
    await commit(store, new(b"one", b"bb"))
    snapshot = await store.snapshot(NAME)
    await commit(store, meanwhile)
    assert await snapshot.commit([KeyRange(b"b", b"c")], [new(b"two", b"z")]) == KeyRange(b"b", b"c")


async def test_who_read_something_else_wins(store: DocumentStore) -> None:
    snapshot = await store.snapshot(NAME)
    await commit(store, new(b"x", b"b"), new(b"x", b"d"))
    assert await snapshot.commit([KeyRange(b"a", b"b"), KeyRange(b"b\x00", b"d")], [new(b"two", b"z")]) == 3
    assert len((await read(store)).entries) == 3


async def test_what_was_read_and_did_not_change_is_no_conflict(store: DocumentStore) -> None:
    assert await commit(store, new(b"x", b"a"), reads=(EVERYTHING,)) == 2
    assert await commit(store, new(b"x", b"b"), reads=(EVERYTHING,)) == 3


async def test_inserts_that_read_nothing_never_lose(store: DocumentStore) -> None:
    snapshots = [await store.snapshot(NAME) for _ in range(20)]
    keys = [b"%03d" % number for number in range(20)]
    outcomes = await asyncio.gather(
        *(snapshot.commit((), [new(b"x", key)]) for snapshot, key in zip(snapshots, keys, strict=True))
    )
    assert all(type(outcome) is int for outcome in outcomes)
    assert [key for key, _ in (await read(store)).entries] == keys


async def test_of_many_who_change_what_they_read_at_once_one_wins(store: DocumentStore) -> None:
    await commit(store, new(b"0", b"counter"))
    snapshots = [await store.snapshot(NAME) for _ in range(10)]
    span = KeyRange(b"counter", b"counter\x00")
    outcomes = await asyncio.gather(
        *(
            snapshot.commit([span], [Write((b"counter",), (b"counter",), b"%d" % number)])
            for number, snapshot in enumerate(snapshots, 1)
        )
    )
    assert outcomes.count(span) == 9


async def test_the_next_snapshot_of_a_loser_shows_why_it_lost(store: DocumentStore) -> None:
    await commit(store, new(b"0", b"a"))
    span = KeyRange(b"a", b"b")

    snapshots = [await store.snapshot(NAME) for _ in range(2)]

    async def change(content: bytes) -> bytes | None:
        snapshot = snapshots.pop()
        lost = await snapshot.commit([span], [Write((b"a",), (b"a",), content)])
        return None if lost != span else (await read(store)).entries[0][1]

    first, second = await asyncio.gather(change(b"1"), change(b"2"))
    assert (first, second) in ((None, b"1"), (b"2", None))


async def test_deployments_know_nothing_of_each_other(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a"))
    snapshot = await store.snapshot(OTHER)
    assert await snapshot.read(EVERYTHING, Order.ASCENDING, 10, MANY) == ([], True)
    snapshot.release()


async def test_a_deleted_deployment_is_empty_when_it_comes_again(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a"))
    (await store.snapshot(NAME)).tables["messages"] = 32
    await store.delete(NAME)
    await store.delete(OTHER)
    snapshot = await store.snapshot(NAME)
    assert snapshot.tables == {}
    snapshot.release()
    assert await read(store) == ([], True)


async def test_who_began_before_a_deletion_cannot_commit_after_it(store: DocumentStore) -> None:
    snapshot = await store.snapshot(NAME)
    await store.delete(NAME)
    with pytest.raises(NotFound):
        await snapshot.commit((), [new(b"one", b"a")])
    assert await read(store) == ([], True)


async def test_large_batches_are_committed_like_small_ones(store: DocumentStore) -> None:
    count = 2_000
    assert await commit(store, *(new(b"x" * 500, b"%05d" % number) for number in range(count))) == 2
    assert len((await read(store, most=5_000)).entries) == count


# --- following --------------------------------------------------------------------------------------------------------


async def told(store: DocumentStore, count: int, commits: list[Commit]) -> list[Commit]:
    async with asyncio.timeout(10):
        while len(commits) < count:
            await asyncio.sleep(0.01)
    return commits


async def test_positions_grow_with_every_commit_and_a_snapshot_knows_its_own(store: DocumentStore) -> None:
    before = await store.snapshot(NAME)
    first = await commit(store, new(b"one", b"a"))
    second = await commit(store, new(b"two", b"b"))
    assert isinstance(first, int) and isinstance(second, int)
    assert 0 < before.position < first < second
    after = await store.snapshot(NAME)
    assert after.position == second
    before.release()
    after.release()


async def test_a_moment_that_is_shared_lasts_until_everybody_has_ended_it(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a"))
    snapshot = await store.snapshot(NAME)
    shared = snapshot.share()
    await commit(store, new(b"two", b"b"))
    snapshot.release()
    assert shared.position == snapshot.position
    assert (await shared.read(EVERYTHING, Order.ASCENDING, 10, MANY)).entries == [(b"a", b"one")]
    shared.release()


async def test_a_follower_hears_of_every_later_commit_with_all_its_keys(store: DocumentStore) -> None:
    await commit(store, new(b"one", b"a", b"a2"))
    heard: list[Commit] = []
    followed = await store.follow(NAME, heard.append)
    other: list[Commit] = []
    await store.follow(OTHER, other.append)
    await commit(store, Write((b"a", b"a2"), (b"a", b"a3"), b"moved"))
    await commit(store, new(b"two", b"b"))
    first, second = await told(store, 2, heard)
    assert (first.position, sorted(first.keys or ())) == (followed.position + 1, [b"a", b"a2", b"a3"])
    assert (second.position, list(second.keys or ())) == (followed.position + 2, [b"b"])
    followed.stop()
    await commit(store, new(b"three", b"c"))
    await asyncio.sleep(0)
    assert len(heard) == 2
    assert other == []


async def test_who_committed_hears_of_it_before_those_who_follow_and_so_do_those_it_speaks_for(
    store: DocumentStore,
) -> None:
    order: list[str] = []
    committed = asyncio.Event()

    async def member() -> None:
        await committed.wait()
        order.append("its member hears")

    waiting = asyncio.create_task(member())
    await asyncio.sleep(0)
    followed = await store.follow(NAME, lambda commit: order.append(f"told {commit.position}"))
    done = await commit(store, new(b"one", b"a"))
    order.append(f"committed {done}")
    committed.set()
    await waiting
    await asyncio.sleep(0)
    await commit(store, new(b"two", b"b"))
    assert order[:3] == [f"committed {done}", "its member hears", f"told {done}"]
    followed.stop()


async def test_who_lost_tells_nobody(store: DocumentStore) -> None:
    snapshot = await store.snapshot(NAME)
    heard: list[Commit] = []
    followed = await store.follow(NAME, heard.append)
    await commit(store, new(b"one", b"a"))
    assert await snapshot.commit([EVERYTHING], [new(b"two", b"b")]) == EVERYTHING
    await commit(store, new(b"three", b"c"))
    assert [list(one.keys or ()) for one in await told(store, 2, heard)] == [[b"a"], [b"c"]]
    followed.stop()


# --- any store against the specification ----------------------------------------------------------------------------

keys = st.sampled_from([b"a", b"b", b"c", b"d"])
steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove"]), keys, st.binary(min_size=1, max_size=3)), min_size=1, max_size=12
)
spans = st.tuples(keys, keys).map(lambda ends: KeyRange(*ends))


@pytest.mark.parametrize("adapter", ["sqlite", "postgres"])
@settings(max_examples=40, deadline=None)
@given(steps, spans, st.sampled_from(list(Order)), st.integers(1, 5), st.integers(0, 6))
def test_every_store_reads_what_memory_reads(
    postgres: PostgresServer,
    adapter: str,
    steps: list[tuple[str, bytes, bytes]],
    span: KeyRange,
    order: Order,
    most: int,
    enough: int,
) -> None:
    async def pages() -> list[Page]:
        found = []
        with TemporaryDirectory() as folder:
            other = SqliteDocuments(Path(folder)) if adapter == "sqlite" else OwnDocuments(postgres.fresh())
            for store in (MemoryDocuments(), other):
                await _play(store, steps)
                found.append(await read(store, span, order, most, enough))
                await store.close()
        return found

    specified, observed = asyncio.run(pages())
    assert observed == specified


async def _play(store: DocumentStore, steps: list[tuple[str, bytes, bytes]]) -> None:
    present: set[bytes] = set()
    for verb, key, content in steps:
        before = (key, b"index-" + key) if key in present else ()
        if verb == "put":
            present.add(key)
            await commit(store, Write(before, (key, b"index-" + key), content))
        elif before:
            present.discard(key)
            await commit(store, Write(before, (), None))
