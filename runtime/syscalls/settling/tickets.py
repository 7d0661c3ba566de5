"""Was this mutation run before?

A sync client that lost its connection sends its unfinished mutations again, under the numbers they had. What a mutation
returned is kept in the same transaction as what it wrote, so either both are there or neither is.

Rules
1. Only what succeeded is kept: what failed left nothing, and may be tried again.
2. Reading the record is part of the transaction, so two who send the same at once cannot both commit.
3. A record that is older than `TICKET_AGE` is removed by the way, `_SWEPT` at a time.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from runtime import limits
from runtime.index_keys import encode, index_prefix
from runtime.invocation import Outcome, Succeeded
from runtime.names import DeploymentName
from runtime.ports import KeyRange
from runtime.syscalls.transaction import Transaction, Transactions

_TABLE = 2
_BY_TICKET = index_prefix(_TABLE, 0)
_BY_TIME = index_prefix(_TABLE, 1)
_SWEPT = 500
_REMEMBERED = 10_000


class Ticket(NamedTuple):
    """One mutation of one client: its session and its number there."""

    deployment: DeploymentName
    session: str
    number: int


class _Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    session: str
    number: int
    at: float
    value: bytes
    lines: tuple[str, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class Tickets:
    """The mutations that sync clients have numbered."""

    def __init__(self) -> None:
        # Where it was committed is known only after the record is written; this process still knows for a while.
        self._positions: OrderedDict[Ticket, int] = OrderedDict()

    async def recall(self, ticket: Ticket, transaction: Transaction) -> Succeeded | None:
        """How it ended when it was run before; its position is the original one, or the present if nobody knows."""
        found = await transaction.find_record(_key(ticket.session, ticket.number))
        if found is None:
            return None
        record = _decode(found)
        return Succeeded(record.value, record.lines, self._positions.get(ticket, transaction.position))

    def remember(self, ticket: Ticket, outcome: Succeeded, transaction: Transaction) -> None:
        """Let the outcome be kept when the transaction is committed."""
        record = _Record(ticket.session, ticket.number, transaction.now, outcome.value, outcome.lines)
        transaction.put_record((), _keys(record), _encode(record))

    def settlement(self, ticket: Ticket) -> "TicketSettlement":
        """This ticket, to be settled with its mutation."""
        return TicketSettlement(self, ticket)

    def settled(self, ticket: Ticket, position: int) -> None:
        """It was committed at this position."""
        self._positions[ticket] = position
        if len(self._positions) > _REMEMBERED:
            self._positions.popitem(last=False)


class TicketSettlement:
    """A ticket as a `Settlement`: only what succeeded is kept."""

    __slots__ = ("_ticket", "_tickets")

    def __init__(self, tickets: Tickets, ticket: Ticket) -> None:
        self._tickets = tickets
        self._ticket = ticket

    async def recall(self, transaction: Transaction) -> Outcome | None:
        """See `Settlement.recall`."""
        return await self._tickets.recall(self._ticket, transaction)

    def record(self, outcome: Outcome, transaction: Transaction) -> bool:
        """See `Settlement.record`."""
        if not isinstance(outcome, Succeeded):
            return False
        self._tickets.remember(self._ticket, outcome, transaction)
        return True

    def committed(self, position: int) -> None:
        """See `Settlement.committed`."""
        self._tickets.settled(self._ticket, position)


async def sweep(transactions: Transactions, name: DeploymentName) -> int:
    """Remove some records that are too old, and say how many; raises `CommitConflict` when somebody else did."""
    transaction = await transactions.begin(name)
    try:
        old = KeyRange(_BY_TIME, _BY_TIME + encode([transaction.now - limits.TICKET_AGE]))
        records = [_decode(content) for content in await transaction.records(old, _SWEPT)]
        for record in records:
            transaction.put_record(_keys(record), (), None)
        await transaction.commit()
        return len(records)
    finally:
        transaction.abandon()


def _key(session: str, number: int) -> bytes:
    return _BY_TICKET + encode([session, number])


def _keys(record: _Record) -> tuple[bytes, ...]:
    return (
        _key(record.session, record.number),
        _BY_TIME + encode([float(record.at), record.session, record.number]),
    )
