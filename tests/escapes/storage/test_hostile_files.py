"""What can a guest reach through ``storage.*`` that it may not? It says what it likes to the house's own counter."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from runtime import limits
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.document_ids import make_document_id
from runtime.names import DeploymentName
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from runtime.syscalls.scheduling.records import SCHEDULED
from runtime.syscalls.storage.records import FILES, STORAGE
from tests.contracts.jobs_house import NAME, JobsHouse, furnish

OTHER = DeploymentName("brave-heron-456")
NOBODYS = make_document_id(STORAGE, bytes(16)).text


@pytest.fixture
def house() -> JobsHouse:
    made = JobsHouse(MemoryDocuments())
    furnish(made)
    return made


async def say(house: JobsHouse, kind: Kind, *questions: tuple[Any, ...]) -> list[Any]:
    """Let a function of this kind say all this to the counter, whatever the SDK thinks of it."""

    async def lie(ctx: Any, given: dict[str, Any]) -> Any:
        return [await ctx._running.syscall(*question) for question in questions]

    house.function("m:lie", kind, lie)
    return list(await house.call("m:lie"))


async def stored(house: JobsHouse, name: DeploymentName, content: bytes = b"secret") -> str:
    """A file of some deployment."""
    begun = await house.worker.shelf.begin(name)
    await begun.writing.write(content)
    return await house.worker.shelf.keep(name, begun, "text/plain")


def nothing_is_open(house: JobsHouse) -> bool:
    """Whether all is closed and nothing half-written is left."""
    return not house.files.begun and not house.room.calls


async def test_a_file_of_another_deployment_is_not_there(house: JobsHouse) -> None:
    theirs = await stored(house, OTHER)
    for kind in (Kind.QUERY, Kind.MUTATION, Kind.ACTION):
        asked = [("storage.get_url", theirs), ("storage.get_metadata", theirs)]
        assert await say(house, kind, *asked) == [None, None]
    assert await say(house, Kind.ACTION, ("storage.get", theirs)) == [None]
    for kind in (Kind.MUTATION, Kind.ACTION):
        with pytest.raises(FunctionError, match="there is no stored file"):
            await say(house, kind, ("storage.delete", theirs))
    file = (await house.worker.shelf.page(OTHER, 10, None))[0][0]
    assert house.files.kept[OTHER][file.number][0] == b"secret"


@pytest.mark.parametrize(
    "id",
    [
        "",
        "../../registry.sqlite3",
        "/etc/passwd",
        str(uuid4()),
        "\x00",
        "x" * 100_000,
        make_document_id(SCHEDULED, bytes(16)).text,
        make_document_id(FILES, bytes(16)).text,
        make_document_id(32, bytes(16)).text,
        None,
        7,
        ["x"],
        b"x",
    ],
)
@pytest.mark.parametrize("name", ["get_url", "get_metadata", "delete", "get"])
async def test_what_is_no_id_of_a_file_is_refused(house: JobsHouse, id: Any, name: str) -> None:
    with pytest.raises(FunctionError, match=r"is not the id of a stored file|storage\."):
        await say(house, Kind.ACTION, (f"storage.{name}", id))
    assert nothing_is_open(house)


@pytest.mark.parametrize(
    "kind, names",
    [
        (Kind.QUERY, ["generate_upload_url", "delete", "store", "write", "get", "read", "close"]),
        (Kind.MUTATION, ["store", "write", "get", "read", "close"]),
    ],
)
async def test_a_kind_has_only_what_the_table_says(house: JobsHouse, kind: Kind, names: list[str]) -> None:
    for name in names:
        with pytest.raises(FunctionError, match=f"ctx.storage.{name} cannot be used in a"):
            await say(house, kind, (f"storage.{name}",))


@pytest.mark.parametrize(
    "question",
    [
        ("storage.store", None, None, b"x"),
        ("storage.store", None, None, b"x", True, "more"),
        ("storage.store", None, None, "text", True),
        ("storage.store", 5, None, b"x", True),
        ("storage.store", "a/b\r\nSet-Cookie: x=y", None, b"x", True),
        ("storage.store", "x" * 100_000, None, b"x", True),
        ("storage.store", None, "short", b"x", True),
        ("storage.store", None, "0" * 64, b"x", True),
        ("storage.store", None, "z" * 64, b"x", True),
        ("storage.store", None, "\ud800", b"x", True),
        ("storage.store", None, None, bytes(limits.BODY_WINDOW + 1), False),
        ("storage.write", 1, b"x", True),
        ("storage.write", -1, b"x", True),
        ("storage.write", 2**70, b"x", True),
        ("storage.write", "1", b"x", True),
        ("storage.read", 1),
        ("storage.read", 1.5),
        ("storage.generate_upload_url", "brave-heron-456"),
        ("storage.sweep",),
        ("storage.forget", "brave-heron-456"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_keeps_nothing(house: JobsHouse, question: tuple[Any, ...]) -> None:
    with pytest.raises((FunctionError, UnicodeEncodeError)):
        await say(house, Kind.ACTION, question)
    assert house.files.kept == {}
    assert nothing_is_open(house)


async def test_a_number_of_another_call_or_another_way_is_none(house: JobsHouse) -> None:
    mine = await stored(house, NAME, bytes(1_000_000))
    with pytest.raises(FunctionError, match="no file 1 is written here"):
        await say(house, Kind.ACTION, ("storage.get", mine), ("storage.write", 1, b"x", True))
    with pytest.raises(FunctionError, match="no file 1 is read here"):
        await say(house, Kind.ACTION, ("storage.store", None, None, b"x", False), ("storage.read", 1))
    with pytest.raises(FunctionError, match="no file 1 is written here"):
        await say(house, Kind.ACTION, ("storage.store", None, None, b"x", True), ("storage.write", 1, b"y", True))
    assert nothing_is_open(house)


async def test_the_hidden_record_cannot_be_read_as_a_document(house: JobsHouse) -> None:
    mine = await stored(house, NAME)
    file = (await house.worker.shelf.page(NAME, 10, None))[0][0]
    hidden = make_document_id(FILES, bytes(16)).text
    for question in [("db.get", hidden), ("db.get", mine)]:
        assert await say(house, Kind.QUERY, question) == [None]
    with pytest.raises(FunctionError, match="not the id of a document of the system"):
        await say(house, Kind.QUERY, ("db.get_system", hidden))
    (shown,) = await say(house, Kind.QUERY, ("db.get_system", mine))
    assert str(file.number) not in repr(shown) and file.number.hex not in repr(shown)


@pytest.mark.parametrize(
    "question",
    [
        ("db.insert", "_storage", {"size": 1.0}),
        ("db.patch", NOBODYS, {"size": 1.0}, []),
        ("db.replace", NOBODYS, {"size": 1.0}),
        ("db.delete", NOBODYS),
    ],
)
async def test_metadata_cannot_be_written_as_documents(house: JobsHouse, question: tuple[Any, ...]) -> None:
    with pytest.raises(FunctionError):
        await say(house, Kind.MUTATION, question)
    with pytest.raises(FunctionError):
        await say(house, Kind.MUTATION, (question[0], *(await stored(house, NAME), *question[2:])))
    assert len((await house.worker.shelf.page(NAME, 10, None))[0]) == 1


async def test_two_writers_of_one_file_are_one_too_many(house: JobsHouse) -> None:
    async def both(ctx: Any, given: dict[str, Any]) -> Any:
        ask = ctx._running.syscall
        number, _ = await ask("storage.store", None, None, b"x", False)
        done = await asyncio.gather(
            *(ask("storage.write", number, b"y", True) for _ in range(4)), return_exceptions=True
        )
        return [type(each).__name__ for each in done]

    house.function("m:both", Kind.ACTION, both)
    ended = await house.call("m:both")
    assert ended.count("str") <= 1
    assert nothing_is_open(house)
