"""Pages show everything once, wherever somebody writes between them, and their cursors are nobody else's."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.protocol.declaration import Kind
from runtime.sdk.data.database import DatabaseReader, Query
from runtime.sdk.functions import ApplicationError
from tests.contracts.data_house import NAME, DataHouse
from tests.contracts.index_oracle import LOOSE, Document, ask, by_author, documents, ranges, same


@settings(max_examples=60, deadline=None)
@given(st.lists(documents, max_size=25), ranges(), st.integers(1, 7), st.booleans(), st.booleans())
def test_pages_show_everything_once_while_nothing_changes(
    many: list[Document], steps: list[tuple[str, str, Any]], size: int, descending: bool, filtered: bool
) -> None:
    async def run() -> None:
        house = DataHouse(MemoryDocuments())
        await house.push(LOOSE)
        async with house.mutation() as db:
            for document in many:
                await db.insert("notes", document)

        def build(query: Query) -> Query:
            query = ask(query, steps)
            query = query.order("desc") if descending else query
            return query.filter(lambda one: "a" in one) if filtered else query

        async with house.query() as reader:
            expected = await build(reader.query("notes")).collect()
        found, cursor, sizes = list[Document](), None, list[int]()
        while True:
            async with house.query() as reader:
                page = await build(reader.query("notes")).paginate({"numItems": size, "cursor": cursor})
            found += page["page"]
            sizes.append(len(page["page"]))
            cursor = page["continueCursor"]
            if page["isDone"]:
                break
        assert same(found, expected)
        assert all(count == size for count in sizes[:-1])

    asyncio.run(run())


async def test_pages_go_on_where_they_ended_although_others_write(house: DataHouse) -> None:
    await house.push(by_author())
    async with house.mutation() as db:
        ids = [await db.insert("notes", {"author": "a", "n": n}) for n in range(10)]
    async with house.query() as db:
        first = await db.query("notes").with_index("by_author").paginate({"numItems": 4, "cursor": None})
    async with house.mutation() as db:
        await db.delete(ids[3])
        await db.insert("notes", {"author": "a", "n": 1.5})
        await db.insert("notes", {"author": "a", "n": 4.5})
    async with house.query() as db:
        query = db.query("notes").with_index("by_author")
        second = await query.paginate({"numItems": 100, "cursor": first["continueCursor"]})
    assert [one["n"] for one in second["page"]] == [4, 4.5, 5, 6, 7, 8, 9]
    assert second["isDone"]


async def test_a_page_with_an_end_grows_and_shrinks_between_its_ends(house: DataHouse) -> None:
    await house.push(by_author())
    async with house.mutation() as db:
        ids = [await db.insert("notes", {"author": "a", "n": n}) for n in range(10)]
    async with house.query() as db:
        first = await db.query("notes").with_index("by_author").paginate({"numItems": 4, "cursor": None})
    async with house.mutation() as db:
        for n in range(10):
            await db.insert("notes", {"author": "a", "n": 1 + n / 100})
        await db.delete(ids[0])
    async with house.query() as db:
        query = db.query("notes").with_index("by_author")
        options = {"numItems": 4, "cursor": None, "endCursor": first["continueCursor"]}
        again = await query.paginate(options)
    assert len(again["page"]) == 13
    assert again["continueCursor"] == first["continueCursor"] and not again["isDone"]
    assert again["splitCursor"] is not None
    async with house.query() as db:
        halves = []
        for ends in ((None, again["splitCursor"]), (again["splitCursor"], again["continueCursor"])):
            options = {"numItems": 4, "cursor": ends[0], "endCursor": ends[1]}
            halves += (await db.query("notes").with_index("by_author").paginate(options))["page"]
    assert same(halves, again["page"])


async def test_a_page_that_is_read_again_ends_where_its_journal_says(house: DataHouse) -> None:
    await house.push(by_author())
    async with house.mutation() as db:
        await db.insert("notes", {"author": "a", "n": 1})
        await db.insert("notes", {"author": "a", "n": 5})
    transaction = await house.transactions.begin(NAME)
    reader = DatabaseReader(house.running(Kind.QUERY, transaction))
    first = await reader.query("notes").with_index("by_author").paginate({"numItems": 1, "cursor": None})
    journal = transaction.journal
    transaction.abandon()
    assert journal == first["continueCursor"]
    async with house.mutation() as db:
        await db.insert("notes", {"author": "a", "n": 0})
    async with house.query(journal) as reader:
        again = await reader.query("notes").with_index("by_author").paginate({"numItems": 1, "cursor": None})
    assert [one["n"] for one in again["page"]] == [0, 1]
    assert again["continueCursor"] == first["continueCursor"]


async def test_a_page_that_may_not_read_on_ends_early(house: DataHouse) -> None:
    await house.push(by_author())
    async with house.mutation() as db:
        for n in range(20):
            await db.insert("notes", {"author": "a", "n": n})
    async with house.query() as db:
        query = db.query("notes").filter(lambda one: one["n"] == 19)
        page = await query.paginate({"numItems": 1, "cursor": None, "maximumRowsRead": 12})
        assert (page["page"], page["isDone"], page["pageStatus"]) == ([], False, "SplitRecommended")
        end = (await db.query("notes").paginate({"numItems": 100, "cursor": None}))["continueCursor"]
        options = {"numItems": 1, "cursor": None, "endCursor": end, "maximumRowsRead": 12}
        page = await db.query("notes").paginate(options)
        assert (len(page["page"]), page["pageStatus"]) == (12, "SplitRequired")
        assert page["splitCursor"] is not None and page["continueCursor"] == end


@pytest.mark.parametrize(
    "ask_otherwise",
    [
        lambda query: query.with_index("by_author", lambda q: q.eq("author", "a")),
        lambda query: query.with_index("by_author").order("desc"),
        lambda query: query.with_index("by_creation_time"),
    ],
)
async def test_a_cursor_of_another_query_is_refused(ask_otherwise: Callable[[Query], Query]) -> None:
    house = DataHouse(MemoryDocuments())
    await house.push(by_author())
    async with house.mutation() as db:
        for n in range(5):
            await db.insert("notes", {"author": "a", "n": n})
    async with house.query() as db:
        page = await db.query("notes").with_index("by_author").paginate({"numItems": 2, "cursor": None})
        with pytest.raises(ApplicationError, match="InvalidCursor") as refused:
            await ask_otherwise(db.query("notes")).paginate({"numItems": 2, "cursor": page["continueCursor"]})
        assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}


@given(st.text(max_size=60), st.integers(0, 10**6), st.sampled_from("ABCDwxyz0189-_=+/ "))
def test_a_cursor_that_somebody_changed_is_refused(text: str, at: int, letter: str) -> None:
    async def run() -> None:
        house = DataHouse(MemoryDocuments())
        async with house.mutation() as db:
            for n in range(3):
                await db.insert("notes", {"secret": f"value-{n}"})
        async with house.query() as db:
            cursor = (await db.query("notes").paginate({"numItems": 2, "cursor": None}))["continueCursor"]
            middle = at % len(cursor)
            others = (text, cursor[: -1 - middle], cursor + letter, cursor[:middle] + letter + cursor[middle + 1 :])
            for other in others:
                if other != cursor:
                    with pytest.raises(ApplicationError, match="InvalidCursor"):
                        await db.query("notes").paginate({"numItems": 2, "cursor": other})

    asyncio.run(run())


async def test_a_cursor_is_good_on_another_server_of_the_installation_and_nowhere_else() -> None:
    store = MemoryDocuments()
    house, sister, stranger = DataHouse(store), DataHouse(store), DataHouse(store, b"another secret")
    async with house.mutation() as db:
        for n in range(3):
            await db.insert("notes", {"n": n})
    async with house.query() as db:
        cursor = (await db.query("notes").paginate({"numItems": 2, "cursor": None}))["continueCursor"]
    async with sister.query() as db:
        assert len((await db.query("notes").paginate({"numItems": 2, "cursor": cursor}))["page"]) == 1
    async with stranger.query() as db:
        with pytest.raises(ApplicationError, match="InvalidCursor"):
            await db.query("notes").paginate({"numItems": 2, "cursor": cursor})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"numItems": 0, "cursor": None},
        {"numItems": -1, "cursor": None},
        {"numItems": 1.5, "cursor": None},
        {"numItems": True, "cursor": None},
        {"numItems": "1", "cursor": None},
        {"numItems": 1},
        {"numItems": 1, "cursor": 5},
        {"numItems": 1, "cursor": None, "endCursor": []},
        {"numItems": 1, "cursor": None, "maximumRowsRead": 0},
        {"numItems": 1, "cursor": None, "numItem": 3},
        "10",
    ],
)
async def test_options_of_a_page_that_are_none_are_refused(options: Any) -> None:
    async with DataHouse(MemoryDocuments()).query() as db:
        with pytest.raises((ValueError, TypeError), match=r"paginate|numItems|cursor|maximumRowsRead|endCursor"):
            await db.query("notes").paginate(options)
