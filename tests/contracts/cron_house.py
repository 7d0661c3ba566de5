"""A deployment with crons, a clock that a test moves on, and everything that does what is due, but for the isolates.

In their place stand programs of the test: what a function of the bundle would do is a coroutine here. A mutation is run
as the conductor runs it, in a transaction with what is settled by it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from runtime.adapters.logs.memory import MemoryLogs
from runtime.adapters.memory_registry import MemoryRegistry
from runtime.egress.policy import OPEN
from runtime.execution.crons.crons import Crons
from runtime.execution.crons.settling import Settling
from runtime.execution.jobs.jobs import Jobs
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import DocumentStore, LogQuery
from runtime.protocol import values
from runtime.protocol.declaration import (
    Calendar,
    CronDeclaration,
    Declaration,
    FunctionDeclaration,
    Interval,
    Kind,
    Visibility,
)
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.settling.settlement import Settlement
from runtime.syscalls.transaction import Transaction, Transactions

NAME = DeploymentName("happy-otter-123")
SECOND = 1_000.0
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000.0  # 2026-01-01T12:00:00Z
NULL = values.encode(None)

FUNCTIONS = tuple(
    FunctionDeclaration(f"jobs:{name}", kind, Visibility.INTERNAL, "jobs.py", 1)
    for name, kind in (("tick", Kind.MUTATION), ("work", Kind.ACTION))
)

Program = Callable[[Transaction | None], Awaitable[Outcome]]


class SteeredClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> float:
        """Milliseconds since 1970."""
        return self.time

    def monotonic(self) -> float:
        """Seconds."""
        return self.time / 1000


class Notes:
    """An agenda: the moments that were noted."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def note(self, name: DeploymentName, at: float) -> None:
        """See `Agenda.note`."""
        assert name == NAME
        self.moments.append(at)


def cron(name: str, schedule: Interval | Calendar, function: str = "jobs:tick", **args: object) -> CronDeclaration:
    """One cron as a bundle declares it."""
    return CronDeclaration(name, schedule, function, values.encode(args), "crons.py", 1)


def failed(message: str) -> Failed:
    """How a function ends that raises."""
    return Failed(Failure(Reason.RAISED, "ValueError", message))


class CronHouse:
    """One deployment on one store."""

    def __init__(self, store: DocumentStore) -> None:
        self.clock = SteeredClock()
        self.registry = MemoryRegistry()
        self.logs = MemoryLogs()
        self.agenda = Notes()
        self.transactions = Transactions(store, self.clock, bytes(32), self.agenda)
        settling = Settling(self.transactions, self.registry.deployments, self.registry.versions)
        self.crons = Crons(self.transactions, settling, self.logs, self.clock)
        self.jobs = self.another_worker()
        self.ran: list[tuple[float, str, object]] = []
        self.program: Program = self.nothing

    # --- the deployment -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Let there be a deployment."""
        await self.registry.deployments.create(NAME, self.clock.now())

    async def find(self, name: DeploymentName) -> Deployment | None:
        """What runs now."""
        return await self.registry.deployments.load(name)

    async def here(self) -> Deployment:
        """The deployment."""
        found = await self.find(NAME)
        assert found is not None
        return found

    async def push(self, *crons: CronDeclaration, settled: bool = True) -> VersionNumber:
        """Make a version with these crons the active one; not ``settled`` is a crash right after that."""
        declaration = Declaration(FUNCTIONS, crons=crons)
        number = await self.registry.versions.add(NAME, "", {}, declaration, self.clock.now())
        if settled:
            await self.crons.settle(NAME)
        return number

    async def pause(self, paused: bool) -> None:
        """Pause it, or let it go on."""
        if not paused:
            await self.crons.skip(NAME)
        await self.registry.deployments.update(NAME, paused=paused, concurrency=None, domains=(), egress=OPEN)

    def another_worker(self) -> Jobs:
        """One more process that does what is due."""
        jobs = Jobs(self.find, self, self.transactions, self.agenda, self.logs, self.clock)
        jobs.crons = self.crons
        return jobs

    # --- time and work ------------------------------------------------------------------------------------------------

    async def work(self) -> float | None:
        """Do what is due, until nothing is; the next moment."""
        for _ in range(20):
            following = await self.jobs.shift(NAME)
            if following is None or following > self.clock.now():
                return following
        raise AssertionError("there is always more to do")

    async def pass_time(self, milliseconds: float) -> float | None:
        """Let time pass while nobody looks, then do what is due."""
        self.clock.time += milliseconds
        return await self.work()

    async def settle(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        """See `Runs.settle`."""
        self.ran.append((self.clock.now(), str(invocation.path), values.decode(invocation.args)))
        if settlement is None:
            return await self.program(None)
        transaction = await self.transactions.begin(NAME)
        try:
            if (earlier := await settlement.recall(transaction)) is not None:
                return earlier
            outcome = await self.program(transaction)
            if settlement.record(outcome, transaction):
                await transaction.commit()
                settlement.committed(transaction.position)
            return outcome
        finally:
            transaction.abandon()

    async def nothing(self, transaction: Transaction | None) -> Outcome:
        """The program of a function that does nothing."""
        return Succeeded(NULL)

    def held(self) -> asyncio.Event:
        """Let functions run until this event is set."""
        event = asyncio.Event()

        async def wait(transaction: Transaction | None) -> Outcome:
            await event.wait()
            return Succeeded(NULL)

        self.program = wait
        return event

    # --- what is to be seen -------------------------------------------------------------------------------------------

    @property
    def times(self) -> list[float]:
        """When functions ran, in seconds after noon."""
        return [(at - NOON) / 1000 for at, _, _ in self.ran]

    async def next_runs(self) -> dict[str, float]:
        """The next run of each cron, in seconds after noon."""
        return {view.cron.name: (view.cron.next - NOON) / 1000 for view in await self.crons.look(NAME)}

    async def said(self) -> list[str]:
        """What the log says of crons."""
        entries = await self.logs.read(NAME, LogQuery())
        return [entry.text for entry in entries if entry.text.startswith("cron ")]

    async def close(self) -> None:
        """Stop what runs."""
        await self.jobs.stop()
        await self.logs.close()
