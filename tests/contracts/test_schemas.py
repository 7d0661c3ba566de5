"""A schema comes into force between two transactions, or not at all; its indexes are there when it does."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import CommitConflict, PushRefused
from runtime.index_keys import table_of
from runtime.ports import KeyRange, Order
from runtime.sdk.data.schema import Schema, Table, define_schema, define_table
from runtime.sdk.validators import Validator, v
from runtime.syscalls.schemas.keeper import Look
from runtime.syscalls.schemas.tables import FIRST_TABLE
from tests.contracts.data_house import NAME, DataHouse

EVERYTHING = KeyRange(b"", b"\xff")


def notes(n: Validator, *indexes: tuple[str, list[str]], validation: bool = True) -> Schema:
    table = define_table({"n": n, "tag": v.optional(v.string())})
    for name, fields in indexes:
        table.index(name, fields)
    return define_schema({"notes": table}, schema_validation=validation)


NUMBERS = notes(v.number())
BY_N = notes(v.number(), ("by_n", ["n"]))
BY_TAG = notes(v.number(), ("by_tag", ["tag", "n"]))


async def entries(house: DataHouse) -> list[bytes]:
    """Every key that stands in an index of a tenant's own making."""
    snapshot = await house.store.snapshot(NAME)
    page = await snapshot.read(EVERYTHING, Order.ASCENDING, 100_000, 10**9)
    snapshot.release()
    keys = [key for key, _ in page.entries if table_of(key) >= FIRST_TABLE]
    return [key for key in keys if int.from_bytes(key[4:6]) > 1]


async def add(house: DataHouse, *documents: dict[str, Any]) -> list[str]:
    async with house.mutation() as db:
        return [await db.insert("notes", document) for document in documents]


async def test_a_document_that_does_not_fit_is_not_written(house: DataHouse) -> None:
    await house.push(NUMBERS)
    (id,) = await add(house, {"n": 1})
    async with house.mutation() as db:
        for change in (
            db.insert("notes", {"n": "one"}),
            db.patch(id, {"n": "one"}),
            db.replace(id, {"n": "one"}),
        ):
            with pytest.raises(ValueError, match=r"document\.n must be a number, got str 'one' \(the schema of table"):
                await change
        with pytest.raises(ValueError, match=r"document\.n is missing: it must be a number"):
            await db.replace(id, {})
        with pytest.raises(ValueError, match=r"document\.more is not expected: the fields are n, tag"):
            await db.patch(id, {"more": 1})
        await db.insert("others", {"n": "a table that the schema does not name"})
    async with house.query() as reader:
        assert [one["n"] for one in await reader.query("notes").collect()] == [1]


async def test_an_id_of_another_table_does_not_fit(house: DataHouse) -> None:
    await house.push(define_schema({"a": define_table({"b": v.id("b")}), "b": define_table(v.any())}))
    async with house.mutation() as db:
        b = await db.insert("b", {})
        a = await db.insert("a", {"b": b})
        with pytest.raises(ValueError, match=r"must be an id of table 'b', and \w+ is the id of a document of another"):
            await db.insert("a", {"b": a})
        with pytest.raises(ValueError, match="must be an id of table 'b', got str 'hello'"):
            await db.insert("a", {"b": "hello"})
        with pytest.raises(ValueError, match="must be an id of table 'b'"):
            await db.insert("a", {"b": b.upper()})


async def test_a_schema_that_documents_do_not_fit_is_refused_and_names_the_first(house: DataHouse) -> None:
    ids = await add(house, {"n": 1}, {"n": "two"}, {"n": "three"})
    with pytest.raises(PushRefused) as refused:
        await house.push(NUMBERS)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.file == "schema.py"
    for part in ("table 'notes'", f"document {ids[1]}", "document.n must be a number, got str 'two'"):
        assert part in diagnostic.message
    await add(house, {"n": "still allowed"})
    async with house.mutation() as db:
        for id in [*ids[1:], (await db.query("notes").order("desc").take(1))[0]["_id"]]:
            await db.delete(id)
    await house.push(NUMBERS)


async def test_a_refused_schema_leaves_no_index(house: DataHouse) -> None:
    await add(house, {"n": 1}, {"n": "two"})
    with pytest.raises(PushRefused):
        await house.push(BY_N)
    assert await entries(house) == []
    async with house.query() as db:
        with pytest.raises(ValueError, match="has no index 'by_n'"):
            await db.query("notes").with_index("by_n").collect()


async def test_a_schema_without_validation_compares_nothing(house: DataHouse) -> None:
    await add(house, {"n": "one"})
    await house.push(notes(v.number(), ("by_n", ["n"]), validation=False))
    await add(house, {"n": None, "more": 1})
    async with house.query() as db:
        assert [one["n"] for one in await db.query("notes").with_index("by_n").collect()] == [None, "one"]


async def test_who_began_before_the_switch_cannot_commit_what_does_not_fit(house: DataHouse) -> None:
    (id,) = await add(house, {"n": 1})
    begun = [await house.transactions.begin(NAME) for _ in range(2)]
    await begun[0].insert("notes", {"n": "late"})
    await begun[1].patch(id, {"n": "late"}, [])
    await house.push(NUMBERS)
    for transaction in begun:
        with pytest.raises(CommitConflict):
            await transaction.commit()


async def test_what_is_written_while_documents_are_compared_refuses_the_push_and_not_the_write() -> None:
    house = DataHouse(MemoryDocuments())
    await add(house, *({"n": n} for n in range(400)))
    pushing = asyncio.create_task(house.push(NUMBERS))
    await asyncio.sleep(0)
    while not pushing.done():
        await add(house, {"n": "does not fit"})
        await asyncio.sleep(0)
    with pytest.raises(PushRefused, match="got str 'does not fit'"):
        await pushing
    await add(house, {"n": "and goes on"})


