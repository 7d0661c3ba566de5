"""How does an ASGI application answer one of our requests?

The server's half of ASGI 3 (HTTP, version 2.4 of the message format) for one request, inside the guest. Lifespan is not
run: there is no moment at which an isolate starts or stops that an application could rely on. Knows no router.

Rules
1. The response leaves as the application produces it; it waits in ``send`` until its last piece was taken.
2. The answer is complete when the application has returned: work that it does after its last piece (background tasks)
   belongs to the call. What it raises before its first piece fails the call, before its last one breaks the stream,
   after that goes to the log.
3. Who stops reading the answer stops the application.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from runtime.protocol.messages import HeaderList, Level
from runtime.sdk.fetch.bodies import BodyStream
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.url import URL
from runtime.sdk.running import RUNNING

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


async def respond(app: Application, request: Request, prefix: str) -> Response:
    """Run the application for this request; ``prefix`` is where it is mounted, and ends with a slash."""
    exchange = _Exchange(app, scope_of(request, prefix), request)
    try:
        first, more = await exchange.next_piece()
    except BaseException:
        await exchange.stop()
        raise
    status, headers = exchange.head
    if not more and await exchange.has_returned():
        return Response.from_wire(status=status, headers=headers, body=first)
    return Response.from_wire(status=status, headers=headers, body=_Rest(exchange, first, more))


def scope_of(request: Request, prefix: str) -> dict[str, Any]:
    """The ASGI connection scope of a request: ``path`` is the whole path, ``root_path`` the mount."""
    url = URL(request.url)
    secure = url.protocol == "https:"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https" if secure else "http",
        "path": unquote(url.pathname),
        "raw_path": url.pathname.encode("ascii"),
        "query_string": url.search.removeprefix("?").encode("ascii"),
        "root_path": unquote(prefix.rstrip("/")),
        "headers": list(request.headers.wire),
        "client": None,
        "server": (url.hostname, int(url.port or (443 if secure else 80))),
        "extensions": {},
    }


class _Exchange:
    """One run of an application: what it receives, and what it has sent."""

    def __init__(self, app: Application, scope: dict[str, Any], request: Request) -> None:
        self.head: tuple[int, HeaderList] = (0, [])
        self._request = request
        self._body: BodyStream | None = request.body
        self._body_ended = self._body is None
        self._asked = False
        self._pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(maxsize=1)
        self._sent_last = asyncio.Event()
        self._task = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: Application, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:
            if not self._sent_last.is_set():
                raise
            # The answer is whole and may have left: what fails now is for the log.
            running = RUNNING.get()
            if running is not None:
                running.log(Level.ERROR, f"the application raised {type(error).__name__} after its answer: {error}")

    async def _receive(self) -> Message:
        if not self._asked and self._body_ended:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        self._asked = True
        if self._body is not None and not self._body_ended:
            try:
                return {"type": "http.request", "body": await self._body.__anext__(), "more_body": True}
            except StopAsyncIteration:
                self._body_ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
        await self._over()
        return {"type": "http.disconnect"}

    async def _over(self) -> None:
        waits = {asyncio.ensure_future(self._request.signal.wait()), asyncio.ensure_future(self._sent_last.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send(self, message: Message) -> None:
        if self._request.signal.aborted:
            raise OSError("the client has gone")
        kind = message["type"]
        if kind == "http.response.start" and not self.head[0]:
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            self.head = (int(message["status"]), headers)
        elif kind == "http.response.body" and self.head[0] and not self._sent_last.is_set():
            data, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
            if not more:
                self._sent_last.set()
            await self._pieces.put((data, more))
        else:
            raise RuntimeError(f"the ASGI application sent {kind!r} when it may not")

    async def next_piece(self) -> tuple[bytes, bool]:
        """The next piece of the answer, and whether there is more; raise what the application raised."""
        if self._pieces.empty() and not self._task.done():
            getter = asyncio.ensure_future(self._pieces.get())
            try:
                await asyncio.wait({getter, self._task}, return_when=asyncio.FIRST_COMPLETED)
                if getter.done():
                    return getter.result()
            finally:
                getter.cancel()
        if not self._pieces.empty():
            return self._pieces.get_nowait()
        if not self._task.cancelled():
            self._task.result()
        raise RuntimeError("the ASGI application returned before its answer was complete")

    async def has_returned(self) -> bool:
        """Whether the application has nothing left to do after its last piece."""
        for _ in range(3):  # middlewares take a turn or two to return
            if self._task.done():
                return True
            await asyncio.sleep(0)
        return False

    async def finish(self) -> None:
        """Wait until the application has returned."""
        await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Nobody wants the answer any more."""
        self._task.cancel()
        await asyncio.wait([self._task])


class _Rest:
    """The pieces of an answer that is still being produced."""

    def __init__(self, exchange: _Exchange, first: bytes, more: bool) -> None:
        self._exchange = exchange
        self._first: bytes | None = first
        self._more = more

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._more:
            await self._exchange.finish()
            raise StopAsyncIteration
        data, self._more = await self._exchange.next_piece()
        return data

    async def aclose(self) -> None:
        """Stop the application."""
        await self._exchange.stop()
