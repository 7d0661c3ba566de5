"""How is a scheduled action run at most once?

One transaction takes it: in progress, under a lease with a token of ours. Then it runs, in a task of its own, while the
lease is renewed; then one transaction settles it if the token is still there. A lease that ran out means that its
worker is gone: the action has failed, or is tried again where ``retry=`` asked for it.

Rules
1. Nothing is run that was not taken, and nothing is taken that is in progress.
2. What could not be begun (no permit, no isolate) is given back and costs no attempt.
3. An action that was cancelled runs on; one whose lease somebody else has is stopped.
4. Its end is told until it is written down, for as long as the lease can be renewed.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from runtime import limits
from runtime.errors import CallerMistake, IsolateLost, Overloaded, TooManyRequests, WarrenError
from runtime.execution.jobs.calling import Call, Caller, Find, Runs, words
from runtime.execution.jobs.ledger import Lease, Ledger
from runtime.execution.jobs.waiting import until_next_attempt, until_tried_again
from runtime.invocation import Failed, Outcome
from runtime.names import DeploymentName
from runtime.ports import Agenda, Clock
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.scheduling.duties import Duty
from runtime.syscalls.scheduling.records import FAILED, SUCCESS, Job

log = logging.getLogger("warren")

WORKER_GONE = "the worker that ran it is gone"
_STOPPED = Failed(Failure(Reason.TIME, "WorkerStopped", "the worker that ran it was stopped"))
_OURS = "the server could not run it; its log says why"
_FINAL = frozenset({Reason.ARGUMENTS, Reason.UNKNOWN})
_RENEWALS = 3  # in the time of one lease
_TOLD_AGAIN = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # seconds


@dataclass(frozen=True, slots=True)
class Hands:
    """What runs actions, and what chance and waiting are."""

    find: Find
    runs: Runs
    ledger: Ledger
    caller: Caller
    agenda: Agenda
    clock: Clock
    chance: Callable[[], float]
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


class Actions:
    """The scheduled actions that this process runs."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._running: Counter[DeploymentName] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def free(self, name: DeploymentName) -> int:
        """How many more actions of a deployment may be begun here now."""
        return 0 if self._stopping else max(limits.SCHEDULED_ACTIONS - self._running[name], 0)

    async def start(self, call: Call) -> None:
        """Take an action that is due, and let it run; this returns when it is taken, or was not ours to take."""
        if not self.free(call.name):
            return
        self._running[call.name] += 1
        lease = Lease(call.name, call.job.id, secrets.token_hex(8), call.invocation.request_id)
        job = None
        try:
            job = await self._hands.ledger.take(lease, call.duty)
        finally:
            if job is None:
                self._leave(call.name)
        if job is not None:
            run = _Run(self._hands, Call(call.invocation, call.duty, job), lease)
            task = self._tasks[lease.token] = asyncio.get_running_loop().create_task(run.go())
            task.add_done_callback(lambda done: self._done(lease, done))

    async def expired(self, name: DeploymentName, duty: Duty, job: Job) -> None:
        """The lease of a running action has run out: its worker is gone, unless it is this one and only late."""
        lease = Lease(name, duty.id, duty.token)
        if duty.token in self._tasks:
            await self._hands.ledger.renew(lease)
        elif await end_attempt(self._hands, lease, job, WORKER_GONE):
            self._hands.caller.tell_refusal(name, job, WORKER_GONE)

    async def idle(self) -> None:
        """Wait until nothing runs here."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        """Stop what runs, and write down that it was stopped."""
        self._stopping = True
        for task in list(self._tasks.values()):
            task.cancel()
        await self.idle()

    def _done(self, lease: Lease, task: asyncio.Task[None]) -> None:
        del self._tasks[lease.token]
        self._leave(lease.name)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a scheduled action of %s could not be settled", lease.name, exc_info=error)
        # Somebody may be waiting for the place.
        self._hands.agenda.note(lease.name, self._hands.clock.now())

    def _leave(self, name: DeploymentName) -> None:
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]


async def end_attempt(hands: Hands, lease: Lease, job: Job, error: str, final: bool = False) -> bool:
    """One attempt of an action has failed: it is tried again, or has failed for good."""
    terms = job.retry
    if not final and terms is not None and job.attempts is not None and job.attempts < terms.max_attempts:
        return await hands.ledger.try_again(lease, until_next_attempt(terms, max(job.attempts, 1), hands.chance))
    return await hands.ledger.end(lease, FAILED, error)


class _Run:
    """One action that was taken."""

    def __init__(self, hands: Hands, call: Call, lease: Lease) -> None:
        self._hands = hands
        self._call = call
        self._lease = lease

    async def go(self) -> None:
        """Run it, under its lease, and settle it."""
        task = asyncio.current_task()
        assert task is not None, "it was started as one"
        renewing = asyncio.get_running_loop().create_task(self._renew(task))
        outcome: Outcome | None = _STOPPED
        try:
            outcome = await self._run()
            await self._settle(outcome)
        except asyncio.CancelledError:
            # With its worker, or because somebody else has the lease; then there is nothing to tell.
            with suppress(WarrenError):
                await self._tell(outcome)
            raise
        finally:
            renewing.cancel()

    async def _run(self) -> Outcome | None:
        """How it ended; ``None`` when it could not be begun."""
        began = self._hands.clock.monotonic()
        try:
            outcome = await self._hands.runs.settle(self._call.invocation, None)
        except (TooManyRequests, Overloaded):
            return None
        except IsolateLost as lost:
            log.info("a scheduled action of %s lost its process: %s", self._call.name, lost)
            outcome = Failed(Failure(Reason.MEMORY, "IsolateLost", "the process that ran it ended"))
        except WarrenError as error:
            # Said now, and not when a lease runs out that nobody holds.
            log.warning("a scheduled action of %s failed: %s", self._call.name, error)
            said = str(error) if isinstance(error, CallerMistake) else _OURS
            outcome = Failed(Failure(Reason.PROTOCOL, error.code, said))
        self._hands.caller.tell(self._call, began, outcome)
        return outcome

    async def _settle(self, outcome: Outcome | None) -> None:
        for wait in _TOLD_AGAIN:
            try:
                return await self._tell(outcome)
            except WarrenError as error:
                log.warning("the end of a scheduled action of %s is not written yet: %s", self._call.name, error)
            await self._hands.pause(wait)
        await self._tell(outcome)

    async def _tell(self, outcome: Outcome | None) -> None:
        hands, lease = self._hands, self._lease
        if await hands.find(lease.name) is None:
            return  # deleted, with all of its records
        if outcome is None:
            await hands.ledger.try_again(lease, until_tried_again(self._call.duty.tries), begun=False)
        elif isinstance(outcome, Failed):
            final = outcome.failure.reason in _FINAL
            await end_attempt(hands, lease, self._call.job, words(outcome.failure), final)
        else:
            await hands.ledger.end(lease, SUCCESS)

    async def _renew(self, task: "asyncio.Task[None]") -> None:
        while True:
            await self._hands.pause(limits.SCHEDULED_LEASE / 1000 / _RENEWALS)
            try:
                if await self._hands.find(self._lease.name) is None:
                    return
                held = await self._hands.ledger.renew(self._lease)
            except WarrenError as error:
                log.warning("the lease of a scheduled action of %s is not renewed: %s", self._call.name, error)
                continue
            except Exception:
                # Whatever it was: an action that runs must not be taken for one whose worker is gone.
                log.exception("the lease of a scheduled action of %s is not renewed", self._call.name)
                continue
            if held is None:
                task.cancel()
            if not held:
                return