async def test_an_index_is_whole_although_documents_change_while_it_is_built(house: DataHouse) -> None:
    ids = await add(house, *({"n": n} for n in range(300)))
    pushing = asyncio.create_task(house.push(BY_N))
    number = 1_000
    while not pushing.done():
        number += 1
        with contextlib.suppress(CommitConflict):
            async with house.mutation() as db:
                for id in ids[::40]:
                    await db.patch(id, {"n": number})
        await asyncio.sleep(0)
    await pushing
    async with house.query() as db:
        everything = await db.query("notes").collect()
        found = await db.query("notes").with_index("by_n").collect()
    assert sorted((one["n"], one["_creationTime"]) for one in everything) == [
        (one["n"], one["_creationTime"]) for one in found
    ]
    assert len(await entries(house)) == 300


async def test_an_index_that_is_removed_is_kept_for_one_more_push_and_then_taken_down(house: DataHouse) -> None:
    await add(house, *({"n": n, "tag": "x"} for n in range(200)))
    await house.push(BY_N)
    await house.push(BY_TAG)
    assert len(await entries(house)) == 400
    await add(house, {"n": 1_000, "tag": "x"})
    await house.push(BY_N, Look.LEFT)
    async with house.query() as db:
        newest = await db.query("notes").with_index("by_n").order("desc").first()
        assert newest is not None and newest["n"] == 1_000
    await house.push(NUMBERS)
    await house.push(None)
    assert await entries(house) == []


async def test_going_back_to_an_older_version_builds_its_indexes_again(house: DataHouse) -> None:
    await house.push(BY_N)
    await house.push(NUMBERS)
    await house.push(None)
    await add(house, {"n": 2}, {"n": "fits no more"}, {"n": 1})
    await house.push(BY_N, Look.LEFT)
    async with house.query() as db:
        found = await db.query("notes").with_index("by_n").collect()
        assert [one["n"] for one in found] == [1, 2, "fits no more"]
    with pytest.raises(ValueError, match=r"document\.n must be a number"):
        await add(house, {"n": "three"})


async def test_when_the_version_cannot_be_kept_the_old_schema_is_in_force_again(house: DataHouse) -> None:
    await house.push(NUMBERS)
    with pytest.raises(RuntimeError):
        async with house.schemas.changing(NAME, define_schema({}).declare(), NUMBERS.declare()):
            raise RuntimeError("the registry is full")
    with pytest.raises(ValueError, match=r"document\.n must be a number"):
        await add(house, {"n": "one"})


async def test_what_a_crash_left_half_done_is_finished_by_the_next_push(house: DataHouse) -> None:
    await add(house, *({"n": n} for n in range(10)))
    # All of a push but its end: the indexes are there, and no version is live that knows them.
    await house.schemas.prepare(NAME, BY_TAG.declare(), None, Look.COMPARED)
    await add(house, {"n": 10})
    await house.push(BY_N)
    async with house.query() as db:
        assert await db.query("notes").with_index("by_n").count() == 11
    assert len(await entries(house)) == 11


async def test_two_versions_may_call_the_same_order_different_names(house: DataHouse) -> None:
    await house.push(BY_N)
    await add(house, {"n": 1})
    before = await entries(house)
    await house.push(notes(v.number(), ("another_name", ["n"])))
    assert await entries(house) == before
    async with house.query() as db:
        assert await db.query("notes").with_index("another_name").count() == 1


orders = st.sampled_from([("by_n", ["n"]), ("by_tag", ["tag"]), ("both", ["tag", "n"])])
indexes = st.lists(orders, unique_by=lambda index: index[0])
moves = st.lists(
    st.tuples(st.just("push"), indexes) | st.tuples(st.sampled_from(["insert", "patch", "delete"]), st.integers(0, 9)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(moves)
def test_after_any_pushes_and_writes_every_index_holds_every_document_once(moves: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        house, ids = DataHouse(MemoryDocuments()), list[str]()
        declared: list[list[tuple[str, list[str]]]] = [[], []]
        for move, detail in moves:
            if move == "push":
                await house.push(notes(v.number(), *detail))
                declared.append(detail)
                continue
            async with house.mutation() as db:
                id = ids[detail % len(ids)] if ids else None
                if move == "insert" or id is None or await db.get(id) is None:
                    ids.append(await db.insert("notes", {"n": detail, "tag": "x" * (detail % 3)}))
                elif move == "patch":
                    await db.patch(id, {"n": detail})
                else:
                    await db.delete(id)
        async with house.query() as reader:
            everything = {one["_id"] for one in await reader.query("notes").collect()}
            for name, _ in declared[-1]:
                found = [one["_id"] for one in await reader.query("notes").with_index(name).collect()]
                assert (len(found), set(found)) == (len(everything), everything)
        kept = {tuple(fields) for _, fields in (*declared[-1], *declared[-2])}
        assert len(await entries(house)) == len(kept) * len(everything)

    asyncio.run(run())


async def test_many_tables_are_made_by_one_push() -> None:
    house = DataHouse(MemoryDocuments())
    tables: dict[str, Table] = {f"t{n}": define_table({"n": v.number()}).index("by_n", ["n"]) for n in range(5_000)}
    await house.push(define_schema(tables))
    async with house.mutation() as db:
        await db.insert("t4999", {"n": 1})
        assert await db.query("t4999").with_index("by_n").count() == 1
