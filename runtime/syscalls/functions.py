"""How does a function call another function?

``run.query``, ``run.mutation`` and ``run.action``. Called from an action each is a call of its own; called from a query
or mutation it runs inside the caller's transaction, a mutation as a sub-transaction that is rolled back alone.

Rules
1. Which function may be called from where is decided by the table and by the declaration, never by the guest's word.
2. A failure comes back as `FunctionError`, or as `ApplicationError` with its data; the tenant may catch it.
3. The knot (a function calls a function) is tied in ``main.py`` through `Runner`.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.invocation import Invocation, Outcome, Succeeded
from runtime.names import FunctionPath, InvalidName, parse_function_path
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.table import ACTIONS, EVERYONE, QUERIES, Caller, Entry
from runtime.syscalls.transaction import Transaction


class RunArguments(msgspec.Struct, array_like=True, frozen=True):
    """A function's path and its encoded arguments (a dict)."""

    path: str
    args: msgspec.Raw


class Runner(Protocol):
    """Who runs functions."""

    async def run(self, invocation: Invocation) -> Outcome:
        """Run it as a call of its own."""
        ...

    async def run_within(self, invocation: Invocation, transaction: Transaction) -> Outcome:
        """Run it inside a transaction that somebody else commits."""
        ...


class Functions:
    """The ``run.*`` entries."""

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner

    def entries(self) -> tuple[Entry[RunArguments], ...]:
        """What to put on the list."""
        return (
            Entry("run.query", RunArguments, EVERYONE, self._server(Kind.QUERY)),
            Entry("run.mutation", RunArguments, ACTIONS | (QUERIES - {Kind.QUERY}), self._server(Kind.MUTATION)),
            Entry("run.action", RunArguments, ACTIONS, self._server(Kind.ACTION)),
        )

    def _server(self, kind: Kind) -> Callable[[Caller, RunArguments], Awaitable[bytes]]:
        async def serve(caller: Caller, arguments: RunArguments) -> bytes:
            return await self._run(caller, kind, arguments)

        return serve

    async def _run(self, caller: Caller, kind: Kind, arguments: RunArguments) -> bytes:
        invocation = _invocation(caller, kind, arguments)
        transaction = caller.transaction
        if transaction is None:
            outcome = await self._runner().run(invocation)
        elif kind is Kind.QUERY:
            outcome = await self._runner().run_within(invocation, transaction)
        else:
            outcome = await self._run_nested_mutation(invocation, transaction)
        if isinstance(outcome, Succeeded):
            return outcome.value
        raise refusal(invocation.path, outcome.failure)

    async def _run_nested_mutation(self, invocation: Invocation, transaction: Transaction) -> Outcome:
        token = transaction.savepoint()
        kept = False
        try:
            outcome = await self._runner().run_within(invocation, transaction)
            kept = isinstance(outcome, Succeeded)
            return outcome
        finally:
            if not kept:
                transaction.rollback(token)


def _invocation(caller: Caller, kind: Kind, arguments: RunArguments) -> Invocation:
    if caller.depth + 1 > limits.CALL_DEPTH:
        raise SyscallRefused(f"functions call each other more than {limits.CALL_DEPTH} levels deep", "LimitExceeded")
    args = bytes(arguments.args)
    if len(args) > limits.VALUE_BYTES:
        raise SyscallRefused(f"arguments of {len(args)} bytes, limit {limits.VALUE_BYTES}", "LimitExceeded")
    path = _path(caller, kind, arguments.path)
    return Invocation(
        caller.deployment,
        caller.version,
        path,
        kind,
        args,
        caller.request_id,
        caller.depth + 1,
        caller.identity,
        caller.job,
    )


def _path(caller: Caller, kind: Kind, text: str) -> FunctionPath:
    try:
        path = parse_function_path(text)
    except InvalidName as invalid:
        raise SyscallRefused(str(invalid), "ValueError") from None
    declared = caller.version.functions.get(str(path))
    if declared is None:
        raise SyscallRefused(f"there is no function {path}: check the module and the name", "ValueError")
    if declared.kind is not kind:
        raise SyscallRefused(
            f"{path} is a {declared.kind.value.replace('_', ' ')}: call it with ctx.run_{declared.kind.value}"
            if declared.kind is not Kind.HTTP_ACTION
            else f"{path} is an HTTP action: it answers requests and cannot be called",
            "TypeError",
        )
    return path


def refusal(path: FunctionPath, failure: Failure) -> SyscallRefused:
    """What the calling function sees of a failed one."""
    if failure.reason is Reason.APPLICATION and failure.data is not None:
        return SyscallRefused(failure.message, "ApplicationError", failure.data)
    if failure.reason is Reason.ARGUMENTS:
        return SyscallRefused(failure.message, "ValueError")  # it begins with the path
    return SyscallRefused(f"{path}: {failure.exception}: {failure.message}", "FunctionError")
