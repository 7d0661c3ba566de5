"""What happens when a cron is due, and what can be seen and done about it?

A cron that is due becomes the record of a run, which is run like any scheduled function: a mutation exactly once, an
action at most once. Knows no worker and no queue: `execution/jobs` says what is due and what has ended.

Rules
1. The run and the cron's next time are written in one transaction; so is that a run is skipped.
2. There is at most one run of a cron at a time. One that would begin before the last has ended is skipped.
3. A run that is late by more than `CRON_LATENESS` is skipped, and of several that are due only the last is run.
4. What is skipped is said in the deployment's log, with the number and the reason.
5. While a deployment is paused nothing is looked at; before it goes on, what was due meanwhile is skipped.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from runtime import limits
from runtime.errors import Conflict, NotFound
from runtime.execution.crons.calendars import COUNTED, UnknownSchedule, beat
from runtime.execution.crons.settling import Settling
from runtime.invocation import Deployment
from runtime.names import DeploymentName, RequestIds, parse_function_path
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level
from runtime.syscalls.scheduling.cron_records import (
    Cron,
    CronRun,
    all_crons,
    due_crons,
    find_cron,
    forget_runs,
    last_runs,
    put_cron,
    put_run,
    settled_version,
)
from runtime.syscalls.scheduling.entries import in_one
from runtime.syscalls.scheduling.records import CRON_RUNS, Job, job_id, pile_of
from runtime.syscalls.scheduling.writing import find_job, new_job, put_job, write_pending
from runtime.syscalls.transaction import Transaction, Transactions

_A_DAY = 86_400_000.0  # ms


class CronView(NamedTuple):
    """A cron as operators see it: ``running`` has not ended, ``runs`` are the last that have, the newest first."""

    cron: Cron
    running: Job | None
    runs: Sequence[CronRun]


class Crons:
    """The crons of every deployment."""

    def __init__(self, transactions: Transactions, settling: Settling, logs: Logs, clock: Clock) -> None:
        self._transactions = transactions
        self._settling = settling
        self._logs = logs
        self._clock = clock
        self._ids = RequestIds()

    # --- for whoever does what is due ---------------------------------------------------------------------------------

    async def attend(self, deployment: Deployment) -> None:
        """Let the crons be those of the active version, where somebody has died before they were."""
        transaction = await self._transactions.begin(deployment.name)
        try:
            settled = await settled_version(transaction)
        finally:
            transaction.abandon()
        if deployment.version is not None and settled != deployment.version.number:
            await self.settle(deployment.name)

    async def begin(self, deployment: Deployment) -> int:
        """Begin the runs that are due, or skip them, and say how many crons were looked at; raises `CommitConflict`."""
        said: list[tuple[Cron, list[str]]] = []

        async def look(transaction: Transaction) -> None:
            said.clear()
            for cron in await due_crons(transaction):
                said.append((cron, await self._begin_or_skip(transaction, deployment, cron)))

        await in_one(self._transactions, deployment.name, look)
        self._say(deployment.name, said)
        return len(said)

    def settled(self, job: Job, transaction: Transaction, request_id: str) -> None:
        """A run ends with this transaction: it is remembered in another place. The id is empty where nothing ran."""
        if job.cron is None:
            return
        ended = max(self._clock.now(), transaction.now)
        started = job.started if job.started is not None else ended
        # Also of what was begun and lost, lines may be in the log.
        request = job.request or request_id
        put_run(transaction, CronRun(job.cron, started, ended, job.id, job.state.kind, job.state.error, request))
        put_job(transaction, job, None)

    # --- for whoever changes the deployment ---------------------------------------------------------------------------

    async def settle(self, name: DeploymentName) -> None:
        """Let the crons of a deployment be those of its active version; raises `CommitConflict`."""
        await self._settling.settle(name)

    async def skip(self, name: DeploymentName) -> None:
        """Skip what was due while the deployment was paused."""
        said: list[tuple[Cron, list[str]]] = []

        async def look(transaction: Transaction) -> None:
            said.clear()
            for cron in await due_crons(transaction):
                with suppress(UnknownSchedule):  # it is due, and whoever begins it then says so
                    now = beat(cron.schedule, cron.next, transaction.now)
                    await put_cron(transaction, cron, msgspec.structs.replace(cron, next=now.following))
                    said.append((cron, [f"{_skipped(now.runs)} while the deployment was paused"]))

        await in_one(self._transactions, name, look)
        self._say(name, said)

    # --- for operators ------------------------------------------------------------------------------------------------

    async def look(self, name: DeploymentName) -> list[CronView]:
        """Every cron, by name."""
        transaction = await self._transactions.begin(name)
        try:
            views = []
            for cron in await all_crons(transaction):
                runs = (await last_runs(transaction, cron.name))[: limits.CRON_RUNS]
                views.append(CronView(cron, await _running(transaction, cron), runs))
            return views
        finally:
            transaction.abandon()

    async def run_now(self, deployment: Deployment, name: str) -> Job:
        """Begin a run that no clock asked for; raise `NotFound`, or `Conflict` when one has not ended."""

        async def write(transaction: Transaction) -> Job:
            cron = await find_cron(transaction, name)
            if cron is None:
                raise NotFound(f"there is no cron {name[:80]!r}: `warren crons list` shows those of the active version")
            running = await _running(transaction, cron)
            if running is not None:
                raise Conflict(f"cron {name!r} has a run that has not ended ({running.state.kind}): one at a time")
            return await self._begin(transaction, deployment, cron, transaction.now, cron.next)

        return await in_one(self._transactions, deployment.name, write)

    # --- one cron -----------------------------------------------------------------------------------------------------

    async def _begin_or_skip(self, transaction: Transaction, deployment: Deployment, cron: Cron) -> list[str]:
        try:
            now = beat(cron.schedule, cron.next, transaction.now)
        except UnknownSchedule as error:
            # It was looked at when it was pushed; but zones are renamed.
            await put_cron(transaction, cron, msgspec.structs.replace(cron, next=transaction.now + _A_DAY))
            return [f"cannot run any more, change it and push again: {error}"]
        if await _running(transaction, cron) is not None:
            skipped = cron.skipped + now.runs
            await put_cron(transaction, cron, msgspec.structs.replace(cron, next=now.following, skipped=skipped))
            # Once for all that are skipped for the same reason; their number is said when it runs again.
            return [] if cron.skipped else [f"{_skipped(now.runs)}: the run before has not ended"]
        if transaction.now - now.last > limits.CRON_LATENESS:
            await put_cron(transaction, cron, msgspec.structs.replace(cron, next=now.following, skipped=0))
            return _words(cron, now.runs)
        await self._begin(transaction, deployment, cron, now.last, now.following)
        return _words(cron, now.runs - 1)

    async def _begin(
        self, transaction: Transaction, deployment: Deployment, cron: Cron, at: float, following: float
    ) -> Job:
        """Write down a run; the one before has ended."""
        function = deployment.version.functions.get(cron.function) if deployment.version is not None else None
        job = new_job(transaction, parse_function_path(cron.function), cron.args, at, cron=cron.name)
        job = msgspec.structs.replace(job, request=self._ids.next())
        # A function that is gone fails in either pile.
        write_pending(transaction, job, pile_of(function is not None and function.kind is Kind.ACTION))
        await put_cron(transaction, cron, msgspec.structs.replace(cron, next=following, run=job.id, skipped=0))
        await forget_runs(transaction, cron.name, but=limits.CRON_RUNS - 1)
        return job

    def _say(self, name: DeploymentName, said: Iterable[tuple[Cron, Sequence[str]]]) -> None:
        for cron, words in said:
            for text in words:
                entry = LogEntry(self._clock.now(), Level.WARN, f"cron {cron.name!r}: {text}", function=cron.function)
                self._logs.write(name, entry)


async def _running(transaction: Transaction, cron: Cron) -> Job | None:
    """The run that has not ended; one that has is kept elsewhere."""
    return await find_job(transaction, job_id(cron.run, CRON_RUNS)) if cron.run else None


def _words(cron: Cron, missed: int) -> list[str]:
    words = []
    if cron.skipped > 1:
        words.append(f"{_skipped(cron.skipped)} until the run before had ended")
    if missed:
        words.append(f"{_skipped(missed)}: nobody was there to run it when it was due")
    return words


def _skipped(runs: int) -> str:
    if runs == 1:
        return "a run was skipped"
    return f"{runs} runs were skipped" if runs != COUNTED else f"{COUNTED} runs or more were skipped"
