"""How much of a body is read, and for how long?

Knows nothing of what the body means.

Rules
1. Bytes are counted as they arrive; `Content-Length` is only used to refuse sooner.
2. A client that sends nothing for `BODY_IDLE_TIME` is told 408.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

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


class _Bounded:
    """The receiving end of a request, which stops at a limit."""

    def __init__(self, receive: Receive, name: str, limit: Limit) -> None:
        self._receive = receive
        self._name = name
        self._limit = limit
        self._seen = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the client to leave, for as long as it likes
        try:
            async with asyncio.timeout(limits.BODY_IDLE_TIME / 1000):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"no byte of the body came for {int(limits.BODY_IDLE_TIME)} ms: send it again") from None
        self._seen += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._seen > self._limit:
            raise LimitPassed("the request body is too large", self._name, self._limit, self._seen)
        return message


async def read_bounded(request: Request, name: str, limit: Limit) -> bytearray:
    """The whole body; raise `LimitPassed` as soon as it is known to be larger."""
    if _declared(request) > limit:
        raise LimitPassed("the request body is too large", name, limit, _declared(request))
    receive = _Bounded(request.receive, name, limit)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


class JsonRoute(APIRoute):
    """A route whose body is small JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read no more of the body than `CONTROL_BODY`."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            if _declared(request) > limits.CONTROL_BODY:
                raise LimitPassed(
                    "the request body is too large", "CONTROL_BODY", limits.CONTROL_BODY, _declared(request)
                )
            receive = _Bounded(request.receive, "CONTROL_BODY", limits.CONTROL_BODY)
            return await handler(Request(request.scope, receive))

        return bounded
