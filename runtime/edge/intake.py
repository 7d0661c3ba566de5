"""What did the client send: which path, which URL, which body?

Reads an ASGI request into values. Knows no deployment and no route.

Rules
1. The path is what a URL parser makes of it (WHATWG): dot segments gone, odd characters percent-encoded. A path that
   is plain already, as almost every one is, is taken as it stands.
2. A body is bytes when all of it came with the first piece; else it is read piece by piece, as fast as it is taken.
3. More than `REQUEST_BODY` bytes are a `TooLarge`, at once when the length was announced.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import ada_url

from runtime import limits
from runtime.errors import BadRequest, CallerMistake, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A segment that begins with a dot, spelled as %2e too, may be a dot segment: that one is for the parser.
_PLAIN_PATH = re.compile(rb"(?:/(?!\.|%2[Ee])[A-Za-z0-9!$%&'()*+,.:;=@_~|\[\]-]*)+\Z")
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9!$%&()*+,./:;=?@_~|\[\]{}^`\\-]*\Z")


class ClientLeft(CallerMistake):
    """The client closed its connection before its request was answered; nobody hears of it."""

    code = "ClientDisconnect"


class SlowRequest(CallerMistake):
    """The client took too long to send its request."""

    code = "RequestTimeout"


def read_target(raw_path: bytes, query: bytes) -> tuple[str, str]:
    """The path as routes know it, and the path with its query as it stands in the request's URL."""
    if not _PLAIN_PATH.match(raw_path) or (query and not _PLAIN_QUERY.match(query)):
        return _parse_target(raw_path, query)
    path = raw_path.decode("ascii")
    return path, f"{path}?{query.decode('ascii')}" if query else path


def _parse_target(raw_path: bytes, query: bytes) -> tuple[str, str]:
    if not raw_path.startswith(b"/"):
        raise BadRequest(f"the request target {raw_path[:40]!r} is no path; it begins with '/'")
    text = raw_path.decode("utf-8", "replace") + ("?" + query.decode("utf-8", "replace") if query else "")
    try:
        url = ada_url.URL("http://host" + text)
    except ValueError:
        raise BadRequest(f"the request target {text[:80]!r} cannot be read as a URL") from None
    return str(url.pathname), str(url.pathname) + str(url.search)


class Body:
    """The body of a request as it arrives. Can be iterated once."""

    __slots__ = ("_first", "_receive", "received", "resting")

    def __init__(self, receive: Receive, first: bytes) -> None:
        self._receive = receive
        self._first = first
        self.received = len(first)
        self.resting = False  # nobody reads it now, nor will again

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if self._first:
                yield self._first
            more = True
            while more:
                message = await self._receive()
                data, more = read_piece(message)
                self.received += len(data)
                if self.received > limits.REQUEST_BODY:
                    raise too_large(self.received, "so far")
                if data:
                    yield data
        finally:
            self.resting = True


async def open_body(receive: Receive, headers: Iterable[tuple[bytes, bytes]]) -> bytes | Body:
    """Begin to read the body of a request; raise `TooLarge` when it announces more than we take."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limits.REQUEST_BODY:
            raise too_large(int(value), "announced")
    data, more = read_piece(await receive())
    return Body(receive, data) if more else data


async def read_all(receive: Receive, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The whole body at once, for our own APIs; raise `SlowRequest` when it takes too long."""
    body = await open_body(receive, headers)
    if isinstance(body, bytes):
        return body
    try:
        async with asyncio.timeout(limits.HEAD_TIME / 1000):
            return b"".join([piece async for piece in body])
    except TimeoutError:
        raise SlowRequest(f"the request body did not arrive in {limits.HEAD_TIME} ms; send it again") from None


def read_piece(message: MutableMapping[str, Any]) -> tuple[bytes, bool]:
    """The bytes of one ASGI message, and whether more follow; raise `ClientLeft` at its end."""
    if message["type"] != "http.request":
        raise ClientLeft("the client closed the connection before its request was complete")
    return message.get("body", b""), message.get("more_body", False)


def too_large(observed: int, how: str) -> TooLarge:
    """The refusal of a body past its limit."""
    return TooLarge(
        f"the request body is larger than {limits.REQUEST_BODY} bytes ({observed} {how}); "
        "put large uploads into file storage"
    )
