from collections.abc import Iterator

import pytest

from runtime import limits
from runtime.protocol.messages import Chunk, Credit, Disconnected, Feed, Head, Level, Line, Reason, Stop, Syscall, Taken
from tests.units.guests import Host, http


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_small_answer_is_one_message(host: Host) -> None:
    host.load(http('return Response("Hello " + request.url)'))
    cid = host.request(url="http://site/?a=1")
    assert host.next() == Head(
        cid, 200, [(b"content-type", b"text/plain;charset=UTF-8")], b"Hello http://site/?a=1", True
    )


def test_a_plain_function_answers_too(host: Host) -> None:
    host.load(
        {
            "http.py": "from runtime import *\nhttp = HttpRouter()\n@http.route(path='/', method='GET')\n@http_action\n"
            "def handle(ctx, request):\n    return Response('plain')\n"
        }
    )
    host.request()
    assert host.answered().body == b"plain"


def test_head_stays_head(host: Host) -> None:
    host.load(http("return Response(request.method)"))
    host.request(method="HEAD")
    assert host.answered().body == b"HEAD"


def test_what_is_no_response_fails_and_names_the_function(host: Host) -> None:
    host.load(http("return 5"))
    host.request()
    failure = host.failed()
    assert failure.reason is Reason.RETURNS
    assert failure.message == "http:handle returned int: an HTTP action returns a Response"


def test_a_route_that_is_not_there_is_unknown(host: Host) -> None:
    host.load(http("return Response()"))
    host.request("GET /elsewhere")
    assert host.failed().reason is Reason.UNKNOWN


def test_an_exception_shows_the_lines_of_the_bundle_only(host: Host) -> None:
    host.load(http("import json\nreturn json.loads('{')"))
    host.request()
    failure = host.failed()
    assert failure.exception == "JSONDecodeError"
    assert [(one.file, one.function, one.text) for one in failure.frames] == [
        ("http.py", "handle", "return json.loads('{')")
    ]


def test_requests_run_side_by_side(host: Host) -> None:
    host.load(http("return Response.json(await ctx.run_query('m:q'))"))
    first, second = host.request(), host.request()
    asked = [host.expect(Syscall), host.expect(Syscall)]
    assert [one.cid for one in asked] == [first, second]
    host.answer(asked[1], 2)
    assert host.answered().body == b"2"
    host.answer(asked[0], 1)
    assert host.answered().body == b"1"


# --- bodies that arrive -----------------------------------------------------------------------------------------------


def test_a_body_in_pieces_is_acknowledged_as_it_is_read(host: Host) -> None:
    host.load(http("return Response(await request.text())"))
    cid = host.request("POST /", body=b"ab", last=False)
    assert host.next() == Taken(cid, 2)
    host.say(Feed(cid, b"cde", False))
    assert host.next() == Taken(cid, 3)
    host.say(Feed(cid, b"", True))
    assert host.answered().body == b"abcde"


def test_pieces_that_come_with_the_call_are_not_lost(host: Host) -> None:
    host.load(http("return Response(await request.text())"))
    host.request("POST /", body=b"ab", last=False)
    host.say(Feed(1, b"c", True))
    while isinstance(message := host.next(), Taken):
        pass
    assert isinstance(message, Head)
    assert message.body == b"abc"


def test_an_unread_body_is_not_acknowledged(host: Host) -> None:
    host.load(http("return Response('no need')"))
    host.request("POST /", body=b"ab", last=False)
    assert host.answered().body == b"no need"


def test_a_client_that_leaves_in_the_middle_of_its_body_breaks_the_reading(host: Host) -> None:
    host.load(http("return Response(await request.text())"))
    cid = host.request("POST /", body=b"ab", last=False)
    host.expect(Taken)
    host.say(Disconnected(cid))
    failure = host.failed()
    assert failure.exception == "ConnectionError"
    assert "before it had sent the whole body" in failure.message


# --- bodies that leave ------------------------------------------------------------------------------------------------

COUNTING = "async def pieces():\n    for number in range(3):\n        yield str(number)\nreturn Response(pieces())"


def test_an_iterator_is_streamed_as_it_is_produced(host: Host) -> None:
    host.load(http(COUNTING))
    cid = host.request()
    head = host.expect(Head)
    assert (head.status, head.last) == (200, False)
    assert [host.next() for _ in range(4)] == [
        Chunk(cid, b"0", False),
        Chunk(cid, b"1", False),
        Chunk(cid, b"2", False),
        Chunk(cid, b"", True),
    ]


@pytest.mark.parametrize("body", ["b'x' * SIZE", "pieces()"])
def test_a_large_body_waits_for_what_the_client_takes(host: Host, body: str) -> None:
    size = int(limits.BODY_WINDOW) * 3
    code = f"async def pieces():\n    yield b'x' * SIZE\nreturn Response({body})"
    host.load(http(code, imports=f"SIZE = {size}"))
    cid = host.request()
    assert not host.expect(Head).last
    received, in_flight = 0, 0
    while True:
        chunk = host.expect(Chunk)
        assert len(chunk.data) <= limits.BODY_CHUNK
        if chunk.last:
            break
        received += len(chunk.data)
        in_flight += len(chunk.data)
        assert in_flight <= limits.BODY_WINDOW
        if in_flight == limits.BODY_WINDOW:
            host.say(Credit(cid, in_flight))
            in_flight = 0
    assert received == size


