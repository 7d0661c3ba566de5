"""Which requests make up one fetch?

The first one, and one more for each redirect that is followed (Fetch standard, "HTTP fetch"). The body of the last
answer is unpacked and handed to the exchange.

Rules
1. Policy and rules are asked anew for every request, by whoever sends it.
2. A redirect's own body is not read; at most `FETCH_REDIRECTS` are followed.
3. What went wrong is a `TypeError` that names the URL and the reason, as in the Fetch standard; or a `TimeoutError`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import NamedTuple

from runtime import limits
from runtime.egress import decoding
from runtime.egress.hops import REDIRECTS, BadRequest, Carries, Hop, Redirect, next_hop
from runtime.egress.rules import NotAllowed, destination
from runtime.errors import SyscallRefused
from runtime.invocation import Deployment
from runtime.ports import FetchFailed, Incoming, Outgoing, Web
from runtime.syscalls.outbound.exchange import Answered, Exchange

_BODILESS = frozenset({204, 205, 304})


class Asked(NamedTuple):
    """What a tenant wants: the first request, its body if it is here already, its length if it is known."""

    hop: Hop
    body: bytes | None
    length: int | None
    redirect: Redirect
    timeout: float | None  # seconds, for all of it


class Chain:
    """One fetch of one deployment; ``refused`` is told why something was not allowed."""

    def __init__(self, web: Web, deployment: Deployment, asked: Asked, refused: Callable[[str], None]) -> None:
        self._web = web
        self._deployment = deployment
        self._asked = asked
        self._refused = refused
        self._url = asked.hop.url

    async def follow(self, exchange: Exchange) -> None:
        """Carry it through; raise `SyscallRefused` with what the tenant's code sees."""
        try:
            async with asyncio.timeout(self._asked.timeout):
                await self._follow(exchange)
        except NotAllowed as refused:
            self._refused(f"fetch refused: {refused}")
            raise SyscallRefused(f"fetch refused: {refused}", "TypeError") from None
        except (FetchFailed, BadRequest) as failed:
            raise SyscallRefused(f"fetch failed: {failed}", "TypeError") from None
        except TimeoutError as late:
            seconds = self._asked.timeout
            text = str(late) or f"{self._url[:200]} was not done within timeout={seconds} seconds"
            raise SyscallRefused(f"fetch failed: {text}", "TimeoutError") from None

    async def _follow(self, exchange: Exchange) -> None:
        hop = self._asked.hop
        for followed in range(limits.FETCH_REDIRECTS + 1):
            self._url = hop.url
            async with self._web.ask(
                self._deployment.name, self._deployment.egress, self._outgoing(hop, exchange)
            ) as answer:
                location = self._location(hop, answer)
                if location is None:
                    await self._hand_on(hop, answer, exchange, redirected=followed > 0)
                    return
            hop = next_hop(hop, answer.status, location)
        raise BadRequest(f"{self._asked.hop.url[:200]} redirects more than {int(limits.FETCH_REDIRECTS)} times")

    def _outgoing(self, hop: Hop, exchange: Exchange) -> Outgoing:
        body: bytes | AsyncIterator[bytes] | None = None
        if hop.carries is Carries.WHOLE:
            body = self._asked.body
        elif hop.carries is Carries.STREAM:
            body = exchange.outgoing()
        headers = list(hop.headers)
        names = {name for name, _ in headers}
        headers += [pair for pair in _USUAL if pair[0] not in names]
        return Outgoing(hop.method, hop.url, headers, body, self._asked.length)

    def _location(self, hop: Hop, answer: Incoming) -> bytes | None:
        """Where the answer redirects to, if that is to be followed."""
        if answer.status not in REDIRECTS or self._asked.redirect is Redirect.MANUAL:
            return None
        if self._asked.redirect is Redirect.ERROR:
            raise BadRequest(f"{hop.url[:200]} redirects ({answer.status}), and redirect='error' was asked for")
        return next((value for name, value in answer.headers if name == b"location"), None)

    async def _hand_on(self, hop: Hop, answer: Incoming, exchange: Exchange, *, redirected: bool) -> None:
        shown = destination(hop.url, limits.FETCH_URL).shown
        bodiless = hop.method == "HEAD" or answer.status in _BODILESS
        coding = None if bodiless else decoding.coding_of(answer.headers)
        headers = answer.headers if coding is None else decoding.without_coding(answer.headers)
        exchange.answered(Answered(answer.status, answer.reason, shown, redirected, headers))
        body = answer.body if coding is None else decoding.decoded(answer.body, coding)
        try:
            async with aclosing(body):
                async for piece in body:
                    await exchange.came(piece)
        except ValueError as error:
            raise FetchFailed(f"the body of {shown[:200]} cannot be unpacked: {error}") from None


# What a request says that says nothing of it.
_USUAL = [(b"accept", b"*/*"), (b"accept-encoding", decoding.ACCEPTED), (b"user-agent", b"warren")]
