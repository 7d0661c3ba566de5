"""What does an operator see of scheduled functions, and what may be done about them?

Lists, page by page; cancelling one, or all of a function; running once more what has failed. Each change is a
transaction of its own. Asks for no permission: whoever calls has done so.

Rules
1. Those that have not ended are listed in the order in which they are due, mutations first; those that have, the latest
   first; both together, those first that were scheduled last.
2. A page looks at a bounded number of records. It may be empty and still not be the last.
3. Only a failed one is run again: what was cancelled or went well was meant so.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime import limits
from runtime.document_ids import parse_document_id
from runtime.errors import BadRequest, Conflict, NotFound, SyscallRefused
from runtime.index_keys import LAST, NEXT, index_prefix
from runtime.invocation import Version
from runtime.names import DeploymentName
from runtime.ports import KeyRange, Order
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.syscalls.scheduling.duties import FINISHED, Duty, Pile, decode_duty, due
from runtime.syscalls.scheduling.entries import cancel, find_target, in_one
from runtime.syscalls.scheduling.records import (
    ENDED,
    FAILED,
    IN_PROGRESS,
    PENDING,
    SCHEDULED,
    STATES,
    Job,
    decode_job,
    encode_job,
    pile_of,
)
from runtime.syscalls.scheduling.writing import find_job, write_again
from runtime.syscalls.schemas.catalog import BY_CREATION_TIME
from runtime.syscalls.transaction import Transaction, Transactions

_LOOKED_AT = 1_000
_BYTES = 8 * limits.MIB
_CANCELED_AT_ONCE = 200
_BY_CREATION = index_prefix(SCHEDULED, BY_CREATION_TIME)
_WAITING = (PENDING, IN_PROGRESS)


class Wanted(NamedTuple):
    """Which scheduled functions: in one of these states (all when empty), of this function (of all when ``None``)."""

    states: Sequence[str] = ()
    function: str | None = None

    def takes(self, job: Job) -> bool:
        """Whether this is one of them."""
        return job.state.kind in (self.states or STATES) and self.function in (None, job.name)


class JobPage(NamedTuple):
    """Documents as ``ctx.db.system`` shows them, and where to go on; ``None`` after the last."""

    jobs: list[dict[str, Any]]
    cursor: str | None


class Overseer:
    """The operator's view of scheduled functions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def page(self, name: DeploymentName, wanted: Wanted, most: int, cursor: str | None = None) -> JobPage:
        """At most ``most`` of a deployment's scheduled functions; raises `BadRequest` for a state or cursor that is
        none."""
        for state in wanted.states:
            if state not in STATES:
                raise BadRequest(f"{state[:40]!r} is no state of a scheduled function: there are {', '.join(STATES)}")
        transaction = await self._transactions.begin(name)
        try:
            walk = _Walk(transaction, wanted, most, _read_cursor(cursor))
            if wanted.states and set(wanted.states) <= set(_WAITING):
                await walk.duties()
            elif wanted.states and set(wanted.states) <= ENDED:
                await walk.documents(KeyRange(FINISHED, FINISHED + LAST), -1)
            else:
                await walk.documents(KeyRange(_BY_CREATION, _BY_CREATION + LAST), BY_CREATION_TIME)
            return JobPage(walk.found, walk.cursor)
        finally:
            transaction.abandon()

    async def find(self, name: DeploymentName, id: str) -> dict[str, Any]:
        """One of them, as its document; raises `NotFound` when nothing has this id."""
        parsed = parse_document_id(id)
        transaction = await self._transactions.begin(name)
        try:
            job = await find_job(transaction, parsed) if parsed is not None and parsed.table == SCHEDULED else None
        finally:
            transaction.abandon()
        if job is None:
            raise NotFound(f"there is no scheduled function {id[:80]!r}: it never was, or was removed after its end")
        found: dict[str, Any] = values.decode_own(encode_job(job))
        return found

    async def cancel(self, name: DeploymentName, id: str) -> bool:
        """Cancel one, and say whether it had not ended yet; raises `NotFound` when nothing has this id."""
        try:
            return await in_one(self._transactions, name, lambda transaction: cancel(transaction, id))
        except SyscallRefused as refused:
            raise NotFound(str(refused)) from None

    async def cancel_all(self, name: DeploymentName, function: str) -> int:
        """Cancel everything of one function that has not ended, and say how many that was."""
        canceled = 0
        for pile in (Pile.MUTATIONS, Pile.ACTIONS):
            span = due(pile)
            while True:
                transaction = await self._transactions.begin(name)
                try:
                    duties = [decode_duty(each) for each in await transaction.records(span, _LOOKED_AT)]
                finally:
                    transaction.abandon()
                if not duties:
                    break
                span = KeyRange(duties[-1].keys[1] + NEXT, span.upper)
                mine = [duty for duty in duties if duty.function == function and _is_tenants(duty)]
                for start in range(0, len(mine), _CANCELED_AT_ONCE):
                    canceled += await self._cancel_some(name, mine[start : start + _CANCELED_AT_ONCE])
        return canceled

    async def _cancel_some(self, name: DeploymentName, duties: Sequence[Duty]) -> int:
        async def write(transaction: Transaction) -> int:
            return sum([await cancel(transaction, duty.id) for duty in duties])

        return await in_one(self._transactions, name, write)

    async def run_again(self, name: DeploymentName, version: Version, id: str) -> None:
        """Let one that has failed be run once more, now; raises `NotFound`, or `Conflict` when it has not failed."""

        async def write(transaction: Transaction) -> None:
            parsed = parse_document_id(id)
            job = await find_job(transaction, parsed) if parsed is not None and parsed.table == SCHEDULED else None
            if job is None:
                raise NotFound(
                    f"there is no scheduled function {id[:80]!r}: it never was, or was removed after its end"
                )
            if job.state.kind != FAILED:
                raise Conflict(f"the scheduled function {id} is {job.state.kind}: only a failed one is run again")
            write_again(transaction, job, _pile(version, job.name))

        await in_one(self._transactions, name, write)


