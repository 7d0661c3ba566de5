"""How is one HTTP request carried through a tenant's handler?

The hottest path there is: one task, one handler, one frame back when the body is small. Everything else (bodies that
arrive in pieces, bodies that leave in pieces, clients that go away) is here too, and costs the simple case nothing.

Rules
1. A response body of at most `BODY_WINDOW` bytes leaves with its head. A larger one, or one that is produced piece by
   piece, leaves in chunks, and never more than the client has taken plus one window.
2. The tenant's reading is what lets the host send more of a request body: every piece of it is acknowledged.
3. When the client is gone the handler goes on; its response body does not.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from runtime import limits
from runtime.protocol.declaration import Kind
from runtime.protocol.framing import frame
from runtime.protocol.messages import CallHttp, Chunk, Head, HeaderList, Reason, Taken
from runtime.sandbox.guest.calls import Conversation, Desk, settle
from runtime.sandbox.guest.tracebacks import CallMistake
from runtime.sdk.context import ActionCtx
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.functions import LimitExceeded
from runtime.sdk.running import RUNNING


@dataclass(frozen=True, slots=True)
class Route:
    """What runs for one route: ``handler(ctx, request)``, and its name for error messages."""

    handler: Callable[[Any, Any], Any]
    name: str


class FedBody:
    """A request body that arrives in pieces, for the tenant to iterate."""

    def __init__(self, call: "HttpCall", first: bytes) -> None:
        self._call = call
        self._pieces: deque[bytes] = deque((first,) if first else ())
        self._complete = False
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes, last: bool) -> None:
        """The host has sent more."""
        if data:
            self._pieces.append(data)
        self._complete = last
        self._wake()

    def cut(self) -> None:
        """The client went away; what has not come will not come."""
        self._broken = not self._complete
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._broken:
                raise ConnectionError("the client went away before it had sent the whole body")
            if self._complete:
                raise StopAsyncIteration
            self._waiter = self._call.desk.loop.create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._call.taken(len(piece))
        return piece


class HttpCall(Conversation):
    """One request for an HTTP action."""

    gone = False
    _feed: FedBody | None = None
    _streaming = False
    _sent = 0
    _room = int(limits.BODY_WINDOW)
    _waiter: "asyncio.Future[None] | None" = None

    def __init__(self, desk: Desk, message: CallHttp) -> None:
        super().__init__(desk, message.cid, Kind.HTTP_ACTION, message.request_id)
        self.random = None
        self.signal = AbortSignal()
        if not message.body_last:
            # Now, and not when the task begins: more of the body may come before that.
            self._feed = FedBody(self, message.body or b"")

    async def run(self, message: CallHttp, routes: Mapping[str, Route]) -> None:
        """Make the request, call the handler, send its response."""
        RUNNING.set(self)
        try:
            route = routes.get(message.route)
            if route is None:
                raise CallMistake(Reason.UNKNOWN, "LookupError", f"there is no route {message.route!r}")
            response = route.handler(ActionCtx(self), self._request(message))
            if type(response) is CoroutineType:
                response = await response
            elif type(response) is not Response:
                response = await settle(response)
            if not isinstance(response, Response):
                raise _no_response(route, response)
            status, headers = response.wire_head()
            body = response.wire_body()
            if type(body) is bytes and len(body) <= limits.BODY_WINDOW:
                last_word = frame(Head(self.cid, status, headers, body, True))
            else:
                if type(body) is bytes:
                    _check_size(len(body))  # before the head: a caller who is told is better off than one who is cut
                last_word = await self._stream(status, headers, body)
            if self.stopped:
                raise asyncio.CancelledError
        except BaseException as error:
            self.fail(error)
        else:
            self.end(last_word)

    def _request(self, message: CallHttp) -> Request:
        return Request.incoming(
            method=message.method,
            url=message.url,
            headers=message.headers,
            path_params=message.parameters,
            body=message.body if self._feed is None else self._feed,
            signal=self.signal,
        )

    # --- the response in pieces ---------------------------------------------------------------------------------------

    async def _stream(self, status: int, headers: HeaderList, body: bytes | AsyncIterator[bytes]) -> bytes:
        if self.ended:
            raise asyncio.CancelledError
        self.desk.send(frame(Head(self.cid, status, headers, b"", False)))
        self._streaming = True
        try:
            if isinstance(body, bytes):
                await self._send(body)
            else:
                await self._send_all(body)
        except asyncio.CancelledError:
            if not self.gone or self.stopped:
                raise
            self.task.uncancel()
        finally:
            self._streaming = False
        return frame(Chunk(self.cid, b"", True))

    async def _send_all(self, body: AsyncIterator[bytes]) -> None:
        try:
            if not self.gone:
                async for piece in body:
                    await self._send(piece)
                    if self.gone:
                        break
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()

    async def _send(self, piece: bytes) -> None:
        if self.ended:  # it was ended although it did not stop; nothing more may be said
            raise asyncio.CancelledError
        self._sent += len(piece)
        _check_size(self._sent)
        at = 0
        while at < len(piece):
            while self._room <= 0:
                self._waiter = self.desk.loop.create_future()
                await self._waiter
                if self.ended:
                    raise asyncio.CancelledError
            part = piece[at : at + min(self._room, limits.BODY_CHUNK)]
            at += len(part)
            self._room -= len(part)
            self.desk.send(frame(Chunk(self.cid, part, False)))

    # --- what the host says -------------------------------------------------------------------------------------------

    def credit(self, amount: int) -> None:
        """The client took so many bytes of the response."""
        self._room += amount
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def feed(self, data: bytes, last: bool) -> None:
        """More of the request body has come."""
        if self._feed is not None:
            self._feed.feed(data, last)

    def taken(self, amount: int) -> None:
        """The tenant has read so many bytes of the request body."""
        if not self.ended:
            self.desk.send(frame(Taken(self.cid, amount)))

    def disconnected(self) -> None:
        """The client went away: tell the tenant, and stop the response body."""
        self.gone = True
        # In a turn of its own: the tenant's listeners run there, and may raise what they like.
        self.desk.loop.call_soon(self.signal.fire)
        if self._feed is not None:
            self._feed.cut()
        if self._streaming:
            self.task.cancel()


def _check_size(size: int) -> None:
    if size > limits.RESPONSE_BODY:
        raise LimitExceeded(f"response body of {size} bytes or more, limit {limits.RESPONSE_BODY} bytes")


def _no_response(route: Route, result: Any) -> CallMistake:
    text = f"{route.name} returned {type(result).__name__}: an HTTP action returns a Response"
    return CallMistake(Reason.RETURNS, "TypeError", text)
