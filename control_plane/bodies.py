"""How much of a body is read, and for how long?

Knows nothing of what the body means.

Rules
1. Bytes are counted as they arrive; `Content-Length` is only used to refuse sooner.
2. A client that sends nothing for `BODY_IDLE_TIME` is told 408.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, BinaryIO

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from control_plane.refusals import LimitPassed
from runtime import limits
from runtime.errors import BadRequest
from runtime.limits import Limit


class TooSlow(BadRequest):
    """The client stopped sending."""

    code = "RequestTimeout"


def _declared(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


async def read_bounded(request: Request, name: str, limit: Limit) -> bytearray:
    """The whole body; raise `LimitPassed` as soon as it is known to be larger."""
    body = bytearray()
    async for piece in read_pieces(request, name, limit):
        body += piece
    return body


async def spool(request: Request, name: str, limit: Limit, file: BinaryIO) -> int:
    """Write the whole body to a file and say how large it is; raise `LimitPassed`."""
    async for piece in read_pieces(request, name, limit):
        file.write(piece)
    size = file.tell()
    file.seek(0)
    return size


async def read_pieces(request: Request, name: str, limit: Limit) -> AsyncIterator[bytes]:
    """The body as it comes; raise `LimitPassed` as soon as it is known to be larger."""
    if _declared(request) > limit:
        raise LimitPassed("the request body is too large", name, limit, _declared(request))
    observed = 0
    while True:
        try:
            async with asyncio.timeout(limits.BODY_IDLE_TIME / 1000):
                message = await request.receive()
        except TimeoutError:
            raise TooSlow(f"no byte of the body came for {int(limits.BODY_IDLE_TIME)} ms: send it again") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        observed += len(piece)
        if observed > limit:
            raise LimitPassed("the request body is too large", name, limit, observed)
        yield piece
        if not message.get("more_body", False):
            return


class JsonRoute(APIRoute):
    """A route whose body is small JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read no more of the body than `CONTROL_BODY`."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            # Read here and handed on, because FastAPI turns whatever is raised while it reads into a 400 of its own.
            body = await read_bounded(request, "CONTROL_BODY", limits.CONTROL_BODY)
            # Whatever it is called, it is JSON or refused: `curl -d` calls everything a form.
            headers = [header for header in request.scope["headers"] if header[0] != b"content-type"]
            scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
            return await handler(Request(scope, _replay(bytes(body), request.receive)))

        return bounded


def _replay(body: bytes, receive: Receive) -> Receive:
    handed_on = False

    async def again() -> Message:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
