"""What does the house need from outside?

Small protocols; the adapters stand in `adapters/`. The memory adapter of each port is its executable specification, and
one conformance suite in `tests/contracts/` runs on every adapter.

Rules
1. A port speaks in values of this house (`names`, `invocation`), never in rows, keys or exceptions of a library.
2. A method that changes something has changed it durably when it returns, or has changed nothing when it raises.
3. Nothing here is asked for twice per request: what the hot path needs is remembered by `execution/directory.py`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from runtime.invocation import Deployment
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.protocol.declaration import Declaration, Kind
from runtime.protocol.messages import Level


class Clock(Protocol):
    """What time it is."""

    def now(self) -> float:
        """Milliseconds since 1970, with their fraction."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...


# --- the counter as a conversation sees it ----------------------------------------------------------------------------


class Desk(Protocol):
    """Who serves one invocation's syscalls and takes its log lines. Made anew for each invocation."""

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        """Serve one syscall and return the encoded result; raise `SyscallRefused` when it cannot be had."""
        ...

    def log(self, level: Level, text: str) -> None:
        """Keep one log line of this invocation."""
        ...


# --- deployments ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeploymentSummary:
    """A deployment without its code: what lists show. Times are milliseconds since 1970."""

    name: DeploymentName
    created_at: float
    paused: bool
    concurrency: int | None
    domains: tuple[str, ...]
    active: VersionNumber | None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version without its files."""

    number: VersionNumber
    sha256: str
    created_at: float
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class KeySummary:
    """A deploy key without its secret."""

    id: str
    name: str
    created_at: float


class Deployments(Protocol):
    """The registry of deployments."""

    async def create(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment; raise `Conflict` when the name is taken (or was deleted and keeps its name)."""
        ...

    async def load(self, name: DeploymentName) -> Deployment | None:
        """The deployment as it is now, with its active version's files and its environment, or ``None``."""
        ...

    async def by_domain(self, domain: str) -> DeploymentName | None:
        """Whose custom domain this is (lower case, no port)."""
        ...

    async def summaries(self) -> Sequence[DeploymentSummary]:
        """Every deployment, by name."""
        ...

    async def summary(self, name: DeploymentName) -> DeploymentSummary | None:
        """One deployment without its code, or ``None``."""
        ...

    async def update(
        self, name: DeploymentName, *, paused: bool, concurrency: int | None, domains: Sequence[str]
    ) -> None:
        """Replace what an operator may choose; raise `Conflict` when a domain belongs to another deployment."""
        ...

    async def delete(self, name: DeploymentName) -> None:
        """Remove it with its versions, environment and keys; raise `NotFound`."""
        ...


class Versions(Protocol):
    """The pushed bundles of every deployment."""

    async def add(
        self,
        name: DeploymentName,
        sha256: str,
        bundle: Mapping[str, bytes],
        declaration: Declaration,
        created_at: float,
    ) -> VersionNumber:
        """Keep a bundle, number it, make it active: all of it or nothing. Drops the oldest past the limit."""
        ...

    async def activate(self, name: DeploymentName, number: VersionNumber) -> None:
        """Make an older version the active one; raise `NotFound`."""
        ...

    async def summaries(self, name: DeploymentName) -> Sequence[VersionSummary]:
        """Every version kept, newest first."""
        ...

    async def declaration(self, name: DeploymentName, number: VersionNumber) -> Declaration | None:
        """What a version that is kept declared."""
        ...


class Variables(Protocol):
    """The environment of every deployment."""

    async def all(self, name: DeploymentName) -> Mapping[str, str]:
        """Every variable."""
        ...

    async def set(self, name: DeploymentName, changes: Mapping[str, str | None]) -> None:
        """Set those with a value, remove those with ``None``: all of them or nothing."""
        ...


class Keys(Protocol):
    """Deploy keys, by the hash of their secret. No secret is ever kept."""

    async def add(self, name: DeploymentName, key: KeySummary, secret_hash: bytes) -> None:
        """Keep a key."""
        ...

    async def find(self, name: DeploymentName, secret_hash: bytes) -> KeySummary | None:
        """The key with this hash, if this deployment has it."""
        ...

    async def all(self, name: DeploymentName) -> Sequence[KeySummary]:
        """Every key, oldest first."""
        ...

    async def remove(self, name: DeploymentName, id: str) -> None:
        """Forget a key; raise `NotFound`."""
        ...


