"""Which function is it now, and how is it called?

What was scheduled was a name. When it is due the newest version says what that name means. Nobody stands behind the
call: a scheduled function has no end user.

Rules
1. What cannot be called at all is a sentence: it goes into the record.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.execution.finding import find_function
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version
from runtime.names import DeploymentName, FunctionPath, InvalidName, RequestId, RequestIds, parse_function_path
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Level, Reason
from runtime.syscalls.scheduling.duties import Duty
from runtime.syscalls.scheduling.records import Job
from runtime.syscalls.settling.settlement import Settlement
from runtime.syscalls.transaction import Transaction


class Runs(Protocol):
    """Who runs functions: the conductor."""

    async def settle(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        """Run a function, a mutation together with what is settled by it."""
        ...


class Crons(Protocol):
    """Who looks after crons."""

    async def attend(self, deployment: Deployment) -> None:
        """Make sure that the crons are those of the version that is active."""
        ...

    async def begin(self, deployment: Deployment) -> int:
        """Write down a run of every cron that is due (or skip it), move its duty, and say how many were looked at."""
        ...

    def settled(self, job: Job, transaction: Transaction, request_id: str) -> None:
        """A run of a cron ends with this transaction; the id is empty where nothing ran. Awaits nothing."""
        ...


Find = Callable[[DeploymentName], Awaitable[Deployment | None]]
Settled = Callable[[Job, Transaction, str], None]


@dataclass(frozen=True, slots=True)
class Call:
    """One scheduled function, ready to be called."""

    invocation: Invocation
    duty: Duty
    job: Job

    @property
    def name(self) -> DeploymentName:
        """Whose it is."""
        return self.invocation.deployment.name


class Caller:
    """Makes calls of scheduled functions, and writes into the log how they ended."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self._logs = logs
        self._clock = clock
        self._ids = RequestIds()

    def prepare(self, deployment: Deployment, version: Version, duty: Duty, job: Job) -> Call | str:
        """The call as the newest version has it, or why there is none."""
        path = _path(job.name)
        if path is None:
            return f"{job.name[:200]!r} is not a function path"
        found = find_function(version, path, None, administrator=True)
        if isinstance(found, Failure):
            return found.message
        if found.kind is Kind.QUERY:
            return f"{path} is a query: only mutations and actions can be scheduled"
        invocation = Invocation(deployment, version, path, found.kind, bytes(job.args[0]), self._id(job), job=job.id)
        return Call(invocation, duty, job)

    def tell(self, call: Call, began: float, outcome: Outcome) -> None:
        """Write how a call ended that began at ``began`` on the monotonic clock."""
        took = (self._clock.monotonic() - began) * 1000
        invocation = call.invocation
        worked = isinstance(outcome, Succeeded)
        text = f"scheduled {invocation.kind} {invocation.path} {'done' if worked else 'failed'} in {took:.1f} ms"
        if isinstance(outcome, Failed):
            text = f"{text}: {outcome.failure.exception}"
        entry = LogEntry(
            self._clock.now(),
            Level.INFO if worked else Level.ERROR,
            text,
            kind="request",
            request_id=invocation.request_id,
            function=str(invocation.path),
            function_kind=invocation.kind,
            duration=took,
        )
        self._logs.write(call.name, entry)

    def tell_refusal(self, name: DeploymentName, job: Job, error: str) -> None:
        """Write that a scheduled function could not be called at all."""
        text = f"scheduled function {job.name[:200]} was not run: {error}"
        entry = LogEntry(
            self._clock.now(),
            Level.ERROR,
            text,
            kind="request",
            request_id=self._id(job),
            function=job.name[:200],
        )
        self._logs.write(name, entry)

    def _id(self, job: Job) -> RequestId:
        return RequestId(job.request) if job.request is not None else self._ids.next()


def words(failure: Failure) -> str:
    """What the record says of a failure."""
    if failure.reason in (Reason.ARGUMENTS, Reason.UNKNOWN) or not failure.message:
        return failure.message or failure.exception
    return f"{failure.exception}: {failure.message}"


def _path(name: str) -> FunctionPath | None:
    try:
        return parse_function_path(name)
    except InvalidName:
        return None
