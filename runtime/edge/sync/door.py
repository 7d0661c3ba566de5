"""From an upgrade request to a session.

Rules
1. Who asks for something else than ``/api/sync`` or ``/api/{version}/sync`` is told so before the upgrade, in HTTP.
2. Any page may connect: identity travels inside the protocol, never in a cookie, so the origin says nothing.
3. However a session ends, what it held is given back, and its client sees a close.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from runtime.edge.exchange import Send
from runtime.edge.hosts import Scope
from runtime.edge.intake import Receive
from runtime.edge.problems import json_problem
from runtime.edge.sync.messages import fatal_error
from runtime.edge.sync.session import Over, Rooms, Session
from runtime.edge.sync.wire import Gone, Wire, Wires
from runtime.errors import NotFound, WarrenError
from runtime.names import DeploymentName, RequestId

log = logging.getLogger("warren.sync")

SYNC_PATH = re.compile(r"/+api/(?:[^/]{1,40}/)?sync\Z")


class SyncDoor:
    """The sync protocol of every deployment."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._wires = Wires(rooms.clock)

    async def serve(self, name: DeploymentName, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, to its end."""
        await receive()
        await send({"type": "websocket.accept"})
        cut = _cutter(scope)
        wire = Wire(send, self._rooms.clock, cut)
        session = Session(self._rooms, name, wire)
        self._wires.add(wire)
        try:
            await session.begin()
            over = await self._listen(session, receive)
            if over is not None:
                await _part(over, wire, receive)
        except (Gone, OSError):
            pass
        except WarrenError as error:
            await wire.close(1013, f"{error.code}: try again")
        except Exception:
            log.exception("a sync session of %s failed", name)
            await wire.close(1011, "InternalServerError: try again")
        finally:
            wire.end()
            self._wires.remove(wire)
            await session.end()

    async def _listen(self, session: Session, receive: Receive) -> Over | None:
        """Hear the client until one of the two has had enough; ``None`` when the client has gone."""
        hearing = asyncio.ensure_future(_hear(session, receive))
        try:
            await asyncio.wait((hearing, session.over), return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                return hearing.result()
            return session.over.result()
        finally:
            hearing.cancel()
            session.over.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def refuse(error: Exception, request_id: RequestId, send: Send) -> None:
    """Answer an upgrade request with what speaks against it."""
    problem = json_problem(error, request_id)
    headers = [(b"content-type", problem.content_type), (b"x-request-id", request_id.encode()), *problem.headers]
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": problem.body})


def nothing_here(path: str) -> NotFound:
    """Why nobody speaks WebSocket at this path."""
    return NotFound(f"there is no WebSocket at {path[:200]}: the sync protocol is at /api/sync on the cloud host")


async def _hear(session: Session, receive: Receive) -> Over | None:
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        try:
            if text is None:
                return await _refuse_bytes(session)
            await session.hear(text)
        except Over as over:
            return over


async def _refuse_bytes(session: Session) -> Over:
    await session.say(fatal_error("a binary frame came; the protocol speaks JSON in text frames"))
    return Over(1000, "binary frame")


async def _part(over: Over, wire: Wire, receive: Receive) -> None:
    """Close, after the client had a moment to do so itself."""
    if over.grace:
        try:
            async with asyncio.timeout(over.grace):
                while (await receive())["type"] == "websocket.receive":
                    pass
                return
        except TimeoutError:
            pass
    await wire.close(over.code, over.reason)


def _cutter(scope: Scope) -> Callable[[], None]:
    """How to end the connection of a client that takes nothing."""
    cut: Any = scope.get("extensions", {}).get("warren.cut")
    if cut is not None:
        return lambda: cut["now"]()
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        task.cancel()

    return cancel
