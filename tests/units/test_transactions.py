"""One transaction, as a mutation sees it."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import limits
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.document_ids import make_document_id, parse_document_id
from runtime.errors import CommitConflict, SyscallRefused
from runtime.index_keys import table_of
from runtime.names import DeploymentName
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.schemas.catalog import CATALOG
from runtime.syscalls.schemas.tables import FIRST_TABLE
from runtime.syscalls.transaction import Transaction, Transactions

NAME = DeploymentName("happy-otter-123")
NOW = 1_700_000_000_000.25
EVERYTHING = Bounds([], True, [], True)


class StoppedClock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def transactions() -> Transactions:
    return Transactions(MemoryDocuments(), StoppedClock())


async def get(transaction: Transaction, id: str) -> Any:
    found = await transaction.get(id)
    return None if found is None else values.decode(found)


async def scan(
    transaction: Transaction, bounds: Bounds = EVERYTHING, order: Order = Order.ASCENDING, limit: int = 100
) -> list[Any]:
    documents: list[Any] = []
    cursor: bytes | None = None
    while True:
        page = await transaction.scan("notes", "by_creation_time", bounds, order, cursor, limit)
        documents += [values.decode(document)["n"] for document in page.documents]
        cursor = page.cursor
        if cursor is None:
            return documents


async def notes(transactions: Transactions, count: int) -> list[str]:
    transaction = await transactions.begin(NAME)
    ids = [await transaction.insert("notes", {"n": number}) for number in range(count)]
    await transaction.commit()
    return ids


async def test_an_inserted_document_has_an_id_of_its_table_and_the_frozen_time(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    id = await transaction.insert("notes", {"text": "hello"})
    assert await get(transaction, id) == {"_id": id, "_creationTime": NOW, "text": "hello"}
    assert await transaction.normalize_id("notes", id.upper()) == id
    assert await transaction.normalize_id("others", id) is None
    await transaction.commit()
    later = await transactions.begin(NAME)
    assert await get(later, id) == {"_id": id, "_creationTime": NOW, "text": "hello"}


async def test_creation_times_of_one_transaction_rise_in_steps_far_below_a_millisecond(
    transactions: Transactions,
) -> None:
    transaction = await transactions.begin(NAME)
    ids = [await transaction.insert("notes", {}) for _ in range(1_000)]
    times = [(await get(transaction, id))["_creationTime"] for id in ids]
    assert times[0] == NOW == transaction.now
    assert all(one < other for one, other in pairwise(times))
    assert times[-1] < NOW + 1
    assert all(type(time) is float for time in times)


async def test_a_patch_sets_and_removes_fields_and_keeps_the_others(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    id = await transaction.insert("notes", {"a": 1, "b": {"c": 2}, "d": 3})
    await transaction.patch(id, {"b": {"e": 4}, "f": 5, "_id": id, "_creationTime": NOW}, ["d", "nothing"])
    assert await get(transaction, id) == {"_id": id, "_creationTime": NOW, "a": 1, "b": {"e": 4}, "f": 5}


async def test_a_replaced_document_keeps_only_its_system_fields(transactions: Transactions) -> None:
    (id,) = await notes(transactions, 1)
    transaction = await transactions.begin(NAME)
    await transaction.replace(id, {"new": True, "_id": id})
    assert await get(transaction, id) == {"_id": id, "_creationTime": NOW, "new": True}


async def test_a_deleted_document_is_gone_at_once(transactions: Transactions) -> None:
    (id,) = await notes(transactions, 1)
    transaction = await transactions.begin(NAME)
    await transaction.delete(id)
    assert await get(transaction, id) is None
    assert await scan(transaction) == []
    with pytest.raises(SyscallRefused, match=f"cannot delete {id}: there is no document with this id"):
        await transaction.delete(id)
    await transaction.commit()
    assert await get(await transactions.begin(NAME), id) is None


async def test_a_missing_document_cannot_be_changed(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    id = make_document_id(FIRST_TABLE, bytes(16)).text
    for change in (transaction.patch(id, {}, []), transaction.replace(id, {}), transaction.delete(id)):
        with pytest.raises(SyscallRefused, match="there is no document with this id"):
            await change
    assert await transaction.get(id) is None
    with pytest.raises(SyscallRefused, match="'nonsense' is not the id of a document"):
        await transaction.get("nonsense")


async def test_the_tables_of_the_system_do_not_exist_for_tenants(transactions: Transactions) -> None:
    await notes(transactions, 1)
    transaction = await transactions.begin(NAME)
    for number in range(1, FIRST_TABLE):
        id = make_document_id(number, bytes(16)).text
        assert await transaction.get(id) is None
        with pytest.raises(SyscallRefused, match="no document"):
            await transaction.delete(id)
    for table in ("_tables", "_catalog", "", "a b", "x" * 65):
        with pytest.raises(SyscallRefused, match="is not a table name"):
            await transaction.insert(table, {})
        with pytest.raises(SyscallRefused, match="is not a table name"):
            await transaction.scan(table, "by_id", EVERYTHING, Order.ASCENDING, None, 1)
    with pytest.raises(SyscallRefused, match="has no index 'by_name': there are by_id, by_creation_time"):
        await transaction.scan("notes", "by_name", EVERYTHING, Order.ASCENDING, None, 1)


async def test_a_table_is_created_once_and_empty_before(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    assert await scan(transaction) == []
    ids = [await transaction.insert(table, {}) for table in ("notes", "others", "notes")]
    await transaction.commit()
    parsed = [parse_document_id(id) for id in ids]
    assert [id.table for id in parsed if id is not None] == [FIRST_TABLE, FIRST_TABLE + 1, FIRST_TABLE]


async def test_who_saw_that_a_table_was_missing_loses_when_it_came(transactions: Transactions) -> None:
    one, other = await transactions.begin(NAME), await transactions.begin(NAME)
    assert await scan(one) == []
    await one.insert("results", {"empty": True})
    await other.insert("notes", {"n": 1})
    await other.commit()
    with pytest.raises(CommitConflict):
        await one.commit()


async def test_inserts_into_one_table_do_not_conflict(transactions: Transactions) -> None:
    await notes(transactions, 1)
    begun = [await transactions.begin(NAME) for _ in range(5)]
    for transaction in begun:
        await transaction.insert("notes", {"n": 1})
        # What is true of the table is read, and nothing of its documents.
        assert {table_of(span.lower) for span in transaction.reads} == {CATALOG}
    for transaction in begun:
        await transaction.commit()
    assert len(await scan(await transactions.begin(NAME))) == 6


async def test_a_lost_race_names_the_table(transactions: Transactions) -> None:
    (id,) = await notes(transactions, 1)
    one, other = await transactions.begin(NAME), await transactions.begin(NAME)
    await one.patch(id, {"n": 1}, [])
    await other.patch(id, {"n": 2}, [])
    await one.commit()
    with pytest.raises(CommitConflict, match="documents of table 'notes' changed"):
        await other.commit()


async def test_what_lies_behind_the_last_page_may_change(transactions: Transactions) -> None:
    ids = await notes(transactions, 10)
    reader, writer = await transactions.begin(NAME), await transactions.begin(NAME)
    page = await reader.scan("notes", "by_creation_time", EVERYTHING, Order.ASCENDING, None, 3)
    assert len(page.documents) == 3
    await reader.insert("notes", {"n": 11})
    await writer.delete(ids[3])
    await writer.commit()
    await reader.commit()


async def test_a_savepoint_takes_back_writes_and_not_reads(transactions: Transactions) -> None:
    first, second = await notes(transactions, 2)
    transaction = await transactions.begin(NAME)
    await transaction.patch(first, {"n": 10}, [])
    token = transaction.savepoint()
    await transaction.patch(first, {"n": 20}, [])
    await transaction.delete(second)
    added = await transaction.insert("notes", {"n": 30})
    assert sorted(await scan(transaction)) == [20, 30]
    transaction.rollback(token)
    assert await scan(transaction) == [10, 1]
    assert await get(transaction, added) is None
    assert len(transaction.reads) >= 2
    await transaction.commit()
    assert await scan(await transactions.begin(NAME)) == [10, 1]


async def test_savepoints_nest(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    await transaction.insert("notes", {"n": 1})
    outer = transaction.savepoint()
    await transaction.insert("notes", {"n": 2})
    inner = transaction.savepoint()
    await transaction.insert("notes", {"n": 3})
    transaction.rollback(inner)
    assert await scan(transaction) == [1, 2]
    transaction.rollback(outer)
    assert await scan(transaction) == [1]


async def test_an_ended_transaction_does_nothing_more(transactions: Transactions) -> None:
    (id,) = await notes(transactions, 1)
    committed, abandoned = await transactions.begin(NAME), await transactions.begin(NAME)
    await committed.commit()
    committed.abandon()
    abandoned.abandon()
    abandoned.abandon()
    for transaction in (committed, abandoned):
        for call in (transaction.insert("notes", {}), transaction.delete(id), transaction.commit()):
            with pytest.raises(SyscallRefused, match="this transaction has ended"):
                await call


async def test_an_abandoned_transaction_writes_nothing(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    await transaction.insert("notes", {"n": 1})
    transaction.abandon()
    assert await scan(await transactions.begin(NAME)) == []


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"_id": "x"}, "the field _id is set by the system"),
        ({"_creationTime": NOW}, "the field _creationTime is set by the system"),
        ({"_secret": 1}, "document has the field '_secret'"),
        ({"a-b": 1}, "a field begins with a letter"),
        ({"x" * 65: 1}, "at most 64 characters"),
        ({"a": {"$b": 1}}, "document.a has the key '\\$b'"),
        ({"a": {1, 2}}, "document.a is of type set"),
        ({"a": 2**60}, "must be Int64"),
        ({"a": [0] * 8_193}, "document.a has 8193 items, limit ARRAY_ITEMS is 8192"),
        ({"a": {f"f{n}": n for n in range(1_025)}}, "document.a has 1025 fields, limit DOCUMENT_FIELDS is 1024"),
        ({"a": "x" * limits.DOCUMENT_BYTES}, "bytes, limit DOCUMENT_BYTES is 1048576"),
    ],
)
async def test_what_may_not_be_stored_is_refused_with_its_place(
    transactions: Transactions, document: dict[str, Any], sentence: str
) -> None:
    (id,) = await notes(transactions, 1)
    transaction = await transactions.begin(NAME)
    before = await get(transaction, id)
    for call in (
        transaction.insert("notes", document),
        transaction.replace(id, {**document, **({"_creationTime": 0.0} if "_creationTime" in document else {})}),
        transaction.patch(id, {**document, **({"_creationTime": 0.0} if "_creationTime" in document else {})}, []),
    ):
        with pytest.raises(SyscallRefused, match=sentence):
            await call
    assert await get(transaction, id) == before


async def test_system_fields_cannot_be_removed(transactions: Transactions) -> None:
    (id,) = await notes(transactions, 1)
    transaction = await transactions.begin(NAME)
    with pytest.raises(SyscallRefused, match="_id is set by the system: it cannot be removed"):
        await transaction.patch(id, {}, ["_id"])


async def test_a_document_may_be_sixteen_levels_deep(transactions: Transactions) -> None:
    transaction = await transactions.begin(NAME)
    value: Any = 1
    for _ in range(15):
        value = [value]
    await transaction.insert("notes", {"a": value})
    with pytest.raises(SyscallRefused, match="17 levels, limit DOCUMENT_DEPTH is 16"):
        await transaction.insert("notes", {"a": [value]})


async def test_a_transaction_may_read_and_write_so_much_and_no_more(transactions: Transactions) -> None:
    ids = await notes(transactions, 5)
    transaction = await transactions.begin(NAME)
    for _ in range(limits.READ_RANGES):
        await transaction.get(ids[0])
    with pytest.raises(SyscallRefused, match="4097 ranges, limit READ_RANGES is 4096") as refused:
        await transaction.get(ids[0])
    assert refused.value.exception == "LimitExceeded"
    writer = await transactions.begin(NAME)
    with pytest.raises(SyscallRefused, match="WRITE_BYTES is 16777216"):
        for _ in range(20):
            await writer.insert("notes", {"text": "x" * 1_000_000})
    many = await transactions.begin(NAME)
    with pytest.raises(SyscallRefused, match="16001 documents, limit WRITE_DOCUMENTS is 16000"):
        for _ in range(limits.WRITE_DOCUMENTS + 1):
            await many.insert("notes", {})


async def test_large_documents_come_in_small_pages_until_the_limit(transactions: Transactions) -> None:
    for _ in range(2):
        transaction = await transactions.begin(NAME)
        for number in range(10):
            await transaction.insert("notes", {"n": number, "text": "x" * 900_000})
        await transaction.commit()
    transaction = await transactions.begin(NAME)
    page = await transaction.scan("notes", "by_creation_time", EVERYTHING, Order.ASCENDING, None, 1_000)
    assert len(page.documents) == 2
    with pytest.raises(SyscallRefused, match="READ_BYTES is 16777216"):
        await scan(transaction, limit=1_000)


async def test_a_cursor_that_nobody_gave_out_stays_inside_the_range(transactions: Transactions) -> None:
    await notes(transactions, 3)
    transaction = await transactions.begin(NAME)
    for cursor in (b"", b"\x00" * 50, b"\xff" * 50):
        for order in Order:
            page = await transaction.scan("notes", "by_creation_time", EVERYTHING, order, cursor, 10)
            assert len(page.documents) in (0, 3)


async def test_a_range_over_ids_holds_the_one_it_names(transactions: Transactions) -> None:
    ids = sorted(await notes(transactions, 5))
    transaction = await transactions.begin(NAME)

    async def found(bounds: Bounds, order: Order = Order.ASCENDING) -> list[str]:
        page = await transaction.scan("notes", "by_id", bounds, order, None, 10)
        return [values.decode(document)["_id"] for document in page.documents]

    assert await found(Bounds([ids[2]], True, [ids[2]], True)) == [ids[2]]
    assert await found(Bounds([ids[1]], False, [ids[3]], True), Order.DESCENDING) == [ids[3], ids[2]]
    assert await found(Bounds([ids[1]], True, [ids[3]], False)) == [ids[1], ids[2]]
    assert await found(Bounds([5], False, [b""], True)) == ids
    assert await found(Bounds([ids[3]], True, [ids[1]], True)) == []


async def test_a_range_over_creation_times_holds_both_ends_or_none(transactions: Transactions) -> None:
    await notes(transactions, 4)
    transaction = await transactions.begin(NAME)
    times = [NOW]
    for _ in range(3):
        times.append(math.nextafter(times[-1], math.inf))
    assert await scan(transaction, Bounds([times[1]], True, [times[2]], True)) == [1, 2]
    assert await scan(transaction, Bounds([times[1]], False, [times[3]], False)) == [2]


# --- own writes among what the snapshot shows ------------------------------------------------------------------------

changes = st.lists(
    st.tuples(st.sampled_from(["insert", "patch", "delete", "savepoint", "rollback"]), st.integers(0, 9)), max_size=15
)


@settings(max_examples=80, deadline=None)
@given(changes, st.sampled_from(list(Order)), st.integers(1, 4))
async def test_a_scan_shows_own_writes_in_their_places(
    changes: list[tuple[str, int]], order: Order, limit: int
) -> None:
    transactions = Transactions(MemoryDocuments(), StoppedClock())
    transaction = await transactions.begin(NAME)
    expected = {id: number for number, id in enumerate(await notes(transactions, 6))}
    transaction = await transactions.begin(NAME)
    saved: list[tuple[int, dict[str, int]]] = []
    for verb, number in changes:
        ids = list(expected)
        if verb == "insert":
            expected[await transaction.insert("notes", {"n": number})] = number
        elif verb == "savepoint":
            saved.append((transaction.savepoint(), dict(expected)))
        elif verb == "rollback" and saved:
            token, expected = saved.pop()
            transaction.rollback(token)
        elif verb == "patch" and ids:
            await transaction.patch(ids[number % len(ids)], {"n": number}, [])
            expected[ids[number % len(ids)]] = number
        elif verb == "delete" and ids:
            await transaction.delete(ids[number % len(ids)])
            del expected[ids[number % len(ids)]]
    times = {id: (await get(transaction, id))["_creationTime"] for id in expected}
    in_order = sorted(expected, key=lambda id: (times[id], id), reverse=order is Order.DESCENDING)
    shown = [expected[id] for id in in_order]
    assert await scan(transaction, order=order, limit=limit) == shown
    await transaction.commit()
    assert await scan(await transactions.begin(NAME), order=order, limit=limit) == shown
