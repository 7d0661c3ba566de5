"""What does a query answer at this moment?

What the live room asks to be run: the deployment as it is now, the function by its path, a transaction at the moment
that was asked for, and a note whether the function looked at its caller. Knows no watcher and no wire.

Rules
1. Whatever a function does, or cannot do, is an outcome: a missing function, one of another kind, a process that died
   twice. Only what may be otherwise in a moment is raised (`TooManyRequests`, `Overloaded`).
2. The system's own functions are answered here, for administrators.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from runtime.errors import IsolateLost, NotFound
from runtime.execution.finding import find_function
from runtime.execution.live.shared import Observed, Question
from runtime.execution.system_functions import SystemFunctions, is_system
from runtime.identity import Settled
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Version
from runtime.names import DeploymentName, FunctionPath, InvalidName, RequestIds, parse_function_path
from runtime.ports import Snapshot
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.transaction import Transaction, Transactions

Find = Callable[[DeploymentName], Awaitable[Deployment | None]]


class Runs(Protocol):
    """Who runs a query in a transaction: the conductor."""

    async def observe(
        self, invocation: Invocation, begin: Callable[[], Transaction]
    ) -> tuple[Outcome, Transaction]: ...


class Observer:
    """Runs queries at moments."""

    def __init__(self, find: Find, runs: Runs, transactions: Transactions, system: SystemFunctions) -> None:
        self._find = find
        self._runs = runs
        self._transactions = transactions
        self._system = system
        self._ids = RequestIds()

    async def observe(
        self, name: DeploymentName, question: Question, args: bytes, identity: Settled, moment: Snapshot
    ) -> Observed:
        """Run a query, and tell what its answer depends on; raises what may be otherwise in a moment."""
        deployment = await self._find(name)
        if deployment is None:
            raise NotFound(f"there is no deployment called {name!r} here")
        if question.administrator and is_system(question.path):
            return await self._ask_system(deployment, question, args, moment)
        try:
            path = parse_function_path(question.path)
        except InvalidName as error:
            return self._without_reads(Failure(Reason.UNKNOWN, "InvalidName", str(error)))
        found = find_function(deployment.version, path, Kind.QUERY, question.administrator)
        if isinstance(found, Failure) or deployment.version is None:
            assert isinstance(found, Failure)
            return self._without_reads(found)
        return await self._run(deployment, deployment.version, path, Asked(question, args, identity, moment))

    async def _run(self, deployment: Deployment, version: Version, path: FunctionPath, asked: "Asked") -> Observed:
        def begin() -> Transaction:
            transaction = self._transactions.at(deployment.name, asked.moment)
            transaction.journal = asked.question.journal
            return transaction

        invocation = Invocation(
            deployment, version, path, Kind.QUERY, asked.args, self._ids.next(), identity=asked.identity
        )
        try:
            outcome, ended = await self._runs.observe(invocation, begin)
        except IsolateLost:
            what = "the process that ran this query ended, twice: it takes more memory or time than it may have"
            return self._without_reads(Failure(Reason.MEMORY, "IsolateLost", what))
        return Observed(outcome, ended.reads, ended.looked_at_identity, ended.journal, invocation.request_id)

    async def _ask_system(self, deployment: Deployment, question: Question, args: bytes, moment: Snapshot) -> Observed:
        transaction = self._transactions.at(deployment.name, moment)
        try:
            outcome = await self._system.answer(deployment, question.path, args, transaction)
            return Observed(outcome, transaction.reads, False, None, self._ids.next())
        finally:
            transaction.abandon()

    def _without_reads(self, failure: Failure) -> Observed:
        return Observed(Failed(failure), frozenset(), False, None, self._ids.next())


class Asked:
    """A question with everything that belongs to one run of it."""

    __slots__ = ("args", "identity", "moment", "question")

    def __init__(self, question: Question, args: bytes, identity: Settled, moment: Snapshot) -> None:
        self.question = question
        self.args = args
        self.identity = identity
        self.moment = moment