# --- logs -------------------------------------------------------------------------------------------------------------


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of a deployment's log.

    ``kind`` ``line`` is something the tenant's code (or the platform on its behalf) said; ``kind`` ``request`` is the
    end of one invocation that a client or an operator began. ``at`` is milliseconds since 1970, ``duration`` too.
    """

    at: float
    level: Level
    text: str
    kind: str = "line"
    request_id: RequestId = RequestId("")
    function: str = ""
    function_kind: Kind | None = None
    status: int | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines to read. ``since`` is milliseconds since 1970; ``level`` is the least serious one wanted."""

    since: float | None = None
    request_id: RequestId | None = None
    level: Level | None = None
    limit: int = 1_000


class Following(Protocol):
    """A reader of what is being written. Whoever has one closes it."""

    def __aiter__(self) -> AsyncIterator[LogEntry]: ...

    async def __anext__(self) -> LogEntry:
        """The next line that matches; ends when the deployment is forgotten."""
        ...

    async def aclose(self) -> None:
        """Stop reading; nothing is kept for this reader any more."""
        ...


class Logs(Protocol):
    """The log of every deployment: bounded, newest kept."""

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        """Keep a line. Never waits, never raises; durable within a second."""
        ...

    async def read(self, name: DeploymentName, query: LogQuery) -> Sequence[LogEntry]:
        """The newest lines that match, oldest first."""
        ...

    def follow(self, name: DeploymentName, query: LogQuery) -> Following:
        """What matches and is written after this call; a reader who is too slow misses lines and is told how many."""
        ...

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deleted deployment."""
        ...


# --- documents --------------------------------------------------------------------------------------------------------


class KeyRange(NamedTuple):
    """Some of a deployment's index keys (`index_keys`): from ``lower`` up to, and without, ``upper``."""

    lower: bytes
    upper: bytes


class Order(StrEnum):
    """Which way to walk along an index."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class Page(NamedTuple):
    """Keys and documents in the order asked for; ``complete`` when the range ended before anything else ended the
    page."""

    entries: list[tuple[bytes, bytes]]
    complete: bool


class Write(NamedTuple):
    """What happens to one document: the keys it had, the keys it gets, and its new content.

    The first key names the document and never changes. ``before`` is empty for a new document; ``after`` is empty and
    ``document`` is ``None`` for one that is removed.
    """

    before: tuple[bytes, ...]
    after: tuple[bytes, ...]
    document: bytes | None


class Commit(NamedTuple):
    """What became durable at one position: every key that was written, sorted; ``None`` where it is not known any
    more."""

    position: int
    keys: Sequence[bytes] | None


class Followed(NamedTuple):
    """After which commit a follower hears of the next ones, and how it stops to."""

    position: int
    stop: Callable[[], None]


class Snapshot(Protocol):
    """A deployment's documents as they were at one moment. Ended once, by `commit` or by `release`."""

    position: int
    """The last commit that it shows. Positions only grow, also over restarts."""

    tables: dict[str, int]
    """Tables that were looked up and exist: a memo for who reads the snapshot, forgotten with the database. A table
    that exists is never removed and keeps its number."""

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """At most ``most`` documents of the range; fewer once they hold ``enough`` bytes (always one, if there is
        one)."""
        ...

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """Make the writes durable if nothing in ``reads`` has changed since this moment, and say their position; else
        the range that has changed.

        All or nothing, in one order for everybody. When a range is returned, what changed it is there for the next
        snapshot.
        """
        ...

    def release(self) -> None:
        """Read no more, write nothing."""
        ...

    def share(self) -> "Snapshot":
        """The same moment for one more holder, who ends it like any other."""
        ...


class DocumentStore(Protocol):
    """The documents of every deployment: bytes, found by the keys of their indexes."""

    async def snapshot(self, name: DeploymentName) -> Snapshot:
        """What is committed now: everything that anybody was told is committed."""
        ...

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        """Tell of every commit from now on, in order, each once, those of other processes too (within a second).

        Who committed hears of it first. A snapshot shows no commit that was not told, but for those whose committers
        are about to hear. The listener is called on the loop and returns at once.
        """
        ...

    async def delete(self, name: DeploymentName) -> None:
        """Remove everything of a deployment; transactions that are under way fail."""
        ...

    async def close(self) -> None:
        """Let what was begun to be committed be committed, then let go of everything."""
        ...


# --- identity providers -----------------------------------------------------------------------------------------------


class LookupFailed(Exception):
    """A provider's document cannot be had; the message says why, in words that a tenant may read."""


class Reading(NamedTuple):
    """What stands at a URL, and for how many seconds its publisher says that it lasts (``None``: not said)."""

    body: bytes
    lasts: float | None = None


class KeySets(Protocol):
    """What identity providers publish: discovery documents and key sets."""

    async def read(self, url: str) -> Reading:
        """Read one document; raise `LookupFailed`, within `LOOKUP_TIME` at the latest. Never follows a redirect."""
        ...
