"""How does a function have another one run later, or not any more?

``scheduler.schedule`` and ``scheduler.cancel``. In a mutation both are part of its transaction; from an action each is
a transaction of its own, and durable when it is answered.

Rules
1. Checked when it is scheduled: that the caller's version has the function, and that it is a mutation or an action.
   Whether its arguments fit shows when it runs: the code may be another one by then.
2. What a scheduled function does after it was cancelled is done, but what it schedules then is born cancelled.
3. Whoever called the caller is not taken along: a scheduled function has no end user.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from runtime import limits
from runtime.errors import CommitConflict, SyscallRefused
from runtime.invocation import FunctionDeclaration, Version
from runtime.names import FunctionPath, InvalidName, parse_function_path
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.syscalls.scheduling.outstanding import Outstanding
from runtime.syscalls.scheduling.records import (
    CANCELED,
    CRON_RUNS,
    IN_PROGRESS,
    SCHEDULED,
    Job,
    RetryTerms,
    encode_job,
    job_id,
    pile_of,
)
from runtime.syscalls.scheduling.writing import (
    find_duty,
    find_job,
    new_job,
    write_canceled,
    write_end,
    write_pending,
)
from runtime.syscalls.table import ACTIONS, MUTATIONS, Caller, Entry
from runtime.syscalls.transaction import Transaction, Transactions

Result = TypeVar("Result")

_NONE = msgspec.msgpack.encode(None)
_MOST_ATTEMPTS = 100
_LONGEST_WAIT = 604_800_000.0  # ms
# The arguments stand in a list of a document: two levels less for themselves.
_DEPTH = limits.VALUE_DEPTH - 2


class ScheduleArguments(msgspec.Struct, array_like=True, frozen=True):
    """Path, encoded arguments (a dict), ``after`` or ``at``, milliseconds, ``[attempts, wait, longest, jitter]``."""

    path: str
    args: msgspec.Raw
    when: str
    milliseconds: float
    retry: tuple[int, float, float, float] | None = None


class CancelArguments(msgspec.Struct, array_like=True, frozen=True):
    """The id of a scheduled function."""

    id: str


class Scheduling:
    """The ``scheduler.*`` entries."""

    def __init__(self, transactions: Transactions, outstanding: Outstanding) -> None:
        self._transactions = transactions
        self._outstanding = outstanding

    def entries(self) -> tuple[Entry[Any], ...]:
        """What to put on the list."""
        return (
            Entry("scheduler.schedule", ScheduleArguments, MUTATIONS | ACTIONS, self._schedule),
            Entry("scheduler.cancel", CancelArguments, MUTATIONS | ACTIONS, self._cancel),
        )

    async def _schedule(self, caller: Caller, arguments: ScheduleArguments) -> bytes:
        path, declared = find_target(caller.version, arguments.path)
        retry = _terms(arguments.retry, path, declared.kind)
        args = checked_arguments(arguments.args)

        async def write(transaction: Transaction) -> str:
            at = moment(arguments.when, arguments.milliseconds, transaction.now)
            job = new_job(transaction, path, args, at, retry)
            await self._write(caller, transaction, job, declared.kind)
            return job.id

        return msgspec.msgpack.encode(await self._within(caller, write))

    async def _write(self, caller: Caller, transaction: Transaction, job: Job, kind: Kind) -> None:
        transaction.scheduled += 1
        if transaction.scheduled > limits.SCHEDULED_PER_MUTATION:
            raise SyscallRefused(
                f"this mutation schedules {transaction.scheduled} functions, limit SCHEDULED_PER_MUTATION is "
                f"{limits.SCHEDULED_PER_MUTATION}: let one that it schedules schedule the others",
                "LimitExceeded",
            )
        for_whom = await find_job(transaction, job_id(caller.job, SCHEDULED, CRON_RUNS)) if caller.job else None
        await self._outstanding.admit(transaction)
        transaction.charge(len(encode_job(job)))
        if for_whom is not None and for_whom.state.kind == CANCELED:
            write_canceled(transaction, job)
        else:
            write_pending(transaction, job, pile_of(kind is Kind.ACTION))

    async def _cancel(self, caller: Caller, arguments: CancelArguments) -> bytes:
        async def write(transaction: Transaction) -> bytes:
            await cancel(transaction, arguments.id)
            return _NONE

        return await self._within(caller, write)

    async def _within(self, caller: Caller, write: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Write in the caller's transaction, or else in one of its own."""
        if caller.transaction is not None:
            return await write(caller.transaction)
        return await in_one(self._transactions, caller.deployment.name, write)


async def cancel(transaction: Transaction, id: str) -> bool:
    """Cancel what has not ended, and say whether it had not; raise `SyscallRefused` when nothing has this id."""
    parsed = job_id(id)
    job, duty = await find_job(transaction, parsed), await find_duty(transaction, parsed.text)
    if job is None:
        raise SyscallRefused(
            f"there is no scheduled function {parsed.text}: it never was, or was removed after its end"
        )
    if job.state.kind == IN_PROGRESS and duty is not None and not duty.token:
        # Nobody else can see a mutation in progress.
        raise SyscallRefused("a scheduled mutation cannot cancel itself: raise an error to have its writes undone")
    if job.ended:
        return False
    write_end(transaction, job, duty, CANCELED)
    return True


