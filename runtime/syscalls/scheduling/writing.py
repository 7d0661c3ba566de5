"""How does a record begin, wait and end?

Every change of a scheduled function's document, together with its duty, in whoever's transaction. Decides nothing.

Rules
1. What is changed was read in this transaction, or its duty was: who changes a document changes its duty.
2. Beginning reads nothing, so scheduling never makes anybody lose.
"""

from msgspec import Raw

from runtime.document_ids import DocumentId
from runtime.names import FunctionPath
from runtime.syscalls.scheduling.duties import Duty, Pile, decode_duty, duty_key, encode_duty
from runtime.syscalls.scheduling.records import (
    CANCELED,
    CRON_RUNS,
    PENDING,
    SCHEDULED,
    Job,
    RetryTerms,
    State,
    decode_job,
    encode_job,
)
from runtime.syscalls.schemas.catalog import id_key
from runtime.syscalls.transaction import Transaction


async def find_job(transaction: Transaction, id: DocumentId) -> Job | None:
    """The scheduled function with this id."""
    found = await transaction.find_record(id_key(id))
    return None if found is None else decode_job(found)


async def find_duty(transaction: Transaction, id: str) -> Duty | None:
    """When somebody has to look at it; ``None`` when it has ended."""
    found = await transaction.find_record(duty_key(id))
    return None if found is None else decode_duty(found)


def new_job(
    transaction: Transaction,
    path: FunctionPath,
    args: bytes,
    at: float,
    retry: RetryTerms | None = None,
    cron: str | None = None,
) -> Job:
    """A function to be run at ``at`` (milliseconds since 1970), not written down yet; ``args`` is an encoded dict."""
    id, created = transaction.new_document(SCHEDULED if cron is None else CRON_RUNS)
    attempts = None if retry is None else 0
    return Job(id.text, created, str(path), (Raw(args),), at, State(PENDING), retry=retry, attempts=attempts, cron=cron)


def write_pending(transaction: Transaction, job: Job, pile: Pile) -> None:
    """Let it be run when it is due, once this is committed."""
    put_job(transaction, None, job)
    put_duty(transaction, None, Duty(pile, job.scheduled_time, job.id, job.name))


def write_canceled(transaction: Transaction, job: Job) -> None:
    """Write down a function that will never run."""
    put_job(transaction, None, job.done(CANCELED, transaction.now))


def write_again(transaction: Transaction, job: Job, pile: Pile) -> None:
    """Let one that has ended be run again, now, with as many attempts as at first."""
    assert job.ended
    put_job(transaction, job, job.waiting(afresh=True))
    put_duty(transaction, None, Duty(pile, transaction.now, job.id, job.name))


def write_end(transaction: Transaction, job: Job, duty: Duty | None, kind: str, error: str | None = None) -> Job:
    """Let it have ended, in this state."""
    ended = job.done(kind, transaction.now, error)
    put_job(transaction, job, ended)
    put_duty(transaction, duty, None)
    return ended


def put_job(transaction: Transaction, before: Job | None, after: Job | None) -> None:
    """Let its document be this from now on."""
    transaction.put_record(
        before.keys if before is not None else (),
        after.keys if after is not None else (),
        encode_job(after) if after is not None else None,
    )


def put_duty(transaction: Transaction, before: Duty | None, after: Duty | None) -> None:
    """Let its duty be this from now on."""
    if before is not None or after is not None:
        transaction.put_record(
            before.keys if before is not None else (),
            after.keys if after is not None else (),
            encode_duty(after) if after is not None else None,
        )
