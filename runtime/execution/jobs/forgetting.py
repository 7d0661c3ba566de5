"""Which records of scheduled functions are removed? Those that ended `SCHEDULED_KEPT` ago, some at a time."""

from runtime import limits
from runtime.errors import CommitConflict
from runtime.index_keys import LAST, encode_value
from runtime.names import DeploymentName
from runtime.ports import KeyRange
from runtime.syscalls.scheduling.duties import FINISHED
from runtime.syscalls.scheduling.records import decode_job
from runtime.syscalls.scheduling.writing import put_job
from runtime.syscalls.transaction import Transaction, Transactions

_AT_ONCE = 200


async def forget_ended(transactions: Transactions, name: DeploymentName) -> None:
    """Remove some records that are too old."""
    transaction = await transactions.begin(name)
    try:
        old = KeyRange(FINISHED, FINISHED + encode_value(transaction.now - limits.SCHEDULED_KEPT) + LAST)
        for content in await transaction.records(old, _AT_ONCE):
            put_job(transaction, decode_job(content), None)
        await transaction.commit()
    except CommitConflict:
        # Somebody else has removed them.
        return
    finally:
        transaction.abandon()


async def next_to_forget(transaction: Transaction) -> float | None:
    """When the first record is to be removed, or ``None`` when there is none."""
    first = await transaction.records(KeyRange(FINISHED, FINISHED + LAST), 1)
    completed = decode_job(first[0]).completed_time if first else None
    return None if completed is None else completed + limits.SCHEDULED_KEPT
