"""What does a provider publish, read over HTTP?

The port `KeySets` on httpcore: one GET on a connection of its own through the guard. Remembers nothing.

Rules
1. A redirect is an answer that we do not want: where it leads was not looked over, and keys are not found by hearsay.
2. An answer is a 200 of at most `KEY_SET_BYTES`, whole within `LOOKUP_TIME`, not compressed.
3. No cookie, no credential, nothing of the request that made us ask goes out.
"""

import asyncio
import re
import ssl

import httpcore

from runtime import limits
from runtime.adapters.outbound.guard import Guard, Resolver
from runtime.egress.rules import Destination, NotAllowed, Rules
from runtime.ports import LookupFailed, Reading

_HEADERS = [
    (b"accept", b"application/json, application/jwk-set+json"),
    (b"accept-encoding", b"identity"),
    (b"connection", b"close"),
    (b"user-agent", b"warren"),
]
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=\"?(\d{1,9})")
_UNWANTED = re.compile(rb"(?:^|[,\s])no-(?:cache|store)")


class HttpKeySets:
    """Reads key sets and discovery documents over HTTP."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._resolver = Resolver()
        self._tls = ssl.create_default_context()
        self._room = asyncio.Semaphore(int(limits.LOOKUPS))

    async def read(self, url: str) -> Reading:
        """Read one document; raise `LookupFailed`."""
        try:
            where = self._rules.check_url(url)
            async with asyncio.timeout(limits.LOOKUP_TIME / 1000), self._room:
                return await self._get(where)
        except NotAllowed as refused:
            raise LookupFailed(str(refused)) from None
        except TimeoutError:
            raise LookupFailed(f"{url[:200]} did not answer in {int(limits.LOOKUP_TIME)} ms") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise LookupFailed(f"{url[:200]} cannot be read: {_reason(error)}") from None

    async def close(self) -> None:
        """Resolve no more names."""
        self._resolver.close()

    async def _get(self, where: Destination) -> Reading:
        scheme, host = where.scheme.encode(), where.host.encode("ascii")
        guard = Guard(self._rules, where, self._resolver)
        guard.meter.left = int(limits.KEY_SET_BYTES) * 4  # the head, the framing, and what is one byte too much
        connection = httpcore.AsyncHTTPConnection(
            httpcore.Origin(scheme, host, where.port), ssl_context=self._tls, network_backend=guard
        )
        target = httpcore.URL(scheme=scheme, host=host, port=where.port, target=where.target.encode("ascii"))
        request = httpcore.Request(b"GET", target, headers=[(b"host", where.authority.encode()), *_HEADERS])
        try:
            response = await connection.handle_async_request(request)
            try:
                return await _taken(response, where)
            finally:
                await response.aclose()
        finally:
            await connection.aclose()
            await guard.close()


async def _taken(response: httpcore.Response, where: Destination) -> Reading:
    headers = {name.lower(): value for name, value in response.headers}
    if 300 <= response.status < 400:
        raise LookupFailed(f"{where.shown[:200]} redirects elsewhere ({response.status}): redirects are not followed")
    if response.status != 200:
        raise LookupFailed(f"{where.shown[:200]} answered {response.status}, not 200")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise LookupFailed(f"{where.shown[:200]} answered with a compression that nobody asked for")
    body = bytearray()
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > limits.KEY_SET_BYTES:
            raise LookupFailed(
                f"{where.shown[:200]} answered more than {int(limits.KEY_SET_BYTES)} bytes, the limit KEY_SET_BYTES"
            )
    return Reading(bytes(body), _lasts(headers.get(b"cache-control", b"").lower()))


def _lasts(cache_control: bytes) -> float | None:
    if _UNWANTED.search(cache_control):
        return 0.0
    found = _MAX_AGE.search(cache_control)
    return float(found[1]) if found else None


def _reason(error: Exception) -> str:
    # The text of an OSError is the machine's; its first words say enough and name no file.
    return (str(error) or type(error).__name__)[:200]
