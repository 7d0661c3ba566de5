"""A deployment whose functions are programs of the test, with workers that do what is due there, and may die of it.

Documents, transactions, the counter, the conductor and the jobs are the house's own; what is not there is the wall. A
program is a coroutine function of a context and its arguments, like a tenant's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, cast

import msgspec

from runtime.adapters.files.memory import MemoryFiles
from runtime.adapters.logs.memory import MemoryLogs
from runtime.adapters.queue.memory_agenda import MemoryAgenda
from runtime.errors import OurMistake, Overloaded, SyscallRefused
from runtime.execution.admission import Admission
from runtime.execution.conductor import Conductor, Rooms
from runtime.execution.jobs.jobs import Jobs
from runtime.execution.window import Window
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version
from runtime.isolates.pool import Pool
from runtime.names import DeploymentName, RequestIds, VersionNumber, parse_function_path
from runtime.ports import Commit, DocumentStore, Followed, KeyRange, LogQuery, Order, Page, Snapshot, Write
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, Visibility
from runtime.protocol.messages import Failure, Reason
from runtime.sdk.context import ActionCtx, MutationCtx, QueryCtx
from runtime.sdk.functions import FunctionError, LimitExceeded
from runtime.sdk.running import Running
from runtime.syscalls import documents, functions
from runtime.syscalls.scheduling.entries import Scheduling
from runtime.syscalls.scheduling.outstanding import Outstanding
from runtime.syscalls.scheduling.overseeing import Overseer, Wanted
from runtime.syscalls.storage.entries import Storing
from runtime.syscalls.storage.room import Room
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.storage.uploads import UploadTokens
from runtime.syscalls.table import Table
from runtime.syscalls.transaction import Transactions

NAME = DeploymentName("happy-otter-123")
NOON = 1_700_000_000_000.0
Program = Callable[[Any, dict[str, Any]], Awaitable[Any]]
_RAISED: dict[str, type[Exception]] = {
    "TypeError": TypeError,
    "RuntimeError": RuntimeError,
    "LimitExceeded": LimitExceeded,
    "FunctionError": FunctionError,
}
_encode = msgspec.msgpack.Encoder().encode
_CONTEXTS: dict[Kind, Callable[[Running], Any]] = {
    Kind.QUERY: QueryCtx,
    Kind.MUTATION: MutationCtx,
    Kind.ACTION: ActionCtx,
}


def _cloud_url(name: DeploymentName) -> str:
    return f"http://{name}.cloud.localhost:3210"


class SteeredClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.milliseconds = NOON

    def now(self) -> float:
        return self.milliseconds

    def monotonic(self) -> float:
        return self.milliseconds / 1000


class Dead(Overloaded):
    """The process that wanted this is dead."""


class MortalStore:
    """A store as one process sees it. ``dies_after`` counts the commits until it dies: the last is made, and never
    acknowledged when ``unheard``, or else not made."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self.dead = False
        self.dies_after: int | None = None
        self.unheard = False

    async def snapshot(self, name: DeploymentName) -> "MortalSnapshot":
        self.breathe()
        return MortalSnapshot(self, await self._store.snapshot(name))

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        return await self._store.follow(name, listener)

    async def delete(self, name: DeploymentName) -> None:
        await self._store.delete(name)

    async def close(self) -> None:
        """It belongs to the house."""

    def breathe(self) -> None:
        if self.dead:
            raise Dead("this process is dead")


class MortalSnapshot:
    """One moment, as long as its process lives."""

    def __init__(self, mortal: MortalStore, snapshot: Snapshot) -> None:
        self._mortal = mortal
        self._snapshot = snapshot
        self.position = snapshot.position
        self.tables = snapshot.tables

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        self._mortal.breathe()
        return await self._snapshot.read(span, order, most, enough)

    async def count(self, span: KeyRange, most: int) -> int:
        self._mortal.breathe()
        return await self._snapshot.count(span, most)

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        mortal = self._mortal
        mortal.breathe()
        if mortal.dies_after is not None:
            mortal.dies_after -= 1
            if mortal.dies_after < 0:
                mortal.dead = True
                if mortal.unheard:
                    await self._snapshot.commit(reads, writes)
                raise Dead("this process has died while it committed")
        return await self._snapshot.commit(reads, writes)

    def release(self) -> None:
        self._snapshot.release()

    def share(self) -> Snapshot:
        return self._snapshot.share()


class Conversation:
    """One call of a program."""

    def __init__(self, work: Awaitable[bytes | Failure]) -> None:
        self.outcome = asyncio.ensure_future(work)

    def stop(self, now: float) -> None:
        self.outcome.cancel()


