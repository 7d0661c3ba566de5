"""Do the last words of a connection arrive, when the client has stopped speaking or was refused?"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from runtime.edge.connections.connection import listen
from tests.contracts.serving import serving

App = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def served(app: App) -> AsyncIterator[socket.socket]:
    """A client that is connected to a server of this application."""
    config = listen(app, host="127.0.0.1", port=0)
    config.lifespan = "off"
    async with serving(config) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            yield client


def test_who_stops_speaking_while_the_answer_is_made_gets_it() -> None:
    clients: list[socket.socket] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)
        clients[0].shutdown(socket.SHUT_WR)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask() -> bytes:
        async with served(app) as client:
            clients.append(client)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return await asyncio.to_thread(client.recv, 1_000)

    # On the server's own loop: another one would look for what has come in between at another moment.
    assert uvloop.run(ask()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_who_is_refused_is_not_asked_to_continue(caplog: pytest.LogCaptureFixture) -> None:
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await receive()

    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(app) as client:
        client.send(head + b"this is no chunk\r\n")
        await asked.wait()
        answer = await asyncio.to_thread(client.recv, 1_000)
        for _ in range(3):  # it lingers, so that what it has said is not lost
            client.send(b"more of it\r\n")
            await asyncio.sleep(0.02)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"100 Continue" not in answer
    assert not caplog.records
