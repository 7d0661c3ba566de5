"""How many functions of a deployment have not ended yet?

A counter among the documents would make everybody who schedules conflict with everybody else. So the duties are counted
now and then, and what this process adds in between is added up in memory.

Rules
1. Each process counts again after it has added ``_RECOUNT``; past the limit, at most every ten seconds. So there
   may be up to ``_RECOUNT`` more than the limit for each further process, and what ended a little ago may still count.
2. What is added and then rolled back counts until the next look.
3. Nothing is read by the transaction for it: it cannot lose by it.
"""

from collections import OrderedDict

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.syscalls.scheduling.duties import OUTSTANDING
from runtime.syscalls.transaction import Transaction

_RECOUNT = 10_000
_AGAIN = 10_000.0  # ms; a million take a while
_REMEMBERED = 10_000


class _Estimate:
    __slots__ = ("added", "at", "counted")

    def __init__(self, counted: int, at: float) -> None:
        self.counted = counted
        self.added = 0
        self.at = at


class Outstanding:
    """What is known of every deployment that schedules here."""

    def __init__(self, most: int = limits.SCHEDULED_OUTSTANDING, recount: int = _RECOUNT) -> None:
        self._most = most
        self._recount = recount
        self._estimates: OrderedDict[DeploymentName, _Estimate] = OrderedDict()

    async def admit(self, transaction: Transaction) -> None:
        """Count one more; raise `SyscallRefused` when there are too many."""
        estimate = self._estimates.get(transaction.name)
        if estimate is None or self._is_stale(estimate, transaction.now):
            estimate = await self._look(transaction)
        if estimate.counted + estimate.added >= self._most:
            raise SyscallRefused(
                f"{estimate.counted + estimate.added} scheduled functions of this deployment have not ended, limit "
                f"SCHEDULED_OUTSTANDING is {self._most}: schedule more when some have, or do more in each",
                "LimitExceeded",
            )
        estimate.added += 1

    def _is_stale(self, estimate: _Estimate, now: float) -> bool:
        if estimate.counted + estimate.added >= self._most:
            return abs(now - estimate.at) >= _AGAIN
        return estimate.added >= self._recount

    async def _look(self, transaction: Transaction) -> _Estimate:
        counted = await transaction.count(OUTSTANDING, self._most)
        estimate = self._estimates[transaction.name] = _Estimate(counted, transaction.now)
        self._estimates.move_to_end(transaction.name)
        if len(self._estimates) > _REMEMBERED:
            self._estimates.popitem(last=False)
        return estimate
