"""Are the records those of the active version?

Whoever has made another version the active one says `settle` afterwards, and whoever looks for what is due says it by
the way, in case that somebody died in between. What is asked for twice is done once.

Rules
1. A cron keeps its next run as long as its schedule stays what it is, also when it runs something else from now on.
2. A cron that is new, or has another schedule, runs as if it were deployed for the first time.
3. One that is gone does not run any more; a run of it that has begun finishes.
4. Two who settle for two versions at once end with the crons of the one that is active.
"""

import functools
from collections.abc import Sequence

from runtime.execution.crons import calendars
from runtime.index_keys import LAST, index_prefix
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import Deployments, KeyRange, Versions
from runtime.protocol.declaration import CronDeclaration
from runtime.syscalls.scheduling.cron_records import (
    Cron,
    all_crons,
    forget_runs,
    put_cron,
    put_version,
    settled_version,
)
from runtime.syscalls.scheduling.entries import in_one
from runtime.syscalls.scheduling.records import CRON_RUNS, decode_job
from runtime.syscalls.schemas.catalog import BY_CREATION_TIME
from runtime.syscalls.transaction import Transaction, Transactions

_BY_TIME = index_prefix(CRON_RUNS, BY_CREATION_TIME)
_RUNNING = KeyRange(_BY_TIME, _BY_TIME + LAST)
_MOST_RUNNING = 1_000


class Settling:
    """Keeps the records of crons in step with the versions."""

    def __init__(self, transactions: Transactions, deployments: Deployments, versions: Versions) -> None:
        self._transactions = transactions
        self._deployments = deployments
        self._versions = versions

    async def settle(self, name: DeploymentName) -> None:
        """Let the crons of a deployment be those of its active version; raises `CommitConflict`."""
        while (active := await self._active(name)) is not None:
            transaction = await self._transactions.begin(name)
            try:
                if await settled_version(transaction) == active:
                    return
            finally:
                transaction.abandon()
            declaration = await self._versions.declaration(name, active)
            if declaration is None:
                return  # dropped a moment ago: it is not the active one any more
            settle = functools.partial(_settle, version=active, declared=declaration.crons)
            await in_one(self._transactions, name, settle)

    async def _active(self, name: DeploymentName) -> VersionNumber | None:
        summary = await self._deployments.summary(name)
        return None if summary is None else summary.active


async def _settle(transaction: Transaction, version: int, declared: Sequence[CronDeclaration]) -> None:
    put_version(transaction, await settled_version(transaction), version)
    there = {cron.name: cron for cron in await all_crons(transaction)}
    running = await _running(transaction) if declared else {}
    for each in declared:
        before = there.pop(each.name, None)
        if before is not None and before.schedule == each.schedule:
            following = before.next
        else:
            following = _first_run(each, transaction.now)
        # A cron that was gone for a while may still be running.
        run = running.get(each.name, "") if before is None else before.run
        skipped = before.skipped if before is not None else 0
        after = Cron(each.name, each.schedule, each.function, each.args, following, run, skipped)
        await put_cron(transaction, before, after)
    for gone in there.values():
        await put_cron(transaction, gone, None)
        await forget_runs(transaction, gone.name, but=0)


def _first_run(cron: CronDeclaration, now: float) -> float:
    try:
        return calendars.first_run(cron.schedule, now)
    except calendars.UnknownSchedule:
        return now  # looked over long ago, and zones are renamed: who begins it says so


async def _running(transaction: Transaction) -> dict[str, str]:
    """The runs that have not ended, by the name of their cron."""
    jobs = [decode_job(found) for found in await transaction.records(_RUNNING, _MOST_RUNNING)]
    return {job.cron: job.id for job in jobs if job.cron is not None}
