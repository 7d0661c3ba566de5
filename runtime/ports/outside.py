"""What time is it, who serves an invocation, what do identity providers publish, and what does the web answer?"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import msgspec

from runtime.egress.policy import EgressPolicy
from runtime.names import DeploymentName
from runtime.protocol.messages import HeaderList, Level


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

    def is_awaited(self, name: str) -> bool:
        """Whether others cannot go on before this invocation is served, and this syscall can begin outside of a task:
        it is served, and answered, at once."""
        ...

    def log(self, level: Level, text: str) -> None:
        """Keep one log line of this invocation."""
        ...

    def ended(self) -> None:
        """The invocation is over: let go of whatever was held for it. Called once."""
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


class FetchFailed(Exception):
    """A server gave no answer, or none that makes sense; the message says why, in words that a tenant may read."""


class Outgoing(NamedTuple):
    """One request to one server. A body that is not bytes is taken piece by piece; ``length`` is its size if known."""

    method: str
    url: str
    headers: HeaderList
    body: bytes | AsyncIterator[bytes] | None = None
    length: int | None = None


class Incoming(NamedTuple):
    """What a server answers: header names in lower case, the body as it comes and as it was packed."""

    status: int
    reason: bytes
    headers: HeaderList
    body: AsyncGenerator[bytes]


class Web(Protocol):
    """The servers out there, as far as tenants may reach them."""

    def ask(
        self, name: DeploymentName, policy: EgressPolicy, request: Outgoing
    ) -> AbstractAsyncContextManager[Incoming]:
        """Send one request on behalf of this deployment; leaving the context ends whatever is still under way.

        Raises `NotAllowed` before a byte is sent, `FetchFailed`, and `TimeoutError` after `FETCH_SILENCE`; so does
        reading the body. Never follows a redirect. What one deployment has opened, another never uses.
        """
        ...
