"""What changes about a scheduled function while no function runs?

Small transactions: looking, putting off, taking, renewing a lease, ending. Each makes sure that nothing has changed
since the caller looked, and says so when something has.

Rules
1. Whoever is told "no" has lost nothing: somebody else has seen to it.
2. A lease is its token. Who has the token may end it; who has not may not.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from runtime import limits
from runtime.execution.jobs.calling import Settled
from runtime.names import DeploymentName
from runtime.syscalls.scheduling.duties import Duty, Pile
from runtime.syscalls.scheduling.entries import in_one
from runtime.syscalls.scheduling.records import CRON_RUNS, FAILED, SCHEDULED, Job, job_id
from runtime.syscalls.scheduling.writing import find_duty, find_job, put_duty, put_job, write_end
from runtime.syscalls.transaction import Transaction, Transactions

Change = Callable[[Transaction, Job], Job | None]


class Lease(NamedTuple):
    """Who runs an action: the token says that it is they, the request's id which run it is."""

    name: DeploymentName
    id: str
    token: str
    request_id: str = ""


class Ledger:
    """The transactions between the runs of scheduled functions."""

    def __init__(self, transactions: Transactions, settled: Settled) -> None:
        self._transactions = transactions
        self._settled = settled

    async def look(self, name: DeploymentName, duty: Duty) -> Job | None:
        """The record behind a duty, if it is still there."""
        transaction = await self._transactions.begin(name)
        try:
            return await find_job(transaction, job_id(duty.id, SCHEDULED, CRON_RUNS))
        finally:
            transaction.abandon()

    async def put_off(self, name: DeploymentName, duty: Duty, wait: float, lost: bool = False) -> bool:
        """Look at it again in ``wait`` milliseconds; ``lost`` when its isolate died with it."""

        def change(transaction: Transaction, job: Job) -> None:
            later = duty.put_off(transaction.now + wait)
            put_duty(transaction, duty, msgspec.structs.replace(later, lost=duty.lost + lost))

        return await self._unless_changed(name, duty, change) is not None

    async def move(self, name: DeploymentName, duty: Duty, pile: Pile) -> bool:
        """Let it wait in another pile: the function is of another kind than when it was scheduled."""

        def change(transaction: Transaction, job: Job) -> None:
            put_duty(transaction, duty, msgspec.structs.replace(duty, pile=pile))

        return await self._unless_changed(name, duty, change) is not None

    async def fail(self, name: DeploymentName, duty: Duty, error: str) -> bool:
        """It has failed without having been run."""
        return (
            await self._unless_changed(
                name, duty, lambda transaction, job: write_end(transaction, job, duty, FAILED, error)
            )
            is not None
        )

    async def take(self, lease: Lease, duty: Duty) -> Job | None:
        """Begin an action: from now on it is in progress, under this lease."""

        def change(transaction: Transaction, job: Job) -> Job:
            until = transaction.now + limits.SCHEDULED_LEASE
            put_duty(transaction, duty, msgspec.structs.replace(duty, at=until, token=lease.token))
            running = job.running(transaction.now)
            put_job(transaction, job, running)
            return running

        return await self._unless_changed(lease.name, duty, change)

    async def renew(self, lease: Lease) -> bool | None:
        """Say that an action still runs. ``False`` when it was ended meanwhile, ``None`` when somebody else has it."""

        async def write(transaction: Transaction) -> bool | None:
            duty = await find_duty(transaction, lease.id)
            if duty is None:
                return False
            if duty.token != lease.token:
                return None
            put_duty(transaction, duty, msgspec.structs.replace(duty, at=transaction.now + limits.SCHEDULED_LEASE))
            return True

        return await in_one(self._transactions, lease.name, write)

    async def end(self, lease: Lease, kind: str, error: str | None = None) -> bool:
        """The action that runs under this lease has ended."""
        return await self._holding(lease, lambda transaction, duty, job: write_end(transaction, job, duty, kind, error))

    async def try_again(self, lease: Lease, wait: float, begun: bool = True) -> bool:
        """Run the action under this lease again in ``wait`` milliseconds; not ``begun`` gives the attempt back."""

        def change(transaction: Transaction, duty: Duty, job: Job) -> Job:
            attempts = None if job.attempts is None else job.attempts - (not begun)
            waiting = msgspec.structs.replace(job.waiting(), attempts=attempts)
            later = duty.put_off(transaction.now + wait)
            put_duty(transaction, duty, msgspec.structs.replace(later, tries=0) if begun else later)
            put_job(transaction, job, waiting)
            return waiting

        return await self._holding(lease, change)

    async def _holding(self, lease: Lease, change: Callable[[Transaction, Duty, Job], Job]) -> bool:
        async def write(transaction: Transaction) -> bool:
            duty = await find_duty(transaction, lease.id)
            job = await find_job(transaction, job_id(lease.id, SCHEDULED, CRON_RUNS))
            if duty is None or job is None or duty.token != lease.token:
                return False
            changed = change(transaction, duty, job)
            if changed.ended:
                self._settled(changed, transaction, lease.request_id)
            return True

        return await in_one(self._transactions, lease.name, write)

    async def _unless_changed(self, name: DeploymentName, duty: Duty, change: Change) -> Job | None:
        async def write(transaction: Transaction) -> Job | None:
            if await find_duty(transaction, duty.id) != duty:
                return None
            job = await find_job(transaction, job_id(duty.id, SCHEDULED, CRON_RUNS))
            if job is None:
                return None
            changed = change(transaction, job)
            if changed is not None and changed.ended:
                self._settled(changed, transaction, "")
            return changed or job

        return await in_one(self._transactions, name, write)
