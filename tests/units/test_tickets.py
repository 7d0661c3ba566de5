"""Is a mutation that is sent twice run once?"""

import pytest

from runtime import limits
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import CommitConflict
from runtime.invocation import Succeeded
from runtime.names import DeploymentName
from runtime.syscalls.settling.tickets import Ticket, Tickets, sweep
from runtime.syscalls.transaction import Transactions

NAME = DeploymentName("happy-otter-123")
TICKET = Ticket(NAME, "a-session", 7)


class Clock:
    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000.0

    def now(self) -> float:
        return self.milliseconds

    def monotonic(self) -> float:
        return self.milliseconds / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transactions(clock: Clock) -> Transactions:
    return Transactions(MemoryDocuments(), clock)


async def keep(transactions: Transactions, tickets: Tickets, ticket: Ticket, value: bytes = b"\xa2ok") -> int:
    transaction = await transactions.begin(NAME)
    assert await tickets.recall(ticket, transaction) is None
    tickets.remember(ticket, Succeeded(value, ("[INFO] done",)), transaction)
    await transaction.commit()
    tickets.settled(ticket, transaction.position)
    return transaction.position


async def recall(transactions: Transactions, tickets: Tickets, ticket: Ticket = TICKET) -> Succeeded | None:
    transaction = await transactions.begin(NAME)
    try:
        return await tickets.recall(ticket, transaction)
    finally:
        transaction.abandon()


async def test_what_was_run_is_known_with_its_value_its_lines_and_its_position(transactions: Transactions) -> None:
    tickets = Tickets()
    position = await keep(transactions, tickets, TICKET)
    await keep(transactions, tickets, TICKET._replace(number=8))
    assert await recall(transactions, tickets) == Succeeded(b"\xa2ok", ("[INFO] done",), position)


async def test_another_process_knows_it_too_at_a_position_that_shows_it(transactions: Transactions) -> None:
    position = await keep(transactions, Tickets(), TICKET)
    found = await recall(transactions, Tickets())
    assert found is not None and found.value == b"\xa2ok"
    assert found.position >= position


async def test_other_sessions_and_other_numbers_are_other_mutations(transactions: Transactions) -> None:
    tickets = Tickets()
    await keep(transactions, tickets, TICKET)
    for other in (TICKET._replace(number=8), TICKET._replace(session="another"), TICKET._replace(session="a-sessio")):
        assert await recall(transactions, tickets, other) is None


async def test_what_failed_is_not_known(transactions: Transactions) -> None:
    tickets = Tickets()
    transaction = await transactions.begin(NAME)
    tickets.remember(TICKET, Succeeded(b"\xc0"), transaction)
    transaction.abandon()
    assert await recall(transactions, tickets) is None


async def test_of_two_who_run_it_at_once_one_loses(transactions: Transactions) -> None:
    tickets = Tickets()
    both = [await transactions.begin(NAME) for _ in range(2)]
    for transaction in both:
        assert await tickets.recall(TICKET, transaction) is None
        tickets.remember(TICKET, Succeeded(b"\xc0"), transaction)
    await both[0].commit()
    with pytest.raises(CommitConflict):
        await both[1].commit()


async def test_only_what_is_too_old_is_forgotten(transactions: Transactions, clock: Clock) -> None:
    tickets = Tickets()
    await keep(transactions, tickets, TICKET)
    clock.milliseconds += limits.TICKET_AGE - 1
    await keep(transactions, tickets, TICKET._replace(number=8))
    assert await sweep(transactions, NAME) == 0
    clock.milliseconds += 2
    assert await sweep(transactions, NAME) == 1
    assert await sweep(transactions, NAME) == 0
    assert await recall(transactions, tickets) is None
    assert await recall(transactions, tickets, TICKET._replace(number=8)) is not None
