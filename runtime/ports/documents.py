"""How are documents kept: bytes, found by the keys of their indexes?"""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from runtime.names import DeploymentName


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

    async def count(self, span: KeyRange, most: int) -> int:
        """How many documents the range holds, counted up to ``most``; their content is not looked at."""
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

        Who committed hears of it first, and those whom it wakes at once. A snapshot shows no commit that was not told,
        but for those that are about to be. The listener is called on the loop and returns at once.
        """
        ...

    async def delete(self, name: DeploymentName) -> None:
        """Remove everything of a deployment; transactions that are under way fail."""
        ...

    async def close(self) -> None:
        """Let what was begun to be committed be committed, then let go of everything."""
        ...
