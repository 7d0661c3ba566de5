"""Documents found by indexes are those, in that order, that a look at all of them would find."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.sdk.data.database import IndexRange
from tests.contracts.data_house import DataHouse
from tests.contracts.index_oracle import (
    LOOSE,
    Document,
    all_documents,
    apply,
    ask,
    by_author,
    operations,
    place,
    ranges,
    same,
    stores,
    within,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60, deadline=None)
@given(operations, operations, operations, ranges(), st.booleans())
def test_an_index_holds_what_is_there_in_its_order(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    before: list[tuple[str, int, Document]],
    after: list[tuple[str, int, Document]],
    uncommitted: list[tuple[str, int, Document]],
    steps: list[tuple[str, str, Any]],
    descending: bool,
) -> None:
    async def run() -> None:
        store = stores(lambda: tmp_path_factory.mktemp("documents"))[kind]()
        house, ids = DataHouse(store), list[str]()
        await apply(house, before, ids)
        # Half of the documents are there before the index is.
        await house.push(LOOSE)
        await apply(house, after, ids)
        async with house.mutation() as db:
            for _, _, document in uncommitted:
                await db.insert("notes", document)
            everything = await db.query("notes").collect()
            query = ask(db.query("notes"), steps)
            found = await (query.order("desc") if descending else query).collect()
        expected = sorted((one for one in everything if within(one, steps)), key=place, reverse=descending)
        assert same(found, expected)
        assert same(await all_documents(house), everything)
        await store.close()

    asyncio.run(run())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=6), st.integers(0, 3))
def test_unique_is_the_only_one_or_says_which_two_there_are(many: list[int], wanted: int) -> None:
    async def run() -> None:
        house = DataHouse(MemoryDocuments())
        await house.push(LOOSE)
        async with house.mutation() as db:
            ids = [await db.insert("notes", {"a": number}) for number in many]
        matching = [id for id, number in zip(ids, many, strict=True) if number == wanted]
        async with house.query() as db:
            query = db.query("notes").with_index("by_a_c", lambda q: q.eq("a", wanted))
            if len(matching) > 1:
                with pytest.raises(ValueError, match=f"more than one.*{matching[0]} and {matching[1]}"):
                    await query.unique()
            else:
                found = await query.unique()
                assert (found["_id"] if found else None) == (matching[0] if matching else None)

    asyncio.run(run())


# --- on every store ---------------------------------------------------------------------------------------------------


async def test_an_index_is_read_in_its_order_on_every_store(house: DataHouse) -> None:
    async with house.mutation() as db:
        for n in range(30):
            await db.insert("notes", {"author": "ab"[n % 2], "n": n})
    await house.push(by_author())
    async with house.query() as db:
        query = db.query("notes").with_index("by_author", lambda q: q.eq("author", "b").gte("n", 5).lt("n", 15))
        assert [one["n"] for one in await query.order("desc").take(3)] == [13, 11, 9]
        query = db.query("notes").with_index("by_author", lambda q: q.lt("author", "b"))
        assert await query.count() == 15


async def test_a_long_value_is_found_by_its_index_on_every_store(house: DataHouse) -> None:
    await house.push(by_author())
    long = "long" * 50_000
    async with house.mutation() as db:
        ids = [await db.insert("notes", {"author": long + end, "n": 1}) for end in "bca"]
    async with house.query() as db:
        found = await db.query("notes").with_index("by_author", lambda q: q.gte("author", long)).collect()
        assert [one["_id"] for one in found] == [ids[2], ids[0], ids[1]]
        only = await db.query("notes").with_index("by_author", lambda q: q.eq("author", long + "b")).unique()
        assert only is not None and only["_id"] == ids[0]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda q: q.eq("n", 1), "ordered by author, n, _creationTime: the next one is 'author', not q.eq\\('n'\\)"),
        (lambda q: q.gt("author", "a").eq("n", 1), "q.eq\\('n'\\) comes after a bound; equalities come first"),
        (lambda q: q.gt("author", "a").lt("n", 1), "the next one is 'author', not q.lt\\('n'\\)"),
        (lambda q: q.gt("author", "a").gte("author", "b"), "q.gte\\('author'\\) is a second lower bound"),
        (lambda q: q.lt("author", "a").lte("author", "b"), "q.lte\\('author'\\) is a second upper bound"),
        (lambda q: q.eq("author", "a").eq("author", "b"), "after q.eq on author the next one is 'n'"),
        (lambda q: q.eq("author", 1).eq("n", 1).eq("_creationTime", 1).eq("x", 1), "one too many"),
    ],
)
async def test_a_range_that_is_none_says_what_would_be_one(
    build: Callable[[IndexRange], IndexRange], says: str
) -> None:
    house = DataHouse(MemoryDocuments())
    await house.push(by_author())
    async with house.query() as db:
        with pytest.raises(ValueError, match=says):
            await db.query("notes").with_index("by_author", build).collect()


async def test_the_tables_of_the_system_can_be_read_and_not_written() -> None:
    house = DataHouse(MemoryDocuments())
    async with house.mutation() as db:
        assert await db.system.query("_storage").collect() == []
        assert await db.system.query("_scheduled_functions").first() is None
        with pytest.raises(ValueError, match=r"use ctx\.db\.system\.query"):
            db.query("_storage")
        with pytest.raises(ValueError, match="the system has no table '_tables'"):
            db.system.query("_tables")
        with pytest.raises(ValueError, match="is the system's"):
            await db.insert("_storage", {})
        id = await db.insert("notes", {})
        with pytest.raises(ValueError, match=r"use ctx\.db\.get"):
            await db.system.get(id)
