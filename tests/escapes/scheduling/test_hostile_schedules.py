"""What can a guest reach through ``scheduler.*`` that it may not? It says what it likes to the house's own counter."""

from typing import Any

import msgspec
import pytest

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.document_ids import make_document_id
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from runtime.syscalls.scheduling.duties import QUEUE
from runtime.syscalls.scheduling.records import CRON_RUNS, SCHEDULED
from tests.contracts.jobs_house import JobsHouse, furnish

NAN, ENDLESS = float("nan"), float("inf")


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return {"a": value}


@pytest.fixture
def house() -> JobsHouse:
    made = JobsHouse(MemoryDocuments())
    furnish(made)
    return made


async def say(house: JobsHouse, kind: Kind, name: str, *args: Any) -> Any:
    """Let a function of this kind say this to the counter, whatever the SDK thinks of it."""

    async def lie(ctx: Any, given: dict[str, Any]) -> Any:
        return await ctx._running.syscall(name, *args)

    house.function("m:lie", kind, lie)
    return await house.call("m:lie")


@pytest.mark.parametrize(
    "args",
    [
        ("m:note", {}, "after", NAN),
        ("m:note", {}, "after", ENDLESS),
        ("m:note", {}, "after", -1.0),
        ("m:note", {}, "at", -ENDLESS),
        ("m:note", {}, "at", 1e300),
        ("m:note", {}, "never", 1.0),
        ("m:note", [], "after", 0.0),
        ("m:note", None, "after", 0.0),
        ("m:note", {"$a": 1}, "after", 0.0),
        ("m:note", {"a": 2**60}, "after", 0.0),
        ("m:note", nested(63), "after", 0.0),
        ("m:note", msgspec.msgpack.Ext(5, b"x"), "after", 0.0),
        ("../m:note", {}, "after", 0.0),
        ("_system/cli/tables:default", {}, "after", 0.0),
        ("m:note", {}, "after", 0.0, [2, 1.0, 1.0, 0.5]),
        ("m:lie", {}, "after", 0.0, [0, 1.0, 1.0, 0.5]),
        ("m:lie", {}, "after", 0.0, [2, NAN, 1.0, 0.5]),
        ("m:lie", {}, "after", 0.0, [2, 1.0, ENDLESS, 0.5]),
        ("m:lie", {}, "after", 0.0, [2, 1.0, 1.0, -1.0]),
        ("m:lie", {}, "after", 0.0, [2**63, 1.0, 1.0, 0.5]),
        ("m:note", {}, "after", "soon"),
        (b"m:note", {}, "after", 0.0),
    ],
)
async def test_what_makes_no_sense_is_refused_and_writes_nothing(house: JobsHouse, args: tuple[Any, ...]) -> None:
    with pytest.raises(FunctionError):
        await say(house, Kind.ACTION, "scheduler.schedule", *args)
    assert await house.records() == []
    assert house.agenda.moments == {}


async def test_arguments_as_deep_as_they_may_be_can_be_read_by_everybody(house: JobsHouse) -> None:
    await say(house, Kind.ACTION, "scheduler.schedule", "m:note", nested(61), "after", 0.0)
    (record,) = await house.records()
    assert values.decode(values.encode(record)) == record


@pytest.mark.parametrize("name", ["scheduler.schedule", "scheduler.cancel"])
async def test_a_query_writes_nothing_down(house: JobsHouse, name: str) -> None:
    with pytest.raises(FunctionError, match="cannot be used in a query"):
        await say(house, Kind.QUERY, name, "m:note", {}, "after", 0.0)
    assert await house.records() == []


@pytest.mark.parametrize("table", [1, QUEUE, CRON_RUNS, 32])
async def test_an_id_of_another_table_cancels_nothing(house: JobsHouse, table: int) -> None:
    with pytest.raises(FunctionError, match="is not the id of a scheduled function"):
        await say(house, Kind.MUTATION, "scheduler.cancel", make_document_id(table, bytes(16)).text)


async def test_an_id_that_was_made_up_cancels_nothing(house: JobsHouse) -> None:
    with pytest.raises(FunctionError, match="there is no scheduled function"):
        await say(house, Kind.MUTATION, "scheduler.cancel", make_document_id(SCHEDULED, bytes(16)).text)


@pytest.mark.parametrize(
    "verb, more", [("patch", [{"state": {"kind": "success"}}, []]), ("replace", [{}]), ("delete", [])]
)
async def test_records_are_written_by_the_house_alone(house: JobsHouse, verb: str, more: list[Any]) -> None:
    id = await house.schedule("m:note", 5, text="a")
    with pytest.raises(FunctionError, match="there is no document with this id"):
        await say(house, Kind.MUTATION, f"db.{verb}", id, *more)
    with pytest.raises(FunctionError, match="the system's"):
        await say(house, Kind.MUTATION, "db.insert", "_scheduled_functions", {"name": "m:note"})
    assert await house.state(id) == {"kind": "pending"}
