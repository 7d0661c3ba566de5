"""What only the SQLite adapter promises: about files, processes and time."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from runtime.adapters.sqlite import file
from runtime.adapters.sqlite.readers import Readers
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.errors import OurMistake, Overloaded
from runtime.names import DeploymentName
from runtime.ports import Commit, DocumentStore, KeyRange, Order, Write

NAME = DeploymentName("happy-otter-123")
EVERYTHING = KeyRange(b"", b"\xff")


def path_of(folder: Path) -> Path:
    return folder / NAME / "documents.sqlite3"


async def put(store: DocumentStore, key: bytes, content: bytes = b"x", name: DeploymentName = NAME) -> KeyRange | int:
    return await (await store.snapshot(name)).commit((), [Write((), (key,), content)])


async def keys_in(store: DocumentStore, name: DeploymentName = NAME) -> list[bytes]:
    snapshot = await store.snapshot(name)
    page = await snapshot.read(EVERYTHING, Order.ASCENDING, 10_000, 1_000_000_000)
    snapshot.release()
    return [key for key, _ in page.entries]


async def test_documents_survive_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        store = SqliteDocuments(tmp_path)
        await put(store, b"%d" % number)
        await store.close()
    store = SqliteDocuments(tmp_path)
    assert await keys_in(store) == [b"0", b"1", b"2"]
    await store.close()


async def test_a_closed_store_leaves_one_file_for_each_deployment(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    await put(store, b"a")
    await store.close()
    assert [entry.name for entry in (tmp_path / NAME).iterdir()] == ["documents.sqlite3"]


async def test_files_that_are_idle_are_closed_when_others_are_wanted(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path, most_open=4)
    names = [DeploymentName(f"tenant-{number}") for number in range(40)]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for name in names:
            await put(store, os.urandom(8).hex().encode(), name=name)
    # Data, log and index of four files, on three connections each.
    assert len(os.listdir("/proc/self/fd")) - before <= 4 * 9
    assert [len(await keys_in(store, name)) for name in names] == [2] * 40
    await store.close()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_file_in_use_is_not_closed(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path, most_open=1)
    await put(store, b"a")
    snapshot = await store.snapshot(NAME)
    for number in range(3):
        await put(store, b"b", name=DeploymentName(f"tenant-{number}"))
    assert len((await snapshot.read(EVERYTHING, Order.ASCENDING, 10, 100)).entries) == 1
    assert await snapshot.commit((), [Write((), (b"b",), b"x")]) == 3
    await store.close()


async def test_many_who_open_a_file_at_once_open_it_once(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    outcomes = await asyncio.gather(*(put(store, b"%02d" % number) for number in range(50)))
    assert all(type(outcome) is int for outcome in outcomes)
    assert len(await keys_in(store)) == 50
    await store.close()


async def test_a_deleted_deployment_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    await put(store, b"a")
    (tmp_path / ".deleted-0123").mkdir()  # left behind by a crash
    await store.delete(NAME)
    assert list(tmp_path.iterdir()) == []
    await store.close()


async def test_what_another_process_commits_is_seen_at_once(tmp_path: Path) -> None:
    one, other = SqliteDocuments(tmp_path), SqliteDocuments(tmp_path)
    for number in range(5):
        await put(one, b"%d" % number)
        assert len(await keys_in(other)) == number + 1
    await one.close()
    await other.close()


async def test_a_follower_hears_of_what_another_process_commits(tmp_path: Path) -> None:
    one, other = SqliteDocuments(tmp_path), SqliteDocuments(tmp_path)
    await put(one, b"a")
    heard: asyncio.Queue[Commit] = asyncio.Queue()
    followed = await one.follow(NAME, heard.put_nowait)
    for number in range(3):
        await put(other, b"%d" % number)
    await put(one, b"own")
    async with asyncio.timeout(10):
        commits = [await heard.get() for _ in range(4)]
    assert [commit.position - followed.position for commit in commits] == [1, 2, 3, 4]
    assert [list(commit.keys or ()) for commit in commits] == [[b"0"], [b"1"], [b"2"], [b"own"]]
    await put(other, b"late")
    async with asyncio.timeout(10):
        assert (await heard.get()).keys == [b"late"]
    followed.stop()
    await one.close()
    await other.close()


async def test_what_the_log_of_commits_has_lost_is_told_as_anything(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    await put(store, b"a")
    heard: asyncio.Queue[Commit] = asyncio.Queue()
    followed = await store.follow(NAME, heard.put_nowait)
    with sqlite3.connect(path_of(tmp_path)) as connection:
        connection.execute("INSERT INTO commits SELECT max(position) + 5, x'91c40162' FROM commits")
    connection.close()
    async with asyncio.timeout(10):
        gap, known = await heard.get(), await heard.get()
    assert (gap.position, gap.keys) == (followed.position + 4, None)
    assert (known.position, known.keys) == (followed.position + 5, [b"b"])
    await store.close()


async def test_positions_go_on_after_a_restart(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    last = [await put(store, b"a"), await put(store, b"b")][-1]
    await store.close()
    store = SqliteDocuments(tmp_path)
    snapshot = await store.snapshot(NAME)
    assert snapshot.position == last
    snapshot.release()
    await store.close()


async def test_who_began_before_the_log_of_commits_has_lost_to_another_process(tmp_path: Path) -> None:
    one, other = SqliteDocuments(tmp_path), SqliteDocuments(tmp_path)
    await put(one, b"a")
    snapshot = await one.snapshot(NAME)
    await put(other, b"b")
    with sqlite3.connect(path_of(tmp_path)) as connection:
        connection.execute("INSERT INTO commits SELECT max(position) + 2, x'90' FROM commits")
        connection.execute("DELETE FROM commits WHERE position < (SELECT max(position) FROM commits)")
    connection.close()
    assert await snapshot.commit([KeyRange(b"x", b"y")], [Write((), (b"z",), b"x")]) == KeyRange(b"x", b"y")
    assert isinstance(await put(one, b"c"), int)
    await one.close()
    await other.close()


async def test_a_file_of_another_program_or_a_newer_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    path.parent.mkdir()
    for statement, sentence in (
        ("PRAGMA application_id=7", "belongs to another program"),
        (f"PRAGMA application_id={0x57615272}; PRAGMA user_version=99", "has version 99"),
        ("CREATE TABLE precious (x)", "belongs to another program"),
    ):
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript(statement + "; CREATE TABLE more (x);")
        connection.close()
        content = path.read_bytes()
        store = SqliteDocuments(tmp_path)
        with pytest.raises(OurMistake, match=sentence):
            await store.snapshot(NAME)
        await store.close()
        assert path.read_bytes() == content


async def test_a_damaged_file_is_our_mistake(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 1_000)
    store = SqliteDocuments(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OurMistake, match="the documents file cannot be opened"):
            await store.snapshot(NAME)
    assert len(os.listdir("/proc/self/fd")) <= before
    await store.close()


async def test_the_log_stays_small_although_somebody_always_reads(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path, log_bytes=200_000)
    log = path_of(tmp_path).with_name("documents.sqlite3-wal")
    written = 0

    async def read_and_read(patience: int) -> None:
        while written < 300:
            snapshot = await store.snapshot(NAME)
            until = written + patience
            while written < min(until, 300) and not log_is_full():
                await asyncio.sleep(0)
            snapshot.release()
            await asyncio.sleep(0)

    def log_is_full() -> bool:
        # A transaction ends sooner or later; here it ends when it is waited for.
        return log.exists() and log.stat().st_size > 200_000

    readers = [asyncio.ensure_future(read_and_read(patience)) for patience in (2, 3, 5)]
    largest = 0
    while written < 300:
        await put(store, b"%04d" % written, b"x" * 9_000)
        written += 1
        largest = max(largest, log.stat().st_size)
    await asyncio.gather(*readers)
    assert 200_000 < largest < 1_000_000
    assert len(await keys_in(store)) == 300
    await store.close()


class NobodyCommits:
    async def commit(self, position: int, reads: object, writes: object) -> int:
        raise AssertionError("nothing is committed here")


async def test_a_snapshot_that_is_held_through_a_pause_is_taken_away(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    file.create(path)
    readers = Readers(lambda: file.connect(path), NobodyCommits(), lambda position: None)
    held = await readers.snapshot()
    await readers.pause(0)
    waiting = asyncio.ensure_future(readers.snapshot())
    await asyncio.sleep(0)
    assert not waiting.done()
    with pytest.raises(Overloaded, match="open for too long"):
        await held.read(EVERYTHING, Order.ASCENDING, 1, 1)
    with pytest.raises(Overloaded, match="open for too long"):
        await held.commit((), [])
    held.release()
    readers.go_on()
    following = await waiting
    assert await following.read(EVERYTHING, Order.ASCENDING, 1, 1) == ([], True)
    following.release()
    readers.close()


async def test_more_readers_of_different_moments_than_connections_wait_for_each_other(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path)
    held = []
    for number in range(32):
        held.append(await store.snapshot(NAME))
        await put(store, b"%02d" % number) if number < 31 else None
    await_one_more = asyncio.ensure_future(put(store, b"more"))
    await asyncio.sleep(0)
    seen = [len((await snapshot.read(EVERYTHING, Order.ASCENDING, 100, 10_000)).entries) for snapshot in held]
    assert seen == list(range(32))
    for snapshot in held:
        snapshot.release()
    assert isinstance(await await_one_more, int)
    await store.close()
