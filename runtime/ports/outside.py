"""What time is it, who serves an invocation, and what do identity providers publish?"""

from typing import NamedTuple, Protocol

import msgspec

from runtime.protocol.messages import Level


class Clock(Protocol):
    """What time it is."""

    def now(self) -> float:
        """Milliseconds since 1970, with their fraction."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...


class Desk(Protocol):
    """Who serves one invocation's syscalls and takes its log lines. Made anew for each invocation."""

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        """Serve one syscall and return the encoded result; raise `SyscallRefused` when it cannot be had."""
        ...

    def log(self, level: Level, text: str) -> None:
        """Keep one log line of this invocation."""
        ...


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
