"""How is a scheduled mutation run exactly once?

Its record is settled in the transaction of the function itself: what it wrote and that it has ended become durable
together, or neither does. Two who run the same one conflict; the second then finds it settled.

Rules
1. When it is due is looked at again here, with the clock that the function will see.
2. A function that fails leaves nothing but the record of it: what it wrote is taken back, what it read still counts.
3. While it runs it sees itself in progress.
"""

from runtime.execution.jobs.calling import Call, Settled, words
from runtime.invocation import Failed, Outcome, Succeeded
from runtime.syscalls.scheduling.records import FAILED, SUCCESS
from runtime.syscalls.scheduling.writing import find_duty, put_job, write_end
from runtime.syscalls.transaction import Transaction

_ELSEWHERE = Succeeded(b"\xc0")


class MutationRun:
    """A scheduled mutation as a `Settlement`. ``ended`` says whether it was run and settled by this one."""

    __slots__ = ("_call", "_settled", "_token", "ended")

    def __init__(self, call: Call, settled: Settled) -> None:
        self._call = call
        self._settled = settled
        self._token = 0
        self.ended = False

    async def recall(self, transaction: Transaction) -> Outcome | None:
        """See `Settlement.recall`."""
        duty, job = self._call.duty, self._call.job
        if duty.at > transaction.now or await find_duty(transaction, duty.id) != duty:
            return _ELSEWHERE
        # Whoever changes the document changes the duty: it is still as it was when the call was prepared.
        put_job(transaction, job, job.running(transaction.now))
        self._token = transaction.savepoint()
        return None

    def record(self, outcome: Outcome, transaction: Transaction) -> bool:
        """See `Settlement.record`."""
        kind, error = SUCCESS, None
        if isinstance(outcome, Failed):
            transaction.rollback(self._token)
            kind, error = FAILED, words(outcome.failure)
        ended = write_end(transaction, self._call.job.running(transaction.now), self._call.duty, kind, error)
        self._settled(ended, transaction, self._call.invocation.request_id)
        return True

    def committed(self, position: int) -> None:
        """See `Settlement.committed`."""
        self.ended = True
