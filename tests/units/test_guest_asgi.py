"""An ASGI application answers a request, piece by piece, and is stopped when nobody wants the rest."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.protocol.messages import Level
from runtime.sandbox.guest.asgi import respond
from runtime.sdk.fetch.bodies import BodyStream
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.running import RUNNING, Running


def asked(
    body: bytes | AsyncIterator[bytes] | None = None, url: str = "http://a.localhost:3211/app/x%20y/%C3%A4?q=%20"
) -> Request:
    return Request.incoming(
        method="GET" if body is None else "POST",
        url=url,
        headers=[(b"host", b"a.localhost:3211")],
        path_params={},
        body=body,
        signal=AbortSignal(),
    )


async def start(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"Content-Type", b"text/x")]})


async def piece(send: Any, data: bytes, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def test_the_scope_is_what_asgi_3_says() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await start(send, 201)
        await piece(send, b"done")

    response = await respond(app, asked(), "/app/")
    assert response.wire_head() == (201, [(b"content-type", b"text/x")])
    assert response.wire_body() == b"done"
    assert (seen["type"], seen["method"], seen["scheme"], seen["root_path"]) == ("http", "GET", "http", "/app")
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/app/x y/ä", b"/app/x%20y/%C3%A4", b"q=%20")
    assert (seen["server"], seen["headers"]) == (("a.localhost", 3211), [(b"host", b"a.localhost:3211")])


async def test_the_request_body_arrives_in_pieces_and_then_the_wait_for_the_end() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        data, more = b"", True
        while more:
            message = await receive()
            data, more = data + message["body"], message["more_body"]
        await start(send)
        await piece(send, data)
        assert (await receive())["type"] == "http.disconnect"

    response = await respond(app, asked(body()), "/")
    assert await response.text() == "ab"


async def test_a_request_without_body_is_one_empty_piece() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await start(send, 204)
        await piece(send, b"")

    assert (await respond(app, asked(), "/")).wire_body() == b""


async def test_a_response_streams_no_faster_than_it_is_taken() -> None:
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        for number in range(10):
            await piece(send, b"%d" % number, more=True)
            sent.append(number)
        await piece(send, b"")

    body = (await respond(app, asked(), "/")).wire_body()
    assert isinstance(body, BodyStream)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sent) < 4
    assert b"".join([chunk async for chunk in body]) == b"0123456789"


async def test_what_fails_before_the_first_piece_fails_the_call() -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("early")

    async def after_the_head(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        raise KeyError("after")

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await start(send)

    async def cancels_itself(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    async def out_of_order(scope: Any, receive: Any, send: Any) -> None:
        await piece(send, b"x")

    expected: list[tuple[Any, type[Exception]]] = [
        (early, KeyError),
        (after_the_head, KeyError),
        (silent, RuntimeError),
        (cancels_itself, RuntimeError),
        (out_of_order, RuntimeError),
    ]
    for app, error in expected:
        with pytest.raises(error):
            await respond(app, asked(), "/")


async def test_what_fails_between_pieces_breaks_the_stream() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await piece(send, b"a", more=True)
        raise KeyError("between")

    response = await respond(app, asked(), "/")
    with pytest.raises(KeyError, match="between"):
        await response.text()


async def test_work_after_the_last_piece_belongs_to_the_answer_and_its_failure_to_the_log() -> None:
    lines: list[str] = []
    finished = asyncio.Event()

    async def nobody(*_: object) -> None: ...

    def log(level: Level, text: str) -> None:
        lines.append(f"{level}: {text}")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await piece(send, b"answer")
        for _ in range(10):
            await asyncio.sleep(0)
        finished.set()
        raise KeyError("background")

    RUNNING.set(Running(None, "r", "d", nobody, log))
    body = (await respond(app, asked(), "/")).wire_body()
    assert isinstance(body, BodyStream)
    assert await anext(body) == b"answer"
    assert [chunk async for chunk in body] == []
    assert finished.is_set()
    assert lines == ["error: the application raised KeyError after its answer: 'background'"]


async def test_who_stops_reading_stops_the_application() -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await start(send)
            while True:
                await piece(send, b"x", more=True)
        finally:
            ended.set()

    body = (await respond(app, asked(), "/")).wire_body()
    assert isinstance(body, BodyStream)
    await anext(body)
    await body.aclose()
    assert ended.is_set()


async def test_a_client_that_has_gone_is_a_disconnect_and_a_refused_send() -> None:
    request, seen = asked(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start(send)
        await piece(send, b"a", more=True)
        seen.append((await receive())["type"])
        await piece(send, b"b", more=True)

    response = await respond(app, request, "/")
    request.signal.fire()
    with pytest.raises(OSError, match="gone"):
        await response.text()
    assert seen == ["http.disconnect"]