def test_a_body_past_the_limit_fails_before_its_head(host: Host) -> None:
    host.load(http(f"return Response(b'x' * {limits.RESPONSE_BODY + 1})"))
    host.request()
    failure = host.failed()
    assert failure.exception == "LimitExceeded"
    assert f"limit {int(limits.RESPONSE_BODY)} bytes" in failure.message


def test_an_iterator_that_raises_breaks_the_stream(host: Host) -> None:
    host.load(http("async def pieces():\n    yield b'a'\n    raise KeyError('b')\nreturn Response(pieces())"))
    host.request()
    assert not host.expect(Head).last
    assert host.expect(Chunk).data == b"a"
    assert host.failed().exception == "KeyError"


# --- clients that leave, deadlines that pass --------------------------------------------------------------------------


def test_the_signal_fires_when_the_client_leaves_and_the_handler_goes_on(host: Host) -> None:
    host.load(http("await request.signal.wait()\nreturn Response('gone')"))
    cid = host.request()
    host.say(Disconnected(cid))
    assert host.answered().body == b"gone"


def test_a_streaming_iterator_is_closed_when_the_client_leaves(host: Host) -> None:
    code = (
        "async def pieces():\n    try:\n        yield b'a'\n        await asyncio.sleep(100)\n"
        "    finally:\n        print('closed')\nreturn Response(pieces())"
    )
    host.load(http(code))
    cid = host.request()
    host.expect(Head)
    host.expect(Chunk)
    host.say(Disconnected(cid))
    assert host.next() == Line(cid, Level.INFO, "closed")
    assert host.next() == Chunk(cid, b"", True)


def test_an_iterator_waiting_for_a_slow_client_is_closed_when_the_client_leaves(host: Host) -> None:
    code = (
        "async def pieces():\n    try:\n        while True:\n            yield b'x' * 262144\n"
        "    finally:\n        print('closed')\nreturn Response(pieces())"
    )
    host.load(http(code))
    cid = host.request()
    host.expect(Head)
    for _ in range(limits.BODY_WINDOW // 262144):
        host.expect(Chunk)
    host.say(Disconnected(cid))
    assert host.next() == Line(cid, Level.INFO, "closed")
    assert host.next() == Chunk(cid, b"", True)


def test_stop_ends_the_call_and_says_where_it_was(host: Host) -> None:
    host.load(http("await asyncio.sleep(100)\nreturn Response()"))
    cid = host.request()
    host.say(Stop(cid))
    assert host.failed().reason is Reason.TIME


def test_stop_ends_even_a_call_that_does_not_listen(host: Host) -> None:
    code = (
        "while True:\n    try:\n        await asyncio.sleep(100)\n    except asyncio.CancelledError:\n        "
        "print('not me')"
    )
    host.load(http(code))
    cid = host.request()
    host.say(Stop(cid))
    while isinstance(message := host.next(), Line):
        assert message.text == "not me"
    assert message.failure.reason is Reason.TIME  # type: ignore[union-attr]  # it fails here when it is no failure


def test_messages_for_a_call_that_has_ended_are_dropped(host: Host) -> None:
    host.load(http("return Response('x')"))
    cid = host.request()
    host.answered()
    host.say(Credit(cid, 5), Feed(cid, b"x", True), Disconnected(cid), Stop(cid))
    host.request()
    assert host.answered().body == b"x"


# --- what is left behind ----------------------------------------------------------------------------------------------


def test_work_left_behind_is_cancelled_and_reported_before_the_last_word(host: Host) -> None:
    code = "asyncio.create_task(asyncio.sleep(100))\nasyncio.create_task(asyncio.sleep(100))\nreturn Response('x')"
    host.load(http(code))
    cid = host.request()
    assert host.next() == Line(cid, Level.WARN, "work left behind was cancelled: 2 tasks")
    assert host.answered().body == b"x"


def test_a_task_may_run_until_the_body_has_ended(host: Host) -> None:
    code = (
        "queue = asyncio.Queue()\nasync def work():\n    await queue.put('done')\nasyncio.create_task(work())\n"
        "async def pieces():\n    yield await queue.get()\nreturn Response(pieces())"
    )
    host.load(http(code))
    host.request()
    host.expect(Head)
    assert host.body() == b"done"


def test_a_task_that_failed_unheard_is_reported(host: Host) -> None:
    code = (
        "async def work():\n    raise ValueError('unheard')\nasyncio.create_task(work())\nawait asyncio.sleep(0)\n"
        "await asyncio.sleep(0)\nreturn Response()"
    )
    host.load(http(code))
    host.request()
    assert host.lines() == ["error: a task failed and nobody waited for it: ValueError: unheard"]


def test_what_outlives_its_call_cannot_ask_the_host_any_more(host: Host) -> None:
    code = (
        "async def work():\n    try:\n        await asyncio.sleep(100)\n    except asyncio.CancelledError:\n"
        "        try:\n            await ctx.run_query('m:q')\n        except RuntimeError as error:\n"
        "            print(error)\nasyncio.create_task(work())\nawait asyncio.sleep(0)\nreturn Response()"
    )
    host.load(http(code))
    host.request()
    host.lines()
    assert host.next() == Line(0, Level.INFO, "run.query: the call that this work belongs to has ended")


def test_a_mounted_application_answers(host: Host) -> None:
    app = (
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 201, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': scope['path'].encode()})\n"
    )
    declaration = host.load(
        {"http.py": f"from runtime import HttpRouter\nhttp = HttpRouter()\n{app}http.mount('/app/', app)"}
    )
    assert declaration.routes is not None
    host.request(declaration.routes[0].key, method="GET", url="http://site/app/x")
    head = host.answered()
    assert (head.status, head.body) == (201, b"/app/x")