class _Walk:
    """One page under way."""

    def __init__(self, transaction: Transaction, wanted: Wanted, most: int, after: bytes | None) -> None:
        self.found: list[dict[str, Any]] = []
        self.cursor: str | None = None
        self._transaction = transaction
        self._wanted = wanted
        self._most = most
        self._after = after
        self._bytes = 0

    async def documents(self, span: KeyRange, place: int) -> None:
        """Walk along an index of documents, backwards; ``place`` is its key among a document's."""
        if self._after is not None:
            span = KeyRange(span.lower, max(min(self._after, span.upper), span.lower))
        left = _LOOKED_AT
        while left > 0:
            read = [decode_job(each) for each in await self._transaction.records(span, left, Order.DESCENDING)]
            if not read:
                return
            left -= len(read)
            for job in read:
                if self._take(job, job.keys[place]):
                    return
            span = KeyRange(span.lower, read[-1].keys[place])
        self.cursor = _write_cursor(span.upper)

    async def duties(self) -> None:
        """Walk along what is due, forwards."""
        left = _LOOKED_AT
        for pile in (Pile.MUTATIONS, Pile.ACTIONS):
            span = due(pile)
            if self._after is not None:
                span = KeyRange(min(max(self._after + NEXT, span.lower), span.upper), span.upper)
            while left > 0:
                duties = [decode_duty(each) for each in await self._transaction.records(span, left)]
                if not duties:
                    break
                left -= len(duties)
                for duty in duties:
                    if await self._take_duty(duty):
                        return
                span = KeyRange(duties[-1].keys[1] + NEXT, span.upper)
            if left <= 0:
                self.cursor = _write_cursor(span.lower)
                return

    async def _take_duty(self, duty: Duty) -> bool:
        if not _is_tenants(duty) or self._wanted.function not in (None, duty.function):
            return False
        id = parse_document_id(duty.id)
        job = None if id is None else await find_job(self._transaction, id)
        return job is not None and self._take(job, duty.keys[1])

    def _take(self, job: Job, key: bytes) -> bool:
        """Put it on the page if it is wanted; whether that is enough for one page."""
        encoded = encode_job(job)
        self._bytes += len(encoded)
        if self._wanted.takes(job) and job.cron is None:
            self.found.append(values.decode_own(encoded))
        if len(self.found) < self._most and self._bytes < _BYTES:
            return False
        self.cursor = _write_cursor(key)
        return True


def _pile(version: Version, function: str) -> Pile:
    try:
        return pile_of(find_target(version, function)[1].kind is Kind.ACTION)
    except SyscallRefused as refused:
        raise Conflict(f"it cannot be run again: {refused}") from None


def _is_tenants(duty: Duty) -> bool:
    id = parse_document_id(duty.id)
    return id is not None and id.table == SCHEDULED


def _write_cursor(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _read_cursor(cursor: str | None) -> bytes | None:
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("this cursor is not one of scheduled functions: leave it out to begin again") from None
