"""What is due in this deployment, and who does it?

One shift takes a bounded batch of what is due there, runs it side by side, and says when to come again. Whoever calls
(a worker) goes from deployment to deployment; nobody's million delays somebody else's one.

Rules
1. Never early: our own clock is looked at immediately before something runs, whoever has sent for us.
2. The newest code runs. A deployment that is paused, or has no version, keeps what is due until it has one again.
3. What went wrong for reasons of ours (no permit, a lost race) waits and is tried again without limit.
4. An action goes on after the shift that has begun it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from runtime import limits
from runtime.errors import CommitConflict, IsolateLost, NotFound, WarrenError
from runtime.execution.admission import ceiling
from runtime.execution.jobs.actions import Actions, Hands
from runtime.execution.jobs.calling import Call, Caller, Crons, Find, Runs
from runtime.execution.jobs.forgetting import forget_ended, next_to_forget
from runtime.execution.jobs.ledger import Ledger
from runtime.execution.jobs.mutations import MutationRun
from runtime.execution.jobs.waiting import until_tried_again
from runtime.invocation import Deployment
from runtime.names import DeploymentName
from runtime.ports import Agenda, Clock, Logs
from runtime.protocol.declaration import Kind
from runtime.syscalls.scheduling.duties import Duty, Pile, decode_duty, due
from runtime.syscalls.scheduling.records import Job, pile_of
from runtime.syscalls.transaction import Transaction, Transactions

log = logging.getLogger("warren")

_LOST_TWICE = "the process that ran it ended, twice: it takes more memory or time than it may have"
_NO_HANDS = 1_000.0  # ms until somebody looks again for a place to run an action
_MOST_RESTING = 10_000


class Jobs:
    """Does what is due."""

    def __init__(
        self,
        find: Find,
        runs: Runs,
        transactions: Transactions,
        agenda: Agenda,
        logs: Logs,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._find = find
        self._runs = runs
        self._transactions = transactions
        self._agenda = agenda
        self._clock = clock
        self._caller = Caller(logs, clock)
        self._ledger = Ledger(transactions, self._settled)
        self.actions = Actions(Hands(find, runs, self._ledger, self._caller, agenda, clock, chance))
        # Whoever looks after crons says so here.
        self.crons: Crons | None = None
        self._shifts: WeakValueDictionary[DeploymentName, asyncio.Lock] = WeakValueDictionary()
        self._resting: set[DeploymentName] = set()

    async def shift(self, name: DeploymentName) -> float | None:
        """Do a bounded batch of what is due there; when to come again (ms since 1970; now or past = there is more),
        ``None`` when nothing is scheduled."""
        deployment = await self._working(name)
        if deployment is None:
            return None
        # The other half of its permits is for clients.
        hands = min(int(limits.SCHEDULED_AT_ONCE), max(ceiling(deployment) // 2, 1))
        async with self._shifts.setdefault(name, asyncio.Lock()):
            await self._begin_crons(deployment)
            duties = iter(await self._due(name))
            until = self._clock.monotonic() + limits.SHIFT_TIME / 1000
            ends = await asyncio.gather(
                *[self._work(name, duties, until) for _ in range(hands)], return_exceptions=True
            )
            for end in ends:
                if end is not None:
                    raise end
            await forget_ended(self._transactions, name)
            return await self.next(name)

    async def next(self, name: DeploymentName) -> float | None:
        """The next moment when there is something to do, without doing any of it."""
        deployment = await self._working(name)
        if deployment is None:
            return None
        await self._attend_crons(deployment)
        transaction = await self._transactions.begin(name)
        try:
            moments = [await self._first(transaction, pile) for pile in Pile]
            moments.append(await next_to_forget(transaction))
            return min((moment for moment in moments if moment is not None), default=None)
        finally:
            transaction.abandon()

    def changed(self, name: DeploymentName | None) -> None:
        """Something about a deployment has changed (about any, for ``None``): what rested there may be done now."""
        for each in [name] if name is not None else list(self._resting):
            self._resting.discard(each)
            self._agenda.note(each, self._clock.now())

    async def idle(self) -> None:
        """Wait until no action runs here; who stops a worker in good time waits for it, for as long as it may."""
        await self.actions.idle()

    async def stop(self) -> None:
        """Let no action run on; what is not settled is written down as stopped."""
        await self.actions.stop()

    async def _begin_crons(self, deployment: Deployment) -> None:
        if self.crons is None:
            return
        try:
            await self.crons.begin(deployment)
        except CommitConflict:
            log.info("the crons of %s are looked at again: others wrote there meanwhile", deployment.name)

    async def _attend_crons(self, deployment: Deployment) -> None:
        if self.crons is None:
            return
        try:
            await self.crons.attend(deployment)
        except CommitConflict:
            log.info("the crons of %s are settled later: others wrote there meanwhile", deployment.name)

    # --- what is due --------------------------------------------------------------------------------------------------

    async def _working(self, name: DeploymentName) -> Deployment | None:
        deployment = await self._find(name)
        if deployment is None or (deployment.version is not None and not deployment.paused):
            return deployment
        if len(self._resting) < _MOST_RESTING:
            self._resting.add(name)
        return None

    async def _due(self, name: DeploymentName) -> list[Duty]:
        transaction = await self._transactions.begin(name)
        try:
            found = [
                decode_duty(each)
                for pile, most in self._hands_for(name)
                for each in await transaction.records(due(pile, transaction.now), most)
            ]
        finally:
            transaction.abandon()
        return sorted(found, key=lambda duty: duty.at)

    def _hands_for(self, name: DeploymentName) -> Iterator[tuple[Pile, int]]:
        yield Pile.MUTATIONS, int(limits.SHIFT_FUNCTIONS)
        if free := self.actions.free(name):
            yield Pile.ACTIONS, free

    async def _first(self, transaction: Transaction, pile: Pile) -> float | None:
        if pile is Pile.CRONS and self.crons is None:
            return None
        first = await transaction.records(due(pile), 1)
        if not first:
            return None
        at = decode_duty(first[0]).at
        if pile is Pile.ACTIONS and not self.actions.free(transaction.name):
            return max(at, transaction.now + _NO_HANDS)
        return at

    # --- one after the other ------------------------------------------------------------------------------------------

    async def _work(self, name: DeploymentName, duties: Iterator[Duty], until: float) -> None:
        for duty in duties:
            await self._see_to(name, duty)
            if self._clock.monotonic() >= until:
                return

    async def _see_to(self, name: DeploymentName, duty: Duty) -> None:
        try:
            await self._do(name, duty)
        except NotFound:
            log.info("the deployment %s is gone with what was scheduled there", name)
        except IsolateLost as lost:
            log.info("%s of %s lost its process: %s", duty.function, name, lost)
            if duty.lost:
                await self._refuse(name, duty, _LOST_TWICE)
            else:
                await self._ledger.put_off(name, duty, until_tried_again(0), lost=True)
        except WarrenError as error:
            log.info("%s of %s is put off: %s", duty.function, name, error)
            await self._ledger.put_off(name, duty, until_tried_again(duty.tries))
        except Exception:
            log.exception("%s of %s is put off", duty.function, name)
            await self._ledger.put_off(name, duty, until_tried_again(duty.tries))

    async def _do(self, name: DeploymentName, duty: Duty) -> None:
        deployment = await self._working(name)
        if deployment is None or deployment.version is None or duty.at > self._clock.now():
            return
        job = await self._ledger.look(name, duty)
        if job is None or job.ended:
            return
        if duty.token:
            await self.actions.expired(name, duty, job)
            return
        call = self._caller.prepare(deployment, deployment.version, duty, job)
        if isinstance(call, str):
            await self._refuse(name, duty, call, job)
        elif (pile := pile_of(call.invocation.kind is Kind.ACTION)) is not duty.pile:
            await self._ledger.move(name, duty, pile)
        elif pile is Pile.ACTIONS:
            await self.actions.start(call)
        else:
            await self._run(call)

    async def _run(self, call: Call) -> None:
        began = self._clock.monotonic()
        run = MutationRun(call, self._settled)
        outcome = await self._runs.settle(call.invocation, run)
        if run.ended:
            self._caller.tell(call, began, outcome)

    async def _refuse(self, name: DeploymentName, duty: Duty, error: str, job: Job | None = None) -> None:
        if await self._ledger.fail(name, duty, error):
            job = job or await self._ledger.look(name, duty)
            if job is not None:
                self._caller.tell_refusal(name, job, error)

    def _settled(self, job: Job, transaction: Transaction, request_id: str) -> None:
        if job.cron is not None and self.crons is not None:
            self.crons.settled(job, transaction, request_id)