class StandIn:
    """What stands where an isolate does: it runs the programs of the test. Also the pool, of one isolate."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        self.retiring = False
        self.full = False

    def pick(self, deployment: Deployment, version: Version) -> "StandIn":
        if self.full:
            raise Overloaded("all isolates of this server are busy")
        return self

    async def alone(self, deployment: Deployment, version: Version) -> "StandIn":
        return self

    def call(self, invocation: Invocation, window: Window, now: float, deadline: float) -> Conversation:
        return Conversation(self._run(invocation, window, now))

    async def _run(self, invocation: Invocation, window: Window, now: float) -> bytes | Failure:
        async def syscall(name: str, *args: Any) -> Any:
            try:
                return values.decode_own(await window.serve(name, msgspec.Raw(_encode(args))))
            except SyscallRefused as refused:
                raise _RAISED.get(refused.exception, ValueError)(str(refused)) from None

        running = Running(invocation.kind, invocation.request_id, NAME, syscall, window.log, now)
        program = self._programs[str(invocation.path)]
        try:
            result = await program(_CONTEXTS[invocation.kind](running), values.decode(invocation.args))
            return values.encode(result)
        except OurMistake:
            raise
        except Exception as error:
            reason = Reason.ARGUMENTS if isinstance(error, KeyError) else Reason.RAISED
            return Failure(reason, type(error).__name__, str(error))
        finally:
            window.ended()


class Worker:
    """One process: it runs what a client asks for, and does what is due."""

    def __init__(self, house: "JobsHouse") -> None:
        self.store = MortalStore(house.store)
        self.pool = StandIn(house.programs)
        self.transactions = Transactions(self.store, house.clock, bytes(32), house.agenda)
        scheduling = Scheduling(self.transactions, house.outstanding).entries()
        nested = functions.Functions(lambda: self.conductor).entries()
        self.shelf, self.tokens = Shelf(house.files, self.transactions), UploadTokens(bytes(32))
        storing = Storing(self.shelf, self.transactions, self.tokens, house.room, house.clock, _cloud_url).entries()
        table = Table([*documents.ENTRIES, *nested, *scheduling, *storing])
        pool = cast(Pool, self.pool)
        self.conductor = Conductor(Rooms(pool, Admission(), table, self.transactions, house.logs, house.clock))
        self.jobs = Jobs(
            house.find, self.conductor, self.transactions, house.agenda, house.logs, house.clock, chance=lambda: 0.0
        )


class JobsHouse:
    """One deployment, its programs, and the workers that there are. ``worker`` is the first of them."""

    def __init__(self, store: DocumentStore) -> None:
        self.store = store
        self.clock = SteeredClock()
        self.agenda = MemoryAgenda()
        self.logs = MemoryLogs()
        self.outstanding = Outstanding()
        self.files = MemoryFiles()
        self.room = Room()
        self.programs: dict[str, Program] = {}
        self.kinds: dict[str, Kind] = {}
        self.paused = False
        self.deleted = False
        self._ids = RequestIds()
        self._versions = 0
        self._version = Version(VersionNumber(0), "", {}, Declaration())
        self.worker = Worker(self)

    @property
    def jobs(self) -> Jobs:
        """The first worker's."""
        return self.worker.jobs

    def function(self, path: str, kind: Kind, program: Program | None) -> None:
        """Push a version in which this function is that program, or is not there."""
        if program is None:
            del self.programs[path], self.kinds[path]
        else:
            self.programs[path] = program
            self.kinds[path] = kind
        declared = tuple(
            FunctionDeclaration(path, kind, Visibility.INTERNAL, "m.py", 1) for path, kind in self.kinds.items()
        )
        self._versions += 1
        self._version = Version(VersionNumber(self._versions), "", {}, Declaration(functions=declared))

    def mutation(self, program: Program) -> Program:
        """Push a mutation, named after the program."""
        self.function(f"m:{program.__name__}", Kind.MUTATION, program)
        return program

    def action(self, program: Program) -> Program:
        """Push an action, named after the program."""
        self.function(f"m:{program.__name__}", Kind.ACTION, program)
        return program

    async def find(self, name: DeploymentName) -> Deployment | None:
        there = name == NAME and not self.deleted
        return Deployment(NAME, self._version, {}, self.paused) if there else None

    async def call(self, path: str, args: Mapping[str, Any] | None = None) -> Any:
        """Call a function as a client does; raises `FunctionError` when it fails."""
        deployment = await self.find(NAME)
        assert deployment is not None and deployment.version is not None
        kind = self.kinds[path]
        invocation = Invocation(
            deployment,
            deployment.version,
            parse_function_path(path),
            kind,
            values.encode(dict(args or {})),
            self._ids.next(),
        )
        outcome: Outcome = await self.worker.conductor.run(invocation)
        if isinstance(outcome, Failed):
            raise FunctionError(f"{outcome.failure.exception}: {outcome.failure.message}")
        assert isinstance(outcome, Succeeded)
        return values.decode(outcome.value)

    async def schedule(self, what: str, delay: float = 0, **args: Any) -> str:
        """Have a mutation schedule a function, and return the id of its record."""
        return str(await self.call("m:schedule", {"what": what, "delay": delay, "args": args}))

    async def state(self, id: str) -> dict[str, Any]:
        """The state of a scheduled function."""
        found = {record["_id"]: record for record in await self.records()}
        return dict(found[id]["state"])

    async def shift(self) -> float | None:
        """Do one shift, and wait for the actions that it has begun."""
        again = await self.jobs.shift(NAME)
        await self.jobs.actions.idle()
        return again

    async def records(self, *states: str) -> list[dict[str, Any]]:
        """The documents of ``_scheduled_functions``, those first that were scheduled last."""
        transactions = Transactions(self.store, self.clock, bytes(32))
        return (await Overseer(transactions).page(NAME, Wanted(states), 1_000)).jobs

    async def states(self) -> list[str]:
        """The states of all that was scheduled, in the order in which that was done."""
        return [record["state"]["kind"] for record in reversed(await self.records())]

    async def lines(self, kind: str) -> list[str]:
        """What the log says."""
        return [entry.text for entry in await self.logs.read(NAME, LogQuery()) if entry.kind == kind]


def furnish(house: JobsHouse) -> None:
    """Push the functions that most tests need."""

    @house.mutation
    async def note(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.db.insert("notes", {"text": args["text"]})

    @house.mutation
    async def schedule(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.scheduler.run_after(args.get("delay", 0), args["what"], args.get("args", {}))

    @house.mutation
    async def cancel(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.cancel(args["id"])

    async def notes(ctx: Any, args: dict[str, Any]) -> Any:
        return [document["text"] for document in await ctx.db.query("notes").collect()]

    house.function("m:notes", Kind.QUERY, notes)
