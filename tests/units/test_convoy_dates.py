"""Is what a mutation adds later than everything that it has seen, whoever began first?"""

from functools import partial

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.convoys.convoy import Convoy
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.schemas.tables import FIRST_TABLE
from runtime.syscalls.transaction import Transaction, Transactions
from tests.units.convoy_house import NAME, StoppedClock


async def test_what_is_added_is_later_than_all_that_was_seen_though_its_author_began_earlier() -> None:
    clock, store = StoppedClock(), MemoryDocuments()
    transactions = Transactions(store, clock)
    before = await transactions.begin(NAME)
    await before.insert("notes", {"text": "the table"})
    await before.commit()
    convoy = Convoy(partial(store.snapshot, NAME))
    third, second, first = [Transaction(transactions, NAME, convoy.place(), clock.now() + began) for began in (1, 2, 3)]

    async def texts(transaction: Transaction) -> list[str]:
        page = await transaction.scan("notes", "by_creation_time", Bounds([], True, [], True), Order.ASCENDING, None, 9)
        return [values.decode(document)["text"] for document in page.documents]

    await first.insert("notes", {"text": "1"})
    seen = await texts(second)
    await second.insert("notes", {"text": "2"})
    await texts(third)
    await third.insert("notes", {"text": "3"})
    assert seen == ["the table", "1"] and await texts(third) == ["the table", "1", "2", "3"]
    for transaction in (first, second, third):
        transaction.abandon()


async def test_what_is_added_is_later_than_what_was_committed_while_it_waited() -> None:
    store, clock = MemoryDocuments(), StoppedClock()
    transactions = Transactions(store, clock)
    early = Convoy(partial(store.snapshot, NAME))
    late = Convoy(partial(store.snapshot, NAME), early, now=lambda: clock.now() + 9)
    boarded = Transaction(transactions, NAME, late.place(), clock.now())
    meanwhile = Transaction(transactions, NAME, early.place(), clock.now() + 7)
    added = []
    for transaction in (meanwhile, boarded):
        id = await transaction.insert("notes", {})
        added.append(values.decode(await transaction.get(id) or b"")["_creationTime"])
        await transaction.commit()
    assert added[0] == clock.now() + 7 and clock.now() + 9 < added[1] < clock.now() + 9.1


async def test_what_is_added_is_later_than_the_convoy_before_where_the_clock_stood_still() -> None:
    store, clock = MemoryDocuments(), StoppedClock()
    transactions = Transactions(store, clock)
    added, convoy = [], None
    for _ in range(3):
        convoy = Convoy(partial(store.snapshot, NAME), convoy, now=clock.now)
        transaction = Transaction(transactions, NAME, convoy.place(), clock.now())
        for _ in range(2):
            id = await transaction.insert("notes", {})
            added.append(values.decode(await transaction.get(id) or b"")["_creationTime"])
        await transaction.commit()
    assert added == sorted(set(added))


async def test_what_is_added_before_there_is_a_moment_is_earlier_than_what_comes_after() -> None:
    store, clock = MemoryDocuments(), StoppedClock()
    ahead = Convoy(partial(store.snapshot, NAME))
    first = ahead.place()
    await ahead.opened()
    convoy = Convoy(partial(store.snapshot, NAME), ahead, now=clock.now)
    transaction = Transaction(Transactions(store, clock), NAME, convoy.place(), clock.now())
    dates = [transaction.new_document(FIRST_TABLE)[1] for _ in range(3)]
    assert convoy.moment is None
    first.give_way()
    await convoy.opened()
    dates.append(transaction.new_document(FIRST_TABLE)[1])
    transaction.abandon()
    assert dates == sorted(set(dates))
