"""What is known about a cron?

One record for each cron of the active version: what it runs and when next, with a duty of its own in the pile of crons.
Beside it one record for each of its last runs, and one for the deployment: whose crons these are.

Rules
1. A run that ends writes a record of its own and reads none: it can never lose against a cron that is due meanwhile.
2. Whoever changes a cron has read it in the same transaction.
3. Its duty may be later than its next run: somebody has put it off.
"""

import msgspec

from runtime import limits
from runtime.index_keys import LAST, encode, encode_value, index_prefix
from runtime.ports import KeyRange, Order
from runtime.protocol.declaration import Calendar, Interval
from runtime.syscalls.scheduling.duties import Duty, Pile, decode_duty, due
from runtime.syscalls.scheduling.writing import find_duty, put_duty
from runtime.syscalls.transaction import Transaction

CRONS = 6
"""The number of the table of crons."""

_BY_NAME = index_prefix(CRONS, 0)
_RUNS = index_prefix(CRONS, 1)
_VERSION = index_prefix(CRONS, 2)
_DUTY = "cron:"  # no id of a document begins so


class Cron(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A cron. ``next`` is in milliseconds since 1970, ``run`` the id of the last run that was begun.

    ``skipped`` counts the runs that were due before that one had ended.
    """

    name: str
    schedule: Interval | Calendar
    function: str
    args: bytes
    next: float
    run: str = ""
    skipped: int = 0


class CronRun(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One run that has ended: when it began and ended (milliseconds since 1970), and how.

    ``state`` is that of a scheduled function; ``error`` says why it failed.
    """

    cron: str
    started: float
    ended: float
    id: str
    state: str
    error: str | None
    request_id: str

    @property
    def keys(self) -> tuple[bytes]:
        """Where it stands: after those of the same cron that ended before it."""
        return (_RUNS + encode([self.cron, self.ended, self.id]),)


class _Version(msgspec.Struct, array_like=True, frozen=True, gc=False):
    number: int


_encode = msgspec.msgpack.Encoder().encode
_decode_cron = msgspec.msgpack.Decoder(Cron).decode
_decode_run = msgspec.msgpack.Decoder(CronRun).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


def _everything(prefix: bytes) -> KeyRange:
    return KeyRange(prefix, prefix + LAST)


def _key(name: str) -> bytes:
    return _BY_NAME + encode_value(name)


def cron_of(duty: Duty) -> str:
    """The name of the cron whose duty this is."""
    return duty.id.removeprefix(_DUTY)


# --- crons ------------------------------------------------------------------------------------------------------------


async def find_cron(transaction: Transaction, name: str) -> Cron | None:
    """The cron of this name."""
    found = await transaction.find_record(_key(name))
    return None if found is None else _decode_cron(found)


async def all_crons(transaction: Transaction) -> list[Cron]:
    """Every cron, by name."""
    found = []
    span = _everything(_BY_NAME)
    # A page ends early where arguments are large.
    while page := await transaction.records(span, limits.CRONS):
        found += [_decode_cron(content) for content in page]
        span = KeyRange(_key(found[-1].name) + LAST, span.upper)
    return found


async def due_crons(transaction: Transaction) -> list[Cron]:
    """Those whose next run is due."""
    duties = [decode_duty(found) for found in await transaction.records(due(Pile.CRONS, transaction.now), limits.CRONS)]
    found = [await find_cron(transaction, cron_of(duty)) for duty in duties]
    return [cron for cron in found if cron is not None]


async def put_cron(transaction: Transaction, before: Cron | None, after: Cron | None) -> None:
    """Let this be known of a cron from now on, with its duty."""
    named = before or after
    assert named is not None, "a cron is added, changed or removed"
    if before == after:
        return
    transaction.put_record(
        (_key(named.name),) if before is not None else (),
        (_key(named.name),) if after is not None else (),
        _encode(after) if after is not None else None,
    )
    id = _DUTY + named.name
    duty = Duty(Pile.CRONS, after.next, id, after.function) if after is not None else None
    put_duty(transaction, await find_duty(transaction, id), duty)


# --- what they ran ----------------------------------------------------------------------------------------------------


async def last_runs(transaction: Transaction, name: str) -> list[CronRun]:
    """The runs of a cron that are remembered, the newest first."""
    span = _everything(_RUNS + encode_value(name))
    return [_decode_run(found) for found in await transaction.records(span, limits.CRON_RUNS * 2, Order.DESCENDING)]


def put_run(transaction: Transaction, run: CronRun) -> None:
    """Remember a run that has ended."""
    if run.error is not None and len(run.error) > limits.CRON_ERROR_CHARACTERS:
        run = msgspec.structs.replace(run, error=f"{run.error[: limits.CRON_ERROR_CHARACTERS]}…")
    transaction.put_record((), run.keys, _encode(run))


async def forget_runs(transaction: Transaction, name: str, but: int) -> None:
    """Remember no more than the last few runs of a cron."""
    for run in (await last_runs(transaction, name))[but:]:
        transaction.put_record(run.keys, (), None)


# --- whose they are ---------------------------------------------------------------------------------------------------


async def settled_version(transaction: Transaction) -> int | None:
    """The number of the version whose crons these are, or ``None`` when nobody has looked yet."""
    found = await transaction.find_record(_VERSION)
    return None if found is None else _decode_version(found).number


def put_version(transaction: Transaction, before: int | None, after: int) -> None:
    """Let these be the crons of another version."""
    if before == after:
        return
    transaction.put_record((_VERSION,) if before is not None else (), (_VERSION,), _encode(_Version(after)))
