"""How does an answer leave, and what may be in it?

One request and its response, as the door holds them. A tenant's status and headers are checked like anything that comes
from behind the wall; framing is ours alone. Knows no deployment, no route and no error but its own.

Rules
1. A header name is a token, a value has no control characters (RFC 9110 §5); count and bytes are limited.
2. Headers about the connection or the framing of a message are dropped. ``content-length`` is ours: counted where the
   whole body is at hand, left out where it streams, believed only where there is no body to count (HEAD, 304).
3. A body that cannot go on, or passes `RESPONSE_BODY`, is cut: the client can tell that something is missing.
4. HEAD, 204 and 304 have no body, whatever a tenant sends.
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from runtime import limits
from runtime.edge import cors
from runtime.edge.connections.cycle import send_at_once
from runtime.edge.hosts import Scope
from runtime.edge.intake import Body, Receive, open_body
from runtime.edge.problems import Problem
from runtime.errors import DeveloperMistake, WarrenError
from runtime.invocation import Client
from runtime.names import DeploymentName, RequestId
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import HeaderList

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DROPPED = frozenset(
    b"connection keep-alive transfer-encoding upgrade te trailer content-length date x-request-id".split()
)
# Most answers repeat the headers of an earlier one. 256 lists of at most `RESPONSE_HEADERS` bytes are 16 MiB.
_REMEMBERED = 256
_NO_BODY = frozenset({204, 304})
_SPENT = b"queue;dur=%.2f, cold;dur=%.2f, handler;dur=%.2f"
_HEAD_END = b"server-timing: " + _SPENT + b"\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n"


class InvalidResponse(DeveloperMistake):
    """A function's status or headers cannot be sent over HTTP."""

    code = "InvalidResponse"


class Timing(Protocol):
    """Where the time to a response head went, in milliseconds."""

    @property
    def queue(self) -> float: ...
    @property
    def cold(self) -> float: ...
    @property
    def handler(self) -> float: ...


