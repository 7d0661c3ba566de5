"""In which order is a call run?

Permit, isolate, counter, conversation, outcome; given back in reverse. Knows no HTTP, no SQL and no process: it puts
rooms in order, and nothing else.

Rules
1. A query or mutation whose isolate dies runs again, alone: nothing was committed, and if it was the reason it shows.
2. A mutation whose commit meets a conflict runs again, at most `COMMIT_ATTEMPTS` times; what it lost in company
   (`turns`) aside.
3. Actions and HTTP actions are never run twice.
4. What is settled with a mutation (`syscalls/settling`) is looked at before each attempt and written in its
   transaction.
5. A mutation's outcome leaves only when its writes are durable, and nothing is awaited in between: who committed
   speaks before those who are told of the commit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from runtime import limits
from runtime.errors import CommitConflict, IsolateLost, WarrenError
from runtime.execution.admission import Admission
from runtime.execution.turns import Turn, Turns
from runtime.execution.window import Window
from runtime.invocation import (
    Failed,
    HttpInvocation,
    Invocation,
    Outcome,
    Succeeded,
    traceback_text,
)
from runtime.isolates.conversations import HttpConversation
from runtime.isolates.isolate import Isolate
from runtime.isolates.pool import Pool
from runtime.ports import Clock, Errands, Logs
from runtime.protocol.declaration import Engine, Kind
from runtime.protocol.messages import Failure, Head, HeaderList, Level, Reason
from runtime.syscalls.schemas.arguments import ArgumentIds
from runtime.syscalls.settling.settlement import Settlement
from runtime.syscalls.settling.tickets import Ticket, Tickets
from runtime.syscalls.table import Belongings, Caller, Table
from runtime.syscalls.transaction import Transaction, Transactions

_HEAD_TIME = limits.HEAD_TIME / 1000
_ACTION_TIME = limits.ACTION_TIME / 1000
_QUERY_TIME = limits.QUERY_TIME / 1000


class Timing(msgspec.Struct, frozen=True, gc=False):
    """Where the time to the response head went, in milliseconds."""

    queue: float
    cold: float
    handler: float


class HttpAnswer:
    """The response of an HTTP action: its head, and the rest of its body as it comes. Headers are as the guest said."""

    __slots__ = ("_conversation", "body", "headers", "last", "status", "timing")

    def __init__(self, head: Head, timing: Timing, conversation: HttpConversation) -> None:
        self.status: int = head.status
        self.headers: HeaderList = head.headers
        self.body: bytes = head.body
        self.last: bool = head.last
        self.timing = timing
        self._conversation = conversation

    async def more(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether it is the last; raises `OurMistake` when the stream broke."""
        return await self._conversation.more()

    def took(self, amount: int) -> None:
        """The client took so many bytes: the guest may send as many more."""
        self._conversation.took(amount)

    def abandon(self) -> None:
        """Nobody reads the rest."""
        self._conversation.silence()


Heard = Callable[[HttpAnswer | Failed | WarrenError], None]


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the conductor puts in order."""

    pool: Pool
    admission: Admission
    table: Table
    transactions: Transactions
    logs: Logs
    clock: Clock
    errands: Errands | None = None  # who runs Node-style actions; nobody, on a server that has no worker


class Asking:
    """An HTTP action on its way from its permit to its response head."""

    __slots__ = ("_admission", "_clock", "_conversation", "_heard", "_invocation", "_moments", "_window")

    def __init__(self, rooms: Rooms, invocation: HttpInvocation, window: Window, heard: Heard) -> None:
        self._admission: Admission | None = rooms.admission  # until the permit is given back
        self._clock = rooms.clock
        self._invocation = invocation
        self._window = window
        self._heard = heard

    def begin(self, isolate: Isolate, began: float, admitted: float, asked: float) -> None:
        """Ask this isolate."""
        self._moments = (began, admitted, asked)
        deadline = asked + _HEAD_TIME
        self._conversation = isolate.ask(self._invocation, self._window, deadline, self._answered, self.give_back)

    def silence(self) -> None:
        """Nobody waits for the answer any more."""
        self._conversation.silence()

    def give_back(self) -> None:
        """Give the permit back, if that was not done before."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.give_back(self._invocation.deployment.name)

    def _answered(self, head: Head | Failure | WarrenError) -> None:
        began, admitted, asked = self._moments
        self._conversation.deadline = began + _ACTION_TIME
        if isinstance(head, Head):
            done = self._clock.monotonic()
            timing = Timing((admitted - began) * 1000, (asked - admitted) * 1000, (done - asked) * 1000)
            self._heard(HttpAnswer(head, timing, self._conversation))
        elif isinstance(head, Failure):
            self._window.log(Level.ERROR, traceback_text(head))
            self._heard(Failed(head))
        else:
            self._heard(head)


