"""What happens to a request for which nothing has to be waited for? It has no task, and nobody can tell."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from runtime.edge.connections.connection import Connection
from runtime.invocation import Failed, HttpInvocation
from runtime.protocol.declaration import Declaration
from tests.contracts.front_door import NAME, Asked, Front, Reply, opened, route, say

KEPT, LAST = (
    f"GET /hello HTTP/1.1\r\nHost: {NAME}.site.localhost\r\n{more}\r\n".encode()
    for more in ("", "Connection: close\r\n")
)


class Watched(Connection):
    """A connection that the test can get hold of, as long as there is one."""

    alive: "weakref.WeakSet[Watched]"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        super().connection_made(transport)
        Watched.alive.add(self)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    Watched.alive = weakref.WeakSet()
    declaration = Declaration(routes=(route("GET", "/hello"), route("POST", "/echo")))
    async with opened(declaration, connection=Watched) as door:
        yield door


async def test_a_function_is_asked_at_once_where_nothing_has_to_be_waited_for(front: Front) -> None:
    answer = await front.ask("GET", "/hello")
    assert answer.status == 200
    assert front.hall.asked_at_once == [front.hall.asked[0].request_id]


async def test_a_function_with_a_body_is_asked_when_that_has_come(front: Front) -> None:
    answer = await front.ask("POST", "/echo", body=b"hello")
    assert (answer.status, front.hall.asked[0].body) == (200, b"hello")
    assert front.hall.asked_at_once == []


async def test_what_cannot_be_done_at_once_is_refused_as_ever(front: Front) -> None:
    answer = await front.ask("GET", "/nowhere")
    assert answer.status == 404
    assert (front.hall.asked_at_once, front.hall.asked) == ([], [])


async def test_every_request_of_a_connection_is_one_line_of_the_log(front: Front) -> None:
    answered = await front.raw(KEPT + KEPT + LAST)
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert [entry.request_id for _, entry in front.journal.entries] == front.hall.asked_at_once


async def test_an_answer_that_cannot_be_sent_is_told_once(front: Front) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Reply(status=99))
    answer = await front.ask("GET", "/hello")
    assert answer.status == 500
    assert [entry.status for _, entry in front.journal.entries] == [500]


@pytest.mark.parametrize("sent", [KEPT, LAST, LAST.replace(b"GET /hello", b"POST /echo")])
async def test_a_connection_that_is_over_does_not_wait_for_the_collector(front: Front, sent: bytes) -> None:
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(sent)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        front.hall.asked.clear()
        await until(lambda: not Watched.alive)
    finally:
        gc.enable()


async def test_the_next_request_is_asked_when_the_answer_before_it_is_over_for_everybody(front: Front) -> None:
    ask, asked_meanwhile = front.hall.ask, []

    def watched(invocation: HttpInvocation, heard: Callable[[Reply | Failed | Exception], None]) -> Asked:
        def hear(told: Reply | Failed | Exception) -> None:
            before = len(front.hall.asked_at_once)
            heard(told)
            asked_meanwhile.append(len(front.hall.asked_at_once) - before)

        return ask(invocation, hear)

    front.hall.ask = watched  # type: ignore[method-assign]
    await front.raw(KEPT + LAST)
    assert asked_meanwhile == [0, 0]


async def test_a_client_that_goes_while_a_request_waits_for_its_turn_is_gone_for_the_one_before(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    answers = asyncio.Event()

    async def slow(invocation: HttpInvocation) -> Reply:
        await answers.wait()
        return Reply(body=b"late")

    front.hall.handlers["GET /hello"] = slow
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(KEPT + KEPT)
    await until(lambda: bool(front.hall.asked))
    writer.close()
    await until(lambda: front.hall.asked[0].client.gone)
    answers.set()
    await until(lambda: bool(front.journal.entries))
    assert [entry.status for _, entry in front.journal.entries] == [200]
    assert caplog.text == ""


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_who_is_not_waited_for_is_told_however_often_that_is_said(front: Front, times: int) -> None:
    async def never(invocation: HttpInvocation) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    front.hall.handlers["GET /hello"] = never
    asking = asyncio.create_task(front.raw(KEPT))
    await until(lambda: bool(front.hall.asked))
    (connection,) = Watched.alive
    for _ in range(times):
        for under_way in list(connection.tasks):
            under_way.cancel()
        await asyncio.sleep(0)
    await until(lambda: bool(front.journal.entries))
    connection.transport.close()
    assert (await asking).startswith(b"HTTP/1.1 503 ")
    assert [entry.status for _, entry in front.journal.entries] == [503]


async def test_a_mistake_of_ours_at_the_door_is_not_the_clients(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    del front.names.all
    answered = await front.raw(LAST)
    assert answered.startswith(b"HTTP/1.1 500 ")
    assert "AttributeError" in caplog.text
