"""What functions do with stored files, on every store of documents."""

import asyncio
import hashlib
from typing import Any

import pytest

from runtime import limits
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import Overloaded
from runtime.execution.sweeping import sweep_contents
from runtime.limits import Limit
from runtime.names import DeploymentName
from runtime.ports import Commit
from runtime.protocol.declaration import Kind
from runtime.sdk.fetch.blob import Blob
from runtime.sdk.functions import FunctionError
from runtime.syscalls.storage.records import find_file, storage_id
from tests.contracts.jobs_house import NAME, JobsHouse, Worker, furnish

OTHER = DeploymentName("brave-heron-456")


@pytest.fixture
def house() -> JobsHouse:
    made = JobsHouse(MemoryDocuments())
    furnish(made)
    return made


def equip(house: JobsHouse) -> None:
    """Push functions of every kind."""

    @house.action
    async def store(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.storage.store(args["data"], args.get("type"))

    @house.action
    async def get(ctx: Any, args: dict[str, Any]) -> Any:
        blob = await ctx.storage.get(args["id"])
        return None if blob is None else [blob.data, blob.type]

    @house.mutation
    async def delete(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.storage.delete(args["id"])
        if args.get("fail"):
            raise ValueError("changed my mind")

    @house.mutation
    async def upload_url(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.storage.generate_upload_url()

    async def look(ctx: Any, args: dict[str, Any]) -> Any:
        id = args["id"]
        known = [await ctx.storage.get_url(id), await ctx.storage.get_metadata(id), await ctx.db.system.get(id)]
        return [*known, len(await ctx.db.system.query("_storage").collect())]

    house.function("m:look", Kind.QUERY, look)


async def store(house: JobsHouse, data: bytes, type: str | None = None) -> str:
    return str(await house.call("m:store", {"data": data, "type": type}))


def kept(house: JobsHouse) -> list[bytes]:
    """The contents that there are."""
    assert house.files.begun == set()
    return [data for data, _ in house.files.kept.get(NAME, {}).values()]


async def test_what_is_stored_is_known_and_comes_back(jobs_house: JobsHouse) -> None:
    equip(jobs_house)
    data = bytes(range(256)) * 4_000
    id = await store(jobs_house, data, "image/PNG")
    url, known, document, count = await jobs_house.call("m:look", {"id": id})
    assert url.startswith(f"http://{NAME}.cloud.localhost:3210/api/storage/")
    sha256 = hashlib.sha256(data)
    assert known == {"storageId": id, "sha256": sha256.hexdigest(), "size": 1_024_000.0, "contentType": "image/PNG"}
    assert set(document) == {"_id", "_creationTime", "sha256", "size", "contentType"}
    assert (document["_id"], type(document["size"]), count) == (id, float, 1)
    assert await jobs_house.call("m:get", {"id": id}) == [data, "image/png"]


async def test_a_deletion_is_a_part_of_its_mutation(jobs_house: JobsHouse) -> None:
    equip(jobs_house)
    first, second = await store(jobs_house, b"first"), await store(jobs_house, b"second")
    with pytest.raises(FunctionError, match="changed my mind"):
        await jobs_house.call("m:delete", {"id": first, "fail": True})
    await jobs_house.worker.shelf.settle()
    assert sorted(kept(jobs_house)) == [b"first", b"second"]
    await jobs_house.call("m:delete", {"id": first})
    await jobs_house.worker.shelf.settle()
    assert kept(jobs_house) == [b"second"]
    assert await jobs_house.call("m:look", {"id": first}) == [None, None, None, 1]
    assert await jobs_house.call("m:get", {"id": first}) is None
    with pytest.raises(FunctionError, match="there is no stored file"):
        await jobs_house.call("m:delete", {"id": first})
    assert await jobs_house.call("m:get", {"id": second}) == [b"second", ""]


async def test_a_mutation_sees_what_it_deleted_and_deletes_once(house: JobsHouse) -> None:
    equip(house)
    id = await store(house, b"x")

    @house.mutation
    async def twice(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.storage.delete(id)
        assert await ctx.storage.get_url(id) is None and await ctx.db.system.get(id) is None
        await ctx.storage.delete(id)

    with pytest.raises(FunctionError, match="there is no stored file"):
        await house.call("m:twice")
    assert kept(house) == [b"x"]


async def test_an_action_deletes_at_once(house: JobsHouse) -> None:
    equip(house)
    id = await store(house, b"x")

    @house.action
    async def remove(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.storage.delete(id)
        return await ctx.storage.get_url(id)

    assert await house.call("m:remove") is None
    await house.worker.shelf.settle()
    assert kept(house) == []


@pytest.mark.parametrize("size", [0, 1, limits.BODY_CHUNK - 1, limits.BODY_CHUNK, limits.BODY_CHUNK + 1, 3_000_000])
async def test_any_size_comes_back_as_it_was(house: JobsHouse, size: int) -> None:
    equip(house)
    data = bytes(range(251)) * (size // 251 + 1)
    assert await house.call("m:get", {"id": await store(house, data[:size])}) == [data[:size], ""]


async def test_the_type_is_the_blobs_unless_another_is_said(house: JobsHouse) -> None:
    equip(house)

    @house.action
    async def types(ctx: Any, args: dict[str, Any]) -> Any:
        blob = Blob(["x"], type="text/html")
        ids = [
            await ctx.storage.store(blob),
            await ctx.storage.store(blob, "text/plain"),
            await ctx.storage.store(b"x"),
            await ctx.storage.store(bytearray(b"x"), content_type="a/b"),
        ]
        return [(await ctx.storage.get_metadata(id))["contentType"] for id in ids]

    assert await house.call("m:types") == ["text/html", "text/plain", None, "a/b"]


@pytest.mark.parametrize("wrong", [None, "text", 3, ["x"]])
async def test_what_is_no_file_is_refused_by_name(house: JobsHouse, wrong: Any) -> None:
    equip(house)
    with pytest.raises(FunctionError, match="stored from a Blob or bytes"):
        await house.call("m:store", {"data": wrong})


@pytest.mark.parametrize("wrong", ["x" * 257, "text/plain\r\nX: y", "tëxt/plain", "a\x00b"])
async def test_a_type_that_cannot_stand_in_a_header_is_refused(house: JobsHouse, wrong: str) -> None:
    equip(house)
    with pytest.raises(FunctionError, match="content type"):
        await store(house, b"x", wrong)
    assert kept(house) == []


async def test_a_file_past_the_limit_leaves_nothing(house: JobsHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    equip(house)
    monkeypatch.setattr(limits, "FILE_BYTES", Limit(300_000, "bytes", "for this test"))
    with pytest.raises(FunctionError, match=r"a file of 300001 bytes or more, limit FILE_BYTES is 300000 bytes"):
        await store(house, bytes(300_001))
    assert kept(house) == []
    assert not house.room.calls
    await store(house, bytes(300_000))


async def test_too_many_open_files_are_refused_and_come_free(house: JobsHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    equip(house)
    monkeypatch.setattr(limits, "FILES_OPEN", Limit(2, "files", "for this test"))

    @house.action
    async def hoard(ctx: Any, args: dict[str, Any]) -> Any:
        for _ in range(3):
            await ctx._running.syscall("storage.store", None, None, b"half", False)

    with pytest.raises(FunctionError, match="limit FILES_OPEN is 2"):
        await house.call("m:hoard")
    assert not house.room.calls
    await store(house, b"x")


async def test_what_a_call_leaves_open_is_closed_with_it(house: JobsHouse) -> None:
    equip(house)
    id = await store(house, bytes(1_000_000))

    @house.action
    async def leave(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx._running.syscall("storage.store", None, None, b"half", False)
        await ctx._running.syscall("storage.get", id)

    await house.call("m:leave")
    assert len(kept(house)) == 1
    assert not house.room.calls


async def test_an_upload_url_is_one_of_this_deployment(house: JobsHouse) -> None:
    equip(house)
    url = await house.call("m:upload_url")
    start, _, token = url.partition("?token=")
    assert start == f"http://{NAME}.cloud.localhost:3210/api/storage/upload"
    house.worker.tokens.check(NAME, token, house.clock.now())


async def test_a_commit_that_fails_keeps_no_file_and_the_sweep_finds_its_content(house: JobsHouse) -> None:
    equip(house)
    house.worker.store.dies_after = 0
    with pytest.raises((FunctionError, Overloaded)):
        await store(house, b"lost")
    assert kept(house) == [b"lost"]
    age_everything(house)
    after = Worker(house)
    await sweep_contents(after.shelf, there)
    assert kept(house) == []


async def test_a_commit_that_nobody_heard_of_has_kept_its_file(house: JobsHouse) -> None:
    equip(house)
    house.worker.store.dies_after, house.worker.store.unheard = 0, True
    with pytest.raises((FunctionError, Overloaded)):
        await store(house, b"there")
    age_everything(house)
    after = Worker(house)
    await sweep_contents(after.shelf, there)
    assert kept(house) == [b"there"]
    assert len((await after.shelf.page(NAME, 10, None))[0]) == 1


async def test_the_sweep_leaves_alone_what_is_young_or_known_and_clears_after_a_deployment_that_is_gone(
    house: JobsHouse,
) -> None:
    equip(house)
    await store(house, b"known")
    lost = await house.worker.shelf.begin(NAME)
    await lost.writing.keep()
    elsewhere = await house.worker.shelf.begin(OTHER)
    await elsewhere.writing.keep()
    await sweep_contents(house.worker.shelf, there)
    assert sorted(kept(house)) == [b"", b"known"]
    age_everything(house)
    await sweep_contents(house.worker.shelf, there)
    assert kept(house) == [b"known"]
    assert await house.files.names() == [NAME]


async def there(name: DeploymentName) -> bool:
    """Which deployments there are."""
    return name == NAME


def age_everything(house: JobsHouse) -> None:
    """Let everything be older than the sweep looks for."""
    for contents in house.files.kept.values():
        for number, (data, since) in contents.items():
            contents[number] = data, since - limits.FILE_ORPHAN_AGE


async def test_files_come_page_by_page_the_latest_first(jobs_house: JobsHouse) -> None:
    equip(jobs_house)
    ids = []
    for number in range(5):
        jobs_house.clock.milliseconds += 1
        ids.append(await store(jobs_house, bytes(number)))
    shelf = jobs_house.worker.shelf
    first, after = await shelf.page(NAME, 3, None)
    second, end = await shelf.page(NAME, 3, after)
    assert [file.id for file in (*first, *second)] == ids[::-1]
    assert end is None
    for beyond in (b"", b"\xff" * 40, b"\x00"):
        found, _ = await shelf.page(NAME, 3, beyond)
        assert {file.id for file in found} <= set(ids)


async def test_a_query_that_showed_a_url_has_read_what_a_deletion_changes(house: JobsHouse) -> None:
    equip(house)
    id = await store(house, b"x")
    transaction = await house.worker.transactions.begin(NAME)
    assert await find_file(transaction, storage_id(id)) is not None
    (read,) = transaction.reads
    commits: asyncio.Queue[Commit] = asyncio.Queue()
    following = await house.store.follow(NAME, commits.put_nowait)
    await house.call("m:delete", {"id": id})
    async with asyncio.timeout(10):
        deletion = await commits.get()
    assert any(read.lower <= key < read.upper for key in deletion.keys or ())
    following.stop()
    transaction.abandon()
