"""What happens to a request for which nothing has to be waited for? It has no task, and nobody can tell."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from runtime.protocol.declaration import Declaration
from tests.contracts.front_door import NAME, Front, Reply, opened, route, say


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with opened(Declaration(routes=(route("GET", "/hello"), route("POST", "/echo")))) as door:
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
    kept, last = (
        f"GET /hello HTTP/1.1\r\nHost: {NAME}.site.localhost\r\n{more}\r\n" for more in ("", "Connection: close\r\n")
    )
    answered = await front.raw((kept + kept + last).encode())
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert [entry.request_id for _, entry in front.journal.entries] == front.hall.asked_at_once


async def test_an_answer_that_cannot_be_sent_is_told_once(front: Front) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Reply(status=99))
    answer = await front.ask("GET", "/hello")
    assert answer.status == 500
    assert [entry.status for _, entry in front.journal.entries] == [500]
