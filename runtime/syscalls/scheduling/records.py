"""What is a scheduled function, as its tenant sees it?

A document of ``_scheduled_functions``, in the shape that Convex's tools know: ``name``, ``args`` (a list with one
object), ``scheduledTime``, ``state``, ``completedTime``. With ``retry=`` also ``retry`` and ``attempts``. The runs of
crons are documents of the same shape, of a table of their own that no tenant sees, with the name of their ``cron``.

Rules
1. ``name`` is the function's path as it is written everywhere here: ``messages:send``.
2. Arguments are carried unread.
3. What has ended stands in one more index, by when, for as long as it is kept.
"""

from typing import Any

import msgspec

from runtime.document_ids import DocumentId, parse_document_id
from runtime.errors import SyscallRefused
from runtime.index_keys import encode, encode_value, index_prefix
from runtime.syscalls.scheduling.duties import FINISHED, Pile
from runtime.syscalls.schemas.catalog import BY_CREATION_TIME, id_key
from runtime.syscalls.schemas.document_types import SYSTEM_TABLES

SCHEDULED = SYSTEM_TABLES["_scheduled_functions"]
CRON_RUNS = 5

PENDING, IN_PROGRESS, SUCCESS, FAILED, CANCELED = "pending", "inProgress", "success", "failed", "canceled"
STATES = (PENDING, IN_PROGRESS, SUCCESS, FAILED, CANCELED)
ENDED = frozenset({SUCCESS, FAILED, CANCELED})

_ERROR_CHARACTERS = 4_000


class State(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a scheduled function stands; ``error`` when it failed."""

    kind: str
    error: str | None = None


class RetryTerms(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """How often an action is tried, and how long to wait in between (milliseconds)."""

    max_attempts: int
    backoff: float
    max_backoff: float
    jitter: float


class Job(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A scheduled function. Times are milliseconds since 1970. Runs of crons know their request and start."""

    id: str = msgspec.field(name="_id")
    creation_time: float = msgspec.field(name="_creationTime")
    name: str
    args: tuple[msgspec.Raw]
    scheduled_time: float = msgspec.field(name="scheduledTime")
    state: State
    completed_time: float | None = msgspec.field(name="completedTime", default=None)
    retry: RetryTerms | None = None
    attempts: int | None = None
    cron: str | None = None
    request: str | None = None
    started: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state.kind in ENDED

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Where its document stands."""
        id = parse_document_id(self.id)
        assert id is not None, "ids of the house are ids"
        tail = encode_value(self.creation_time) + encode_value(id.random)
        keys = (id_key(id), index_prefix(id.table, BY_CREATION_TIME) + tail)
        if self.completed_time is None:
            return keys
        return (*keys, FINISHED + encode([self.completed_time, id.random]))

    def waiting(self, afresh: bool = False) -> "Job":
        """The same, to be run once more; ``afresh`` forgets the attempts."""
        attempts = 0 if afresh and self.attempts is not None else self.attempts
        return msgspec.structs.replace(self, state=State(PENDING), completed_time=None, attempts=attempts)

    def running(self, at: float) -> "Job":
        """The same, while it runs, since this moment."""
        attempts = None if self.attempts is None else self.attempts + 1
        started = None if self.cron is None else at
        return msgspec.structs.replace(self, state=State(IN_PROGRESS), attempts=attempts, started=started)

    def done(self, kind: str, at: float, error: str | None = None) -> "Job":
        """The same, ended."""
        if error is not None and len(error) > _ERROR_CHARACTERS:
            error = f"{error[:_ERROR_CHARACTERS]}… ({len(error) - _ERROR_CHARACTERS} more characters)"
        return msgspec.structs.replace(self, state=State(kind, error), completed_time=at)


encode_job = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode


def job_id(text: Any, *tables: int) -> DocumentId:
    """The id of a scheduled function; raise `SyscallRefused` when it is none."""
    parsed = parse_document_id(text) if type(text) is str else None
    if parsed is None or parsed.table not in (tables or (SCHEDULED,)):
        raise SyscallRefused(f"{str(text)[:80]!r} is not the id of a scheduled function")
    return parsed


def pile_of(is_action: bool) -> Pile:
    """Where it waits."""
    return Pile.ACTIONS if is_action else Pile.MUTATIONS
