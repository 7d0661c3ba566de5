"""What does the web answer, in a process that asks nobody?

The port `Web` over a dictionary: for tests, and the specification of the port.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from runtime import limits
from runtime.egress.policy import EgressPolicy
from runtime.egress.rules import destination
from runtime.names import DeploymentName
from runtime.ports import FetchFailed, Incoming, Outgoing
from runtime.protocol.messages import HeaderList


class MemoryWeb:
    """Answers by URL. ``asked`` is every request in order, each with the body that it had."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, HeaderList, list[bytes]]] = {}
        self.asked: list[tuple[DeploymentName, Outgoing, bytes]] = []
        self.open = 0

    def publish(self, url: str, *pieces: bytes, status: int = 200, headers: HeaderList | None = None) -> None:
        """Let this be what is answered there."""
        self.pages[url] = (status, headers or [], list(pieces))

    @asynccontextmanager
    async def ask(self, name: DeploymentName, policy: EgressPolicy, request: Outgoing) -> AsyncIterator[Incoming]:
        """Send one request on behalf of this deployment."""
        where = destination(request.url, limits.FETCH_URL)
        policy.check(where.host, where.port)
        self.open += 1
        try:
            given = request.body
            sent = given if isinstance(given, bytes) else b"".join([piece async for piece in given]) if given else b""
            self.asked.append((name, request, sent))
            if where.shown not in self.pages:
                raise FetchFailed(f"{where.shown[:200]} cannot be reached: its name has no address")
            status, headers, pieces = self.pages[where.shown]
            yield Incoming(status, b"", headers, _each(pieces))
        finally:
            self.open -= 1


async def _each(pieces: list[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece
