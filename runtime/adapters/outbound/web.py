"""What does a server out there answer to a tenant?

The port `Web` on httpcore: one request on a connection that was made through the guard, for one deployment.

Rules
1. The policy is asked before a name is resolved; the guard asks policy and rules about the addresses.
2. Nothing of the host goes out: no cookie, no credential, no proxy of the environment.
3. A connection is used again only by the deployment and for the destination that it was made for, and within seconds.
   One whose answer was not read to its end is closed.
4. How much a server may send is counted on the wire, before anything is made of it: `_HEAD` until the head is there,
   twice `FETCH_RESPONSE` afterwards.
5. Who waits for a slow name server waits in its deployment's own line.
6. A body that comes in crumbs costs many times what it weighs: others have their turn in between, and the crumbs of one
   deployment are read one handful after the other.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import httpcore

from runtime import limits
from runtime.adapters.outbound.guard import Guard, Resolver
from runtime.adapters.outbound.idle import Idle, Key, Line
from runtime.egress.policy import EgressPolicy
from runtime.egress.rules import Destination, Rules
from runtime.names import DeploymentName
from runtime.ports import FetchFailed, Incoming, Outgoing
from runtime.protocol.messages import HeaderList

_HEAD = 256 * 1024
_BODY = int(limits.FETCH_RESPONSE) * 2  # the smallest chunks cost as much again as what is in them, and more
_NAMES_AT_ONCE = 4
_HANDFUL = 64  # pieces
_CRUMB = 32  # bytes
_REST = 0.01  # seconds
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)


class HttpWeb:
    """Asks servers over HTTP."""

    def __init__(self, rules: Rules) -> None:
        # At its lowest level the library writes down headers, which are the tenants'.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._rules = rules
        self._resolver = Resolver()
        self._tls = ssl.create_default_context()
        self._idle = Idle()
        self._lines: WeakValueDictionary[DeploymentName, asyncio.Semaphore] = WeakValueDictionary()
        self._crumbs: WeakValueDictionary[DeploymentName, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Close what is open, and resolve no more."""
        await self._idle.close()
        self._resolver.close()

    @asynccontextmanager
    async def ask(self, name: DeploymentName, policy: EgressPolicy, request: Outgoing) -> AsyncIterator[Incoming]:
        """Send one request, and give what is answered."""
        where = self._rules.check_url(request.url, limits.FETCH_URL)
        policy.check(where.host, where.port)
        key = (name, where.scheme, where.host, where.port)
        line, response = await self._answered(key, policy, where, request)
        try:
            line.meter.left = _BODY
            body = _pieces(response, where, self._crumbs.setdefault(name, asyncio.Lock()))
            try:
                yield Incoming(response.status, _reason(response), _headers(response, where), body)
            finally:
                await body.aclose()
                await response.aclose()
            self._idle.give(key, line)
        finally:
            await self._idle.close_unless_kept(line)

    async def _answered(
        self, key: Key, policy: EgressPolicy, where: Destination, request: Outgoing
    ) -> tuple[Line, httpcore.Response]:
        """The head of the answer, over a connection that waited or a new one."""
        kept = self._idle.take(key)
        if kept is not None:
            try:
                return kept, await _sent(kept, request, where)
            except FetchFailed:
                # The server may have closed it in the moment between; what changes nothing there can be asked again.
                if request.body is not None or request.method not in _SAFE:
                    raise
        line = self._new_line(key[0], policy, where)
        return line, await _sent(line, request, where)

    def _new_line(self, name: DeploymentName, policy: EgressPolicy, where: Destination) -> Line:
        names = self._lines.get(name)
        if names is None:
            names = self._lines[name] = asyncio.Semaphore(_NAMES_AT_ONCE)
        guard = Guard(self._rules, where, self._resolver, policy, names)
        origin = httpcore.Origin(where.scheme.encode(), where.host.encode("ascii"), where.port)
        return Line(httpcore.AsyncHTTPConnection(origin, ssl_context=self._tls, network_backend=guard), guard)


async def _sent(line: Line, request: Outgoing, where: Destination) -> httpcore.Response:
    """Send the request and wait for the head of its answer, for `FETCH_SILENCE` since a piece was last taken."""
    line.meter.left = _HEAD
    try:
        with _told(where):
            async with asyncio.timeout(limits.FETCH_SILENCE / 1000) as patience:
                made = _made(request, where, patience)
                return await line.connection.handle_async_request(made)
    except BaseException:
        await line.close()
        raise


def _made(request: Outgoing, where: Destination, patience: asyncio.Timeout) -> httpcore.Request:
    given = request.body
    content = given if given is None or isinstance(given, bytes) else _patiently(_whole(given, request), patience)
    target = httpcore.URL(
        scheme=where.scheme.encode(), host=where.host.encode(), port=where.port, target=where.target.encode("ascii")
    )
    return httpcore.Request(
        request.method.encode("ascii"),
        target,
        headers=_request_headers(request, where),
        content=content,
        extensions={"timeout": dict.fromkeys(("connect", "read", "write"), limits.FETCH_SILENCE / 1000)},
    )


async def _whole(body: AsyncIterator[bytes], request: Outgoing) -> AsyncIterator[bytes]:
    """The pieces of a body, which must be as long together as was said."""
    sent, length = 0, request.length
    async for piece in body:
        sent += len(piece)
        if length is not None and sent > length:
            break
        yield piece
    if length is not None and sent != length:
        raise FetchFailed(f"the body of the request was to have {length} bytes, and has {sent}")


async def _patiently(body: AsyncIterator[bytes], patience: asyncio.Timeout) -> AsyncIterator[bytes]:
    """The pieces of a body; while the tenant makes one, nobody blames the server."""
    loop = asyncio.get_running_loop()
    patience.reschedule(None)
    async for piece in body:
        patience.reschedule(loop.time() + limits.FETCH_SILENCE / 1000)
        yield piece
        patience.reschedule(None)
    patience.reschedule(loop.time() + limits.FETCH_SILENCE / 1000)


def _request_headers(request: Outgoing, where: Destination) -> HeaderList:
    headers: HeaderList = [(b"host", where.authority.encode()), *request.headers]
    if isinstance(request.body, bytes):
        headers.append((b"content-length", b"%d" % len(request.body)))
    elif request.body is not None and request.length is not None:
        headers.append((b"content-length", b"%d" % request.length))
    elif request.body is not None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif request.method in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", b"0"))
    return headers


def _headers(response: httpcore.Response, where: Destination) -> HeaderList:
    headers = [(name.lower(), value) for name, value in response.headers]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > limits.RESPONSE_HEADER_COUNT or size > limits.RESPONSE_HEADERS:
        raise FetchFailed(
            f"{where.shown[:200]} answered with {len(headers)} headers of {size} bytes, limits are "
            f"{int(limits.RESPONSE_HEADER_COUNT)} and {int(limits.RESPONSE_HEADERS)}"
        )
    return headers


def _reason(response: httpcore.Response) -> bytes:
    reason: bytes = response.extensions.get("reason_phrase", b"")
    return reason


async def _pieces(response: httpcore.Response, where: Destination, crumbs: asyncio.Lock) -> AsyncGenerator[bytes]:
    assert isinstance(response.stream, AsyncIterable), "what an asynchronous connection gives"
    pieces = size = 0
    with _told(where):
        async for piece in response.stream:
            yield piece
            pieces, size = pieces + 1, size + len(piece)
            if pieces == _HANDFUL:
                await _let_others_go_on(crumbs, size)
                pieces = size = 0


async def _let_others_go_on(crumbs: asyncio.Lock, size: int) -> None:
    if size >= _HANDFUL * _CRUMB:
        await asyncio.sleep(0)
        return
    async with crumbs:
        await asyncio.sleep(_REST)


class _told:
    """Turns what the library raises into what a tenant may read."""

    def __init__(self, where: Destination) -> None:
        self._there = where.shown[:200]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpcore.TimeoutException | TimeoutError):
            text = (
                f"{self._there} neither took nor sent anything for {int(limits.FETCH_SILENCE)} ms (limit FETCH_SILENCE)"
            )
            raise TimeoutError(text) from None
        if isinstance(error, httpcore.ConnectError):
            raise FetchFailed(f"{self._there} cannot be reached: {_connecting(error)}") from None
        if isinstance(error, _BROKEN):
            raise FetchFailed(f"{self._there} broke off, or speaks no HTTP: {str(error)[:200]}") from None
        if isinstance(error, OSError):
            raise FetchFailed(f"{self._there} cannot be reached: its name has no address") from None


def _connecting(error: httpcore.ConnectError) -> str:
    # What the machine says of a failed connection may name its own addresses; of a certificate it says what is wrong.
    text = str(error)
    return f"its certificate is not accepted ({text[:200]})" if "CERTIFICATE" in text else "no connection could be made"
