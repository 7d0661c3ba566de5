"""What did a deployment say?

One JSON object per line (``application/x-ndjson``), or server-sent events where ``Accept`` asks for them.

Rules
1. Without ``follow``: the newest lines that match, oldest first, and the end. With it: the same, then what comes,
   without a gap and without a line twice.
2. A follower whose client has gone is closed at once, whether lines come or not.
3. Every field of a line is always there; what does not apply is null or empty.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from control_plane.auth import OwnDeployment, TheOffice
from control_plane.problems import documented
from control_plane.refusals import InvalidField
from runtime import limits
from runtime.names import RequestId
from runtime.ports import Following, LogEntry, LogQuery
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level

router = APIRouter(prefix="/v1/deployments/{name}", tags=["logs"])

_NDJSON, _EVENTS = "application/x-ndjson", "text/event-stream"
_HEARTBEAT = 15.0  # seconds between signs of life on an event stream, for proxies that close quiet connections
_encode = msgspec.json.Encoder().encode


class LogLine(BaseModel):
    """One line; ``kind`` ``request`` ends an invocation. ``at`` in milliseconds since 1970, ``duration`` in ms."""

    at: float
    level: Level
    kind: Literal["line", "request"]
    text: str
    request_id: str
    function: str
    function_kind: Kind | None
    status: int | None
    duration: float | None


class LogParameters(BaseModel):
    """Which lines to read."""

    model_config = ConfigDict(extra="forbid")
    follow: bool = Field(False, description="Go on with what comes.")
    since: str | None = Field(None, description="Milliseconds since 1970, or an ISO 8601 time.", max_length=64)
    request_id: str | None = Field(None, description="Only the lines of this request.", max_length=64)
    level: Level | None = Field(None, description="This level and more serious ones.")
    limit: int = Field(1_000, description="How many of the newest lines.", ge=0, le=int(limits.LOG_READ))


class Ndjson(Response):
    """JSON objects, one per line."""

    media_type = _NDJSON


_LINES: dict[int | str, dict[str, Any]] = {
    200: {"model": LogLine, "content": {_EVENTS: {"schema": {"type": "string"}}}, "description": "One object per line"}
}


@router.get("/logs", response_class=Ndjson, responses=_LINES | documented(401, 403, 404))
async def read_logs(
    request: Request, office: TheOffice, deployment: OwnDeployment, wanted: Annotated[LogParameters, Query()]
) -> Response:
    """The newest lines that match; with ``follow``, everything after them too."""
    query = LogQuery(
        since=_moment(wanted.since),
        request_id=RequestId(wanted.request_id) if wanted.request_id else None,
        level=wanted.level,
        limit=wanted.limit,
    )
    events = _EVENTS in request.headers.get("accept", "")
    if not wanted.follow:
        lines = await office.logs.read(deployment.name, query)
        return Response(b"".join(_text(lines, events)), media_type=_EVENTS if events else _NDJSON)
    # First follow, then read: what is written in between is in both, and left out of one.
    following = office.logs.follow(deployment.name, query)
    try:
        earlier = await office.logs.read(deployment.name, query)
    except BaseException:
        await following.aclose()
        raise
    return FollowAnswer(list(earlier), following, events)


class FollowAnswer(Response):
    """Lines as they come, until the client leaves or the deployment is deleted."""

    def __init__(self, earlier: list[LogEntry], following: Following, events: bool) -> None:
        super().__init__(media_type=_EVENTS if events else _NDJSON)
        del self.headers["content-length"]
        self._earlier = earlier
        self._following = following
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and watch its client."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._following.aclose()

    async def _send(self, send: Send) -> None:
        await _send_piece(send, b"".join(_text(self._earlier, self._events)))
        async for piece in self._pieces():
            await _send_piece(send, piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self) -> AsyncIterator[bytes]:
        seen = Counter(self._earlier)
        coming = asyncio.ensure_future(anext(self._following))
        try:
            while True:
                await asyncio.wait((coming,), timeout=_HEARTBEAT if self._events else None)
                if not coming.done():
                    yield b": still here\n\n"
                    continue
                entry = await coming
                coming = asyncio.ensure_future(anext(self._following))
                if seen[entry] > 0:
                    seen[entry] -= 1
                else:
                    yield b"".join(_text((entry,), self._events))
        except StopAsyncIteration:
            return
        finally:
            coming.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_piece(send: Send, body: bytes) -> None:
    # A client that takes nothing for so long is gone, even if its connection does not say so.
    async with asyncio.timeout(limits.BODY_IDLE_TIME / 1000):
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _text(entries: Iterable[LogEntry], events: bool) -> Iterable[bytes]:
    for entry in entries:
        line = _encode(
            {
                "at": entry.at,
                "level": entry.level,
                "kind": entry.kind,
                "text": entry.text,
                "request_id": entry.request_id,
                "function": entry.function,
                "function_kind": entry.function_kind,
                "status": entry.status,
                "duration": entry.duration,
            }
        )
        yield b"event: log\ndata: " + line + b"\n\n" if events else line + b"\n"


def _moment(text: str | None) -> float | None:
    """Milliseconds since 1970; an ISO time without a zone is UTC."""
    if text is None or text == "":
        return None
    try:
        moment = float(text) if text.replace(".", "", 1).isdigit() else _iso(text)
    except (ValueError, OverflowError):
        message = f"{text[:60]!r} is no moment: write milliseconds since 1970, or a time like 2026-01-31T12:00:00Z"
        raise InvalidField("since", message, value=text[:60]) from None
    return moment


def _iso(text: str) -> float:
    # A '+' that was not percent-encoded arrives as a space.
    moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