class Answer(Protocol):
    """The response of an HTTP action, as the conductor hands it over (`HttpAnswer`)."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> HeaderList: ...
    @property
    def body(self) -> bytes: ...
    @property
    def last(self) -> bool: ...
    @property
    def timing(self) -> Timing: ...
    async def more(self) -> tuple[bytes, bool]: ...
    def took(self, amount: int) -> None: ...
    def abandon(self) -> None: ...


class _Clean(NamedTuple):
    """Headers that may be sent, as they stand on the wire too, and the length that was declared among them."""

    headers: HeaderList
    length: bytes | None
    block: bytes


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_began",
        "_body",
        "_opening",
        "client",
        "cors",
        "deployment",
        "function",
        "headers",
        "kind",
        "method",
        "note",
        "over",
        "receive",
        "request_id",
        "scope",
        "send",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: RequestId) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.method: str = scope["method"]
        self.headers: HeaderList = scope["headers"]
        self._began = time.perf_counter()  # only ever subtracted from itself, so no clock is asked for
        self.client = Client()
        self.cors: HeaderList | None = None  # to add to the answer, whoever makes it
        self.over = False
        # For the log, when all is done.
        self.deployment: DeploymentName | None = None  # once it was found
        self.status: int | None = None
        self.function = ""
        self.kind: Kind | None = None
        self.note = ""
        self._body: Body | None = None
        self._opening = False

    def elapsed(self) -> float:
        """Milliseconds since the request came."""
        return (time.perf_counter() - self._began) * 1000

    @property
    def reading(self) -> bool:
        """Whether somebody receives the body now."""
        return self._opening or (self._body is not None and not self._body.resting)

    async def open_body(self) -> bytes | Body:
        """The request's body: all of it if it is here, else as it comes."""
        self._opening = True
        try:
            body = await open_body(self.receive, self.headers)
            if isinstance(body, Body):
                self._body = body
            return body
        finally:
            self._opening = False

    # --- answers ----------------------------------------------------------------------------------------------------

    async def refuse(self, problem: Problem) -> None:
        """Answer with what the platform has to say; cut the connection when an answer has begun already."""
        if self.status is not None:
            return
        head = [
            (b"content-type", problem.content_type),
            (b"content-length", b"%d" % len(problem.body)),
            (b"server-timing", b"total;dur=%.2f" % self.elapsed()),
            *problem.headers,
        ]
        if problem.status in (408, 413):
            head.append((b"connection", b"close"))  # the rest of the body is not worth reading
        await self._start(problem.status, head)
        body = b"" if self.method == "HEAD" else problem.body
        await self.send({"type": "http.response.body", "body": body})

    async def reply(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Answer with something of our own."""
        spent = b"total;dur=%.2f" % self.elapsed()
        head = [*headers, (b"server-timing", spent)]
        if status not in _NO_BODY:
            head.append((b"content-length", b"%d" % len(body)))
        await self._start(status, head)
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def stream(self, status: int, headers: HeaderList, pieces: AsyncIterator[bytes], length: int) -> None:
        """Answer with so many bytes of our own, as fast as the client takes them; cut it where they end too soon."""
        spent = b"total;dur=%.2f" % self.elapsed()
        await self._start(status, [*headers, (b"server-timing", spent), (b"content-length", b"%d" % length)])
        if self.method == "HEAD" or not length:
            await self.send({"type": "http.response.body", "body": b""})
            return
        async for piece in pieces:
            length -= len(piece)
            if self.client.gone:
                return
            await self.send({"type": "http.response.body", "body": piece, "more_body": length > 0})

    def deliver_at_once(self, answer: Answer) -> bool:
        """Send what an HTTP action answered, if that can be done in one piece now; raises what `deliver` raises."""
        status = answer.status
        if not answer.last or self.cors is not None or self.method == "HEAD" or status in _NO_BODY:
            return False
        body, timing = answer.body, answer.timing
        end = _HEAD_END % (timing.queue, timing.cold, timing.handler, self.request_id.encode(), len(body))
        if not send_at_once(self.send, status, _checked(status, answer.headers).block + end, body):
            return False
        self.status = status
        return True

    async def deliver(self, answer: Answer) -> None:
        """Send what an HTTP action answered; raise `InvalidResponse` before anything is sent."""
        if self.deliver_at_once(answer):
            return
        status, timing = answer.status, answer.timing
        clean = _checked(status, answer.headers)
        head = [*clean.headers, (b"server-timing", _SPENT % (timing.queue, timing.cold, timing.handler))]
        if self.method == "HEAD" or status in _NO_BODY:
            await self._deliver_head(answer, head, clean.length)
        elif answer.last:
            body = answer.body
            head.append((b"content-length", b"%d" % len(body)))
            await self._start(status, head)
            await self.send({"type": "http.response.body", "body": body})
        else:
            await self._start(status, head)
            await self._stream(answer)

    async def _deliver_head(self, answer: Answer, head: HeaderList, declared: bytes | None) -> None:
        if answer.status != 204:
            length = b"%d" % len(answer.body) if answer.last and answer.body else declared
            if length is not None:
                head.append((b"content-length", length))
        await self._start(answer.status, head)
        await self.send({"type": "http.response.body", "body": b""})
        if not answer.last:
            self._give_up(answer)

    async def _stream(self, answer: Answer) -> None:
        sent = 0
        data, last = answer.body, False
        while not self.client.gone:
            sent += len(data)
            if sent > limits.RESPONSE_BODY:
                self.note = f"the response body passed {limits.RESPONSE_BODY} bytes and was cut"
                break
            if data or last:
                await self.send({"type": "http.response.body", "body": data, "more_body": not last})
            if last:
                return
            answer.took(len(data))
            try:
                data, last = await answer.more()
            except WarrenError as error:
                self.note = f"the response body was cut: {error}"
                return
        self._give_up(answer)

    def _give_up(self, answer: Answer) -> None:
        self.client.leave()  # tells the guest to stop its stream, which would otherwise wait for credit
        answer.abandon()

    async def _start(self, status: int, headers: HeaderList) -> None:
        if self.cors is not None:
            headers = cors.add(headers, self.cors)
        headers.append((b"x-request-id", self.request_id.encode()))
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})


def _checked(status: int, headers: HeaderList) -> _Clean:
    if not 200 <= status <= 599:
        raise InvalidResponse(f"the status {status} cannot be sent; use 200 to 599")
    return _clean(tuple(headers))


@lru_cache(_REMEMBERED)
def _clean(headers: tuple[tuple[bytes, bytes], ...]) -> _Clean:
    """Check what a guest wants to send; raise `InvalidResponse` with what cannot be sent."""
    if len(headers) > limits.RESPONSE_HEADER_COUNT:
        raise InvalidResponse(f"{len(headers)} response headers, limit {limits.RESPONSE_HEADER_COUNT}")
    size = sum(len(name) + len(value) for name, value in headers)
    if size > limits.RESPONSE_HEADERS:
        raise InvalidResponse(f"{size} bytes of response headers, limit {limits.RESPONSE_HEADERS}")
    kept: HeaderList = []
    length: bytes | None = None
    for name, value in headers:
        lower = name.lower()
        if not _TOKEN.match(name):
            raise InvalidResponse(f"the response header name {name[:60]!r} is no HTTP token")
        if _CONTROL.search(value):
            raise InvalidResponse(f"the response header {lower[:60].decode()!r} has a control character in its value")
        if lower == b"content-length" and value.isdigit() and len(value) < 16:
            length = value
        if lower not in _DROPPED and not lower.startswith(b"proxy-"):
            kept.append((lower, value))
    return _Clean(kept, length, b"".join(b"%b: %b\r\n" % pair for pair in kept))