class Conductor:
    """Runs invocations."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._pool = rooms.pool
        self._admission = rooms.admission
        self._clock = rooms.clock
        self._turns = Turns(rooms.transactions)
        self._tickets = Tickets()
        self._ids = ArgumentIds()

    # --- HTTP actions -----------------------------------------------------------------------------------------------

    def ask(self, invocation: HttpInvocation, heard: Heard) -> "Asking | None":
        """Run an HTTP action for which nothing has to be waited for; ``heard`` is called later, once, with its answer.

        ``None``, and nothing is done, where a permit or an isolate is not free now. Raises what `answer` raises.
        """
        deployment = invocation.deployment
        isolate = self._pool.pick(deployment, invocation.version)
        if isolate is None or not self._admission.take(deployment):
            return None
        began = self._clock.monotonic()
        asking = Asking(self._rooms, invocation, self._window(invocation, Kind.HTTP_ACTION, invocation.route), heard)
        try:
            asking.begin(isolate, began, began, began)
        except BaseException:
            asking.give_back()
            raise
        return asking

    async def answer(self, invocation: HttpInvocation) -> HttpAnswer | Failed:
        """Run an HTTP action until its response head; raises `TooManyRequests`, `Overloaded` or `IsolateLost`."""
        deployment = invocation.deployment
        began = self._clock.monotonic()
        if not self._admission.take(deployment):
            await self._admission.wait(deployment)
        admitted = self._clock.monotonic()
        answer: asyncio.Future[HttpAnswer | Failed | WarrenError] = asyncio.get_running_loop().create_future()

        def heard(told: HttpAnswer | Failed | WarrenError) -> None:
            if not answer.done():  # who waits for it may just have been cancelled
                answer.set_result(told)

        asking = Asking(self._rooms, invocation, self._window(invocation, Kind.HTTP_ACTION, invocation.route), heard)
        try:
            isolate = self._pool.pick(deployment, invocation.version)
            if isolate is None:
                isolate = await self._pool.acquire(deployment, invocation.version)
            asking.begin(isolate, began, admitted, self._clock.monotonic())
        except BaseException:
            asking.give_back()
            raise
        try:
            told = await answer
        except asyncio.CancelledError:
            asking.silence()
            raise
        if isinstance(told, WarrenError):
            raise told
        return told

    # --- functions --------------------------------------------------------------------------------------------------

    async def run(self, invocation: Invocation, ticket: Ticket | None = None) -> Outcome:
        """Run a query, mutation or action; raises `TooManyRequests`, `Overloaded`, `IsolateLost`, `CommitConflict`.

        A mutation with a ``ticket`` that was run before is not run again: its outcome is what it was.
        """
        if invocation.depth:
            with self._admission.beneath(invocation.deployment.name):
                return await self._run(invocation, None)
        return await self.settle(invocation, None if ticket is None else self._tickets.settlement(ticket))

    async def settle(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        """Run a function as a call of its own, a mutation with what is settled by it; raises what `run` does."""
        deployment = invocation.deployment
        if not self._admission.take(deployment):
            await self._admission.wait(deployment)
        try:
            return await self._run(invocation, settlement)
        finally:
            self._admission.give_back(deployment.name)

    async def observe(self, invocation: Invocation, begin: Callable[[], Transaction]) -> tuple[Outcome, Transaction]:
        """Run a query in a transaction that ``begin`` makes; the ended transaction tells what was read.

        Raises what `run` does.
        """
        deployment = invocation.deployment
        if not self._admission.take(deployment):
            await self._admission.wait(deployment)
        try:
            transaction = begin()
            try:
                return await self._read(invocation, transaction), transaction
            except IsolateLost:
                transaction = begin()
                return await self._read(invocation, transaction, alone=True), transaction
        finally:
            self._admission.give_back(deployment.name)

    async def run_within(self, invocation: Invocation, transaction: Transaction) -> Outcome:
        """Run a query or mutation inside a transaction that the caller will commit or abandon."""
        with self._admission.beneath(invocation.deployment.name):
            return await self._converse(invocation, await self._isolate(invocation), transaction)

    async def _run(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        match invocation.kind:
            case Kind.QUERY:
                return await self._run_query(invocation)
            case Kind.MUTATION:
                return await self._run_mutation(invocation, settlement)
            case Kind.ACTION:
                declared = invocation.version.functions.get(str(invocation.path))
                if declared is not None and declared.engine is not Engine.ISOLATE:
                    return await self._send_on_errand(invocation)
                return await self._converse(invocation, await self._isolate(invocation), None)
            case Kind.HTTP_ACTION:
                raise AssertionError("HTTP actions are answered, not run")

    async def _send_on_errand(self, invocation: Invocation) -> Outcome:
        size = len(invocation.args)
        if size > limits.NODE_ARGUMENT_BYTES:
            what = f"{invocation.path}: {size} bytes of arguments, limit {limits.NODE_ARGUMENT_BYTES} bytes"
            return Failed(Failure(Reason.ARGUMENTS, "LimitExceeded", f"{what} (NODE_ARGUMENT_BYTES)"))
        if self._rooms.errands is None:
            what = f'{invocation.path} stands in a module that begins with "use node": this server has no worker for it'
            return Failed(Failure(Reason.PROTOCOL, "NoWorker", what))
        return await self._rooms.errands.run(invocation)

    async def _run_query(self, invocation: Invocation) -> Outcome:
        begin, name = self._rooms.transactions.begin, invocation.deployment.name
        try:
            return await self._read(invocation, await begin(name))
        except IsolateLost:
            return await self._read(invocation, await begin(name), alone=True)

    async def _read(self, invocation: Invocation, transaction: Transaction, alone: bool = False) -> Outcome:
        """Run a query in this transaction, and end it."""
        try:
            isolate = await (self._alone(invocation) if alone else self._isolate(invocation))
            return await self._converse(invocation, isolate, transaction, alone)
        finally:
            transaction.abandon()

    async def _run_mutation(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        alone = False
        with self._turns.of(invocation) as turn:
            while True:
                try:
                    outcome = await self._attempt(invocation, alone, settlement, turn)
                except CommitConflict:
                    if not turn.may_try_again():
                        raise
                except IsolateLost:
                    if alone:
                        raise
                    alone = True
                else:
                    turn.ran()
                    return outcome

    async def _attempt(self, invocation: Invocation, alone: bool, settlement: Settlement | None, turn: Turn) -> Outcome:
        """Run a mutation once, from its snapshot to its commit."""
        transaction = await turn.begin()
        try:
            outcome = None if settlement is None else await settlement.recall(transaction)
            if outcome is not None:
                shown = transaction.position
                await turn.stand_by(transaction)
                return outcome if transaction.position == shown else _at(outcome, transaction.position)
            isolate = await (self._alone(invocation) if alone else self._isolate(invocation))
            try:
                outcome = await self._converse(invocation, isolate, transaction, alone)
            except IsolateLost:
                await turn.stand_by(transaction)  # what it died of may not have become true
                raise
            if isinstance(outcome, Succeeded) if settlement is None else settlement.record(outcome, transaction):
                await transaction.commit()
                await turn.stand_by(transaction)
                if settlement is not None:
                    settlement.committed(transaction.position)
            else:
                await turn.stand_by(transaction)
            return _at(outcome, transaction.position)
        finally:
            transaction.abandon()
            turn.end()

    async def converse(self, invocation: Invocation, isolate: Isolate, seconds: float) -> Outcome:
        """Run an action in this very process, for at most so long; raises `IsolateLost`."""
        return await self._converse(invocation, isolate, None, seconds=seconds)

    async def _converse(
        self,
        invocation: Invocation,
        isolate: Isolate,
        transaction: Transaction | None,
        alone: bool = False,
        seconds: float = _ACTION_TIME,
    ) -> Outcome:
        window = self._window(invocation, invocation.kind, str(invocation.path), transaction)
        now = transaction.now if transaction is not None else self._clock.now()
        deadline = self._clock.monotonic() + (seconds if transaction is None else _QUERY_TIME)
        wrong = await self._ids.refusal(invocation, transaction)
        if wrong is not None:
            return Failed(Failure(Reason.ARGUMENTS, "ArgumentValidationError", wrong), tuple(window.lines))
        conversation = isolate.call(invocation, window, now, deadline)
        if alone:
            isolate.retiring = True
        try:
            result = await conversation.outcome
        except asyncio.CancelledError:
            conversation.stop(self._clock.monotonic())
            raise
        if isinstance(result, Failure):
            if not invocation.depth:
                window.log(Level.ERROR, traceback_text(result))
            return Failed(result, tuple(window.lines))
        return Succeeded(result, tuple(window.lines))

    async def _isolate(self, invocation: Invocation) -> Isolate:
        isolate = self._pool.pick(invocation.deployment, invocation.version)
        return isolate or await self._pool.acquire(invocation.deployment, invocation.version)

    async def _alone(self, invocation: Invocation) -> Isolate:
        return await self._pool.alone(invocation.deployment, invocation.version)

    def _window(
        self, invocation: Invocation | HttpInvocation, kind: Kind, function: str, transaction: Transaction | None = None
    ) -> Window:
        depth, job = (invocation.depth, invocation.job) if isinstance(invocation, Invocation) else (0, "")
        caller = Caller(
            invocation.deployment,
            invocation.version,
            kind,
            invocation.request_id,
            depth,
            transaction,
            invocation.identity,
            job,
            Belongings() if transaction is None else None,
        )
        return Window(self._rooms.table, caller, function, self._rooms.logs, self._clock)


def _at(outcome: Outcome, position: int) -> Outcome:
    """The outcome of a mutation, with what it has seen or written last."""
    return Succeeded(outcome.value, outcome.lines, position) if isinstance(outcome, Succeeded) else outcome
