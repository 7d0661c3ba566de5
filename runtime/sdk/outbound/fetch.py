"""How does a tenant's code ask a server on the web?

``fetch`` of the Fetch standard (§5.6), as far as it makes sense without a browser: no cookies, no cache, no origin.
The host does it; here is the polite half, which makes a `Request` of what was given and a `Response` of what came.

Rules
1. Actions and HTTP actions only. Elsewhere the sentence says why, and what to do.
2. What went wrong on the way is a `TypeError`; too slow is a `TimeoutError`; given up is what the signal says.
3. A body that nobody reads any more is given up at once, also when it was only forgotten: a connection hangs on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from runtime import limits
from runtime.protocol.declaration import Kind
from runtime.sdk.fetch.bodies import BodyInit
from runtime.sdk.fetch.headers import HeadersInit
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.fetch.url import URL
from runtime.sdk.functions import LimitExceeded
from runtime.sdk.running import RUNNING, Running

T = TypeVar("T")

_REDIRECTS = ("follow", "error", "manual")
_WHERE = {
    Kind.QUERY: "a query, which must give the same result each time",
    Kind.MUTATION: "a mutation, which may run more than once",
    None: "the import of a module",
}


async def fetch(
    url: str | URL | Request,
    *,
    method: str | None = None,
    headers: HeadersInit | None = None,
    body: BodyInit = None,
    redirect: str = "follow",
    timeout: float | None = None,
    signal: AbortSignal | None = None,
) -> Response:
    """Send a request and return the answer as soon as its head is there; the body streams.

    ``redirect`` is ``"follow"`` (20 at most), ``"error"`` or ``"manual"`` (the redirect itself is the answer).
    ``timeout`` is in seconds and for all of it, the body included: `TimeoutError`. ``signal`` gives it up.
    """
    running = _running()
    if redirect not in _REDIRECTS:
        raise TypeError(f"redirect is 'follow', 'error' or 'manual', not {str(redirect)[:40]!r}")
    request = Request(url, method=method, headers=headers, body=body)
    if not request.url.startswith(("http:", "https:")):
        raise TypeError(f"{request.url[:200]!r} cannot be fetched: only http and https can")
    exchange = _Exchange(running, request._signal if signal is None else signal)
    try:
        await exchange.start(request, redirect, _seconds(timeout))
        return await exchange.response(request.method)
    except BaseException:
        exchange.let_go()
        raise


class _Exchange:
    """One fetch, as the guest sees it."""

    def __init__(self, running: Running, signal: AbortSignal | None) -> None:
        self._running = running
        self._signal = signal
        self._number: int | None = None

    async def start(self, request: Request, redirect: str, timeout: float | None) -> None:
        """Send the request, its body included."""
        if self._signal is not None:
            self._signal.throw_if_aborted()
        source = request.wire_body()
        whole = source if source is None or (type(source) is bytes and len(source) <= limits.BODY_WINDOW) else None
        streams = source is not None and whole is None
        length = len(source) if streams and isinstance(source, bytes) else None
        if length is not None and length > limits.FETCH_REQUEST:
            raise LimitExceeded(f"a body of {length} bytes, limit FETCH_REQUEST is {int(limits.FETCH_REQUEST)} bytes")
        self._number = await self._running.syscall(
            "fetch.start", request.method, request.url, request.headers.wire, whole, streams, length, redirect, timeout
        )
        if streams and source is not None:
            await self._send(_parts(source) if isinstance(source, bytes) else source)

    async def response(self, method: str) -> Response:
        """Wait for the answer."""
        head = await self._ask("fetch.head")
        status, reason, url, redirected, headers, data, last = head
        if last:
            self._number = None
        body: bytes | AsyncIterator[bytes] | None = data if last else _Coming(self, data)
        if method == "HEAD":
            body = None
        return Response.fetched(status, reason.decode("latin-1"), headers, body, url, redirected)

    async def read(self) -> tuple[bytes, bool]:
        """More of the body, and whether that was all."""
        data, last = await self._ask("fetch.read")
        if last:
            self._number = None
        return data, last

    def let_go(self) -> None:
        """Nobody wants the rest. Says so to the host, and does not wait for its answer."""
        number, self._number = self._number, None
        if number is not None:
            asking = self._running.syscall("fetch.close", number).__await__()
            # The call may have ended, or used up its syscalls; then the host ends all of it by itself.
            with suppress(StopIteration, RuntimeError, LimitExceeded):
                next(asking)
            asking.close()

    async def _send(self, pieces: AsyncIterator[bytes]) -> None:
        try:
            async for piece in pieces:
                for at in range(0, len(piece), limits.BODY_CHUNK):
                    if not await self._ask("fetch.send", piece[at : at + limits.BODY_CHUNK], False):
                        return
            await self._ask("fetch.send", b"", True)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    async def _ask(self, name: str, *args: Any) -> Any:
        return await _unless(self._signal, self._running.syscall(name, self._number, *args))


class _Coming:
    """The body of an answer, piece by piece."""

    def __init__(self, exchange: _Exchange, first: bytes) -> None:
        self._exchange = exchange
        self._first = first
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._over:
            raise StopAsyncIteration
        try:
            data, self._over = await self._exchange.read()
        except BaseException:
            self._over = True
            self._exchange.let_go()
            raise
        if not data and self._over:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Nobody wants the rest."""
        self._over = True
        self._first = b""
        self._exchange.let_go()

    def __del__(self) -> None:
        self._exchange.let_go()


async def _unless(signal: AbortSignal | None, work: Awaitable[T]) -> T:
    """Wait for the work, unless the signal fires first: then raise its reason."""
    if signal is None:
        return await work
    doing = asyncio.ensure_future(work)
    fired = asyncio.ensure_future(signal.wait())
    try:
        await asyncio.wait((doing, fired), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            _give_up(signal)
        return doing.result()
    finally:
        doing.cancel()
        fired.cancel()


def _give_up(signal: AbortSignal) -> NoReturn:
    signal.throw_if_aborted()
    raise AssertionError("it has fired")


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _running() -> Running:
    running = RUNNING.get()
    if running is None or running.kind not in (Kind.ACTION, Kind.HTTP_ACTION):
        where = _WHERE.get(running.kind if running is not None else None)
        raise RuntimeError(f"fetch cannot be used in {where}: call it from an action or an HTTP action")
    return running


def _seconds(timeout: object) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout < 1e9:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout}")
    return float(timeout)
