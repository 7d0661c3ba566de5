"""``db.*`` as a guest asks for it, well-behaved or not."""

from typing import Any

import msgspec
import pytest

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import SyscallRefused
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Kind
from runtime.protocol.values import Int64
from runtime.syscalls.documents import ENTRIES
from runtime.syscalls.table import Caller, Table
from runtime.syscalls.transaction import Transactions

NAME = DeploymentName("happy-otter-123")
EVERYTHING: list[list[object]] = [[]]


class StoppedClock:
    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
async def mutation() -> Caller:
    return await caller(Kind.MUTATION)


async def caller(kind: Kind) -> Caller:
    transaction = await Transactions(MemoryDocuments(), StoppedClock()).begin(NAME)
    deployment, version = Deployment(NAME, None, {}), Version(VersionNumber(1), "", {}, Declaration((), None))
    return Caller(deployment, version, kind, RequestId("0" * 16), 0, transaction)


async def ask(who: Caller, name: str, *args: Any) -> Any:
    raw = msgspec.Raw(values.encode(list(args)))
    return values.decode(await Table(ENTRIES).serve(who, name, raw))


async def test_every_value_comes_back_as_it_was_put(mutation: Caller) -> None:
    document = {
        "none": None, "int": 1, "float": 1.0, "zero": -0.0, "inf": float("-inf"), "text": "h\u00e9llo\x00",
        "bytes": b"\x00\xff", "list": [1, [2.5]], "dict": {"_a b": True}, "big": Int64(2**62),
    }  # fmt: skip
    id = await ask(mutation, "db.insert", "notes", document)
    found = await ask(mutation, "db.get", id)
    assert repr({name: found[name] for name in document}) == repr(document)
    assert type(found["float"]) is float and type(found["int"]) is int


async def test_documents_are_changed_and_removed(mutation: Caller) -> None:
    id = await ask(mutation, "db.insert", "notes", {"a": 1})
    assert await ask(mutation, "db.patch", id, {"b": 2}, ["a"]) is None
    assert (await ask(mutation, "db.get", id)).get("b") == 2
    assert await ask(mutation, "db.replace", id, {"c": 3}) is None
    assert set(await ask(mutation, "db.get", id)) == {"_id", "_creationTime", "c"}
    assert await ask(mutation, "db.delete", id) is None
    assert await ask(mutation, "db.get", id) is None


async def test_a_scan_is_read_page_by_page(mutation: Caller) -> None:
    for number in range(5):
        await ask(mutation, "db.insert", "notes", {"n": number})
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await ask(mutation, "db.scan", "notes", "by_creation_time", *EVERYTHING, "desc", cursor, 2)
        seen += [document["n"] for document in page["documents"]]
        cursor, pages = page["cursor"], pages + 1
    assert (seen, pages) == ([4, 3, 2, 1, 0], 3)


async def test_an_id_is_recognised(mutation: Caller) -> None:
    id = await ask(mutation, "db.insert", "notes", {})
    assert await ask(mutation, "db.normalize_id", "notes", id.upper()) == id
    assert await ask(mutation, "db.normalize_id", "others", id) is None
    assert await ask(mutation, "db.normalize_id", "notes", "hello") is None


@pytest.mark.parametrize("name", ["db.insert", "db.patch", "db.replace", "db.delete"])
async def test_a_query_does_not_write(name: str) -> None:
    query = await caller(Kind.QUERY)
    with pytest.raises(SyscallRefused, match="cannot be used in a query"):
        await ask(query, name, "x", {})
    assert await ask(query, "db.scan", "notes", "by_id", *EVERYTHING, "asc", None, 1) == {
        "documents": [],
        "cursor": None,
    }


@pytest.mark.parametrize("kind", [Kind.ACTION, Kind.HTTP_ACTION])
async def test_an_action_has_no_database(kind: Kind) -> None:
    for entry in ENTRIES:
        with pytest.raises(SyscallRefused, match="call a query or mutation"):
            await ask(await caller(kind), entry.name)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("db.get", []),
        ("db.get", [1]),
        ("db.get", ["a", "b"]),
        ("db.get", [None]),
        ("db.get", ["x" * 1_000_000]),
        ("db.insert", ["notes"]),
        ("db.insert", ["notes", []]),
        ("db.insert", ["notes", None]),
        ("db.insert", ["_tables", {}]),
        ("db.insert", ["a/../b", {}]),
        ("db.patch", ["x", {}, [1]]),
        ("db.patch", ["x", {}, "abc"]),
        ("db.scan", ["notes", "by_id", {}, "asc", None, 1]),
        ("db.scan", ["notes", "by_id", [["eq"]], "asc", None, 1]),
        ("db.scan", ["notes", "by_id", [], "sideways", None, 1]),
        ("db.scan", ["notes", "by_id", [], "asc", "text", 1]),
        ("db.scan", ["notes", "by_id", [], "asc", None, 0]),
        ("db.scan", ["notes", "by_id", [], "asc", None, -5]),
        ("db.scan", ["notes", "by_id", [], "asc", None, 1.5]),
        ("db.scan", ["notes", "nothing", [], "asc", None, 1]),
    ],
)
async def test_arguments_that_do_not_fit_are_refused(mutation: Caller, name: str, args: list[Any]) -> None:
    with pytest.raises(SyscallRefused):
        await ask(mutation, name, *args)


@pytest.mark.parametrize(
    "document",
    [
        b"\x81\xa1a\xc7\x03\x09abc",  # an extension that nobody knows
        b"\x81\xa1a\xc7\x03\x01abc",  # an Int64 of three bytes
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",  # a timestamp
        b"\x81\x01\x02",  # a key that is no text
        b"\x81\x91\x01\x02",  # a key that is a list
        b"\x81\xa1a\xcf" + b"\xff" * 8,  # an integer that is no number
        b"\x81\xa1a\xa2\xff\xfe",  # text that is not UTF-8
        b"\x81\xa1a" + b"\x91" * 100 + b"\x01",  # a hundred levels
        b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01",
        b"\xdf\xff\xff\xff\xff",  # four thousand million fields, none of them there
        b"\x81\xa1a\xc6\x7f\xff\xff\xff",
    ],
)
async def test_bytes_that_are_no_value_are_refused(mutation: Caller, document: bytes) -> None:
    with pytest.raises(SyscallRefused):
        await Table(ENTRIES).serve(mutation, "db.insert", msgspec.Raw(b"\x92\xa5notes" + document))


async def test_a_field_that_is_there_twice_is_stored_once(mutation: Caller) -> None:
    raw = msgspec.Raw(b"\x92\xa5notes\x82\xa1a\x01\xa1a\x02")
    id = values.decode(await Table(ENTRIES).serve(mutation, "db.insert", raw))
    assert (await ask(mutation, "db.get", id))["a"] == 2