async def in_one(transactions: Transactions, name: Any, write: Callable[[Transaction], Awaitable[Result]]) -> Result:
    """Do this in a transaction of its own; raises `CommitConflict` when it keeps losing."""
    for attempt in range(limits.COMMIT_ATTEMPTS):
        transaction = await transactions.begin(name)
        try:
            result = await write(transaction)
            await transaction.commit()
            return result
        except CommitConflict:
            if attempt + 1 == limits.COMMIT_ATTEMPTS:
                raise
        finally:
            transaction.abandon()
    raise AssertionError("the last attempt returns or raises")


def find_target(version: Version, text: str) -> tuple[FunctionPath, FunctionDeclaration]:
    """The function that is to run later; raise `SyscallRefused` when there is none, or it cannot."""
    try:
        path = parse_function_path(text)
    except InvalidName as invalid:
        raise SyscallRefused(str(invalid)) from None
    declared = version.functions.get(str(path))
    if declared is None:
        if any(known.partition(":")[0] == path.module for known in version.functions):
            raise SyscallRefused(
                f"module {path.module!r} has no function {path.name!r}: is it decorated, and deployed?"
            )
        raise SyscallRefused(f"cannot schedule {path}: there is no module {path.module!r} with functions")
    if declared.kind is Kind.HTTP_ACTION:
        raise SyscallRefused(f"{path} is an HTTP action: it answers requests and cannot be scheduled", "TypeError")
    if declared.kind is Kind.QUERY:
        raise SyscallRefused(f"{path} is a query: only mutations and actions can be scheduled", "TypeError")
    return path, declared


def checked_arguments(args: msgspec.Raw) -> bytes:
    """The arguments of a scheduled function as they are kept; raise `SyscallRefused` when they cannot be."""
    encoded = bytes(args)
    if len(encoded) > limits.SCHEDULED_ARGUMENTS:
        raise SyscallRefused(
            f"arguments of {len(encoded)} bytes, limit SCHEDULED_ARGUMENTS is {limits.SCHEDULED_ARGUMENTS} bytes: keep "
            "them in a document and pass its id",
            "LimitExceeded",
        )
    try:
        value = values.decode(encoded)
        values.check(value, "args", _DEPTH)
    except values.InvalidValue as invalid:
        raise SyscallRefused(str(invalid)) from None
    if type(value) is not dict:
        raise SyscallRefused(f"the arguments of a function are a dict, not {type(value).__name__}", "TypeError")
    return encoded


def moment(when: str, milliseconds: float, now: float) -> float:
    """When it is due; raise `SyscallRefused` when that is no moment, or too far away."""
    if not math.isfinite(milliseconds):
        raise SyscallRefused(f"a function cannot be scheduled at {milliseconds!r}: that is no moment")
    if when == "after":
        if milliseconds < 0:
            raise SyscallRefused(f"the delay of run_after is 0 or more, not {milliseconds / 1000:g} seconds")
        milliseconds += now
    elif when != "at":
        raise SyscallRefused("a function is scheduled 'after' or 'at'", "TypeError")
    if abs(milliseconds - now) > limits.SCHEDULED_SPAN:
        near = when == "at" and abs(milliseconds / 1000 - now) <= limits.SCHEDULED_SPAN
        meant = ": run_at takes seconds, and these look like milliseconds" if near else ""
        raise SyscallRefused(
            f"a function is scheduled at most five years (limit SCHEDULED_SPAN, {limits.SCHEDULED_SPAN} ms) from now, "
            f"not {(milliseconds - now) / 86_400_000:.0f} days{meant}"
        )
    return milliseconds


def _terms(given: tuple[int, float, float, float] | None, path: FunctionPath, kind: Kind) -> RetryTerms | None:
    if given is None:
        return None
    if kind is not Kind.ACTION:
        raise SyscallRefused(
            f"retry= is for actions, and {path} is a {kind.value}: a mutation runs exactly once without it", "TypeError"
        )
    attempts, backoff, longest, jitter = given
    if not 1 <= attempts <= _MOST_ATTEMPTS:
        raise SyscallRefused(f"Retry(max_attempts=) is from 1 to {_MOST_ATTEMPTS}, not {attempts}")
    if not (0 <= backoff <= _LONGEST_WAIT and 0 <= longest <= _LONGEST_WAIT):
        raise SyscallRefused(
            f"Retry(backoff=) and Retry(max_backoff=) are from 0 to {_LONGEST_WAIT / 1000:.0f} seconds"
        )
    if not 0 <= jitter <= 1:
        raise SyscallRefused(f"Retry(jitter=) is from 0 to 1, not {jitter}")
    return RetryTerms(attempts, backoff, longest, jitter)
