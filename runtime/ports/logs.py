"""What was said, and who reads it?"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from runtime.names import DeploymentName, RequestId
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level


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
