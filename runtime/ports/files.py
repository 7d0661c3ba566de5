"""How is the content of stored files kept: bytes, found by a number that nobody can guess?"""

from typing import Protocol
from uuid import UUID

from runtime.names import DeploymentName


class FilesUnavailable(Exception):
    """What is asked for cannot be done now: the disk is full, or broken. The message is for the operator's log."""


class Writing(Protocol):
    """One content that is being written. Ended once, by `keep` or by `discard`; one asks at a time."""

    size: int
    """How many bytes were written."""

    async def write(self, data: bytes) -> None:
        """Append a piece, and wait until it is taken; raise `FilesUnavailable` when it cannot be."""
        ...

    def digest(self) -> bytes:
        """The SHA-256 of what was written."""
        ...

    async def keep(self) -> None:
        """Let it be there, durably; raise `FilesUnavailable` when it cannot be, then it is not there."""
        ...

    def discard(self) -> None:
        """Let nothing be left of it. May be said at any time, and again; changes nothing once it is kept."""
        ...


class Content(Protocol):
    """One content that is being read. Stays whole for who has it open, also when it is removed."""

    size: int

    async def read(self, start: int, most: int) -> bytes:
        """At most ``most`` bytes from ``start`` on: fewer only at the end; raise `FilesUnavailable` when it cannot."""
        ...

    def close(self) -> None:
        """Let go of it. May be said at any time, and again."""
        ...


class Files(Protocol):
    """The contents of every deployment's files."""

    async def write(self, name: DeploymentName, number: UUID) -> Writing:
        """Begin a content; nobody sees it before it is kept. Raises `FilesUnavailable`."""
        ...

    async def open(self, name: DeploymentName, number: UUID) -> Content | None:
        """A content that was kept, or ``None``; raises `FilesUnavailable`."""
        ...

    async def remove(self, name: DeploymentName, number: UUID) -> None:
        """Let it not be there any more; it need not be there now. Raises `FilesUnavailable`."""
        ...

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deployment; what is being written there is never kept."""
        ...

    async def names(self) -> list[DeploymentName]:
        """Who has any content."""
        ...

    async def older(self, name: DeploymentName, age: float) -> list[UUID]:
        """What was kept at least ``age`` seconds ago. What somebody began and has left since is removed by the way."""
        ...

    async def close(self) -> None:
        """Let go of everything; what was not kept is gone."""
        ...
