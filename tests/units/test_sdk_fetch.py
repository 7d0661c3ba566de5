"""What does ``fetch`` ask of the host, and what does a tenant make of the answer?"""

from collections.abc import Iterator
from typing import Any

import pytest

from runtime import limits
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Head, Line, Refuse, Syscall
from tests.units.guests import Host

HEADERS = [[b"content-type", b"text/plain"], [b"set-cookie", b"a=1"], [b"set-cookie", b"b=2"]]
BUNDLE = """
import asyncio, json
from runtime import *

{globals}

{decorator}
async def go(ctx):
    {code}
"""


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def begin(host: Host, code: str, kind: Kind = Kind.ACTION, globals: str = "") -> int:
    """Run this code as a function of this kind."""
    body = code.replace("\n", "\n    ")
    host.load({"m.py": BUNDLE.format(globals=globals, decorator=f"@{kind.value}", code=body)})
    return host.call("m:go", kind)


def started(host: Host, number: int = 1) -> list[Any]:
    """The guest begins a fetch; what it asked for."""
    asked, args = host.asked()
    assert asked.name == "fetch.start"
    host.answer(asked, number)
    return args


def asked(host: Host, name: str, *args: Any) -> Syscall:
    """The guest asks exactly this."""
    question, given = host.asked()
    assert (question.name, given) == (name, list(args))
    return question


def answer(host: Host, data: bytes = b"hello", last: bool = True, status: int = 200, headers: Any = HEADERS) -> None:
    """Answer with this head and the beginning of a body."""
    host.answer(asked(host, "fetch.head", 1), [status, b"Fine", "https://a.example/x", True, headers, data, last])


def test_a_request_goes_out_as_it_was_written(host: Host) -> None:
    begin(host, "await fetch('HTTPS://A.example/x?y#z', method='post', headers={'X-A': '1'}, body='hé', timeout=2)")
    method, url, headers, body, streams, length, redirect, timeout = started(host)
    assert (method, url, body) == ("POST", "https://a.example/x?y#z", "hé".encode())
    assert headers == [[b"x-a", b"1"], [b"content-type", b"text/plain;charset=UTF-8"]]
    assert (streams, length, redirect, timeout) == (False, None, "follow", 2.0)
    answer(host)
    assert host.returned() is None


def test_an_answer_is_a_response(host: Host) -> None:
    begin(
        host,
        "r = await fetch('https://a.example/x')\n"
        "return [r.status, r.ok, r.status_text, r.url, r.redirected, r.type, r.headers.get_set_cookie(),\n"
        "        await r.text(), r.body_used]",
    )
    assert started(host)[3:6] == [None, False, None]
    answer(host, status=404)
    expected = [404, False, "Fine", "https://a.example/x", True, "basic", ["a=1", "b=2"], "hello", True]
    assert host.returned() == expected


def test_the_headers_of_an_answer_stay_as_they_were_and_a_copy_can_be_changed(host: Host) -> None:
    begin(
        host,
        "r = await fetch('https://a.example/')\nh = Headers(r.headers)\nh.set('content-type', 'x/y')\n"
        "try:\n    r.headers.set('content-type', 'x/y')\n"
        "except TypeError as e:\n    return [h.get('content-type'), str(e)]",
    )
    started(host)
    answer(host)
    changed, why = host.returned()
    assert changed == "x/y"
    assert "cannot be changed" in why


def test_a_body_is_read_piece_by_piece_and_no_faster_than_somebody_wants_it(host: Host) -> None:
    begin(host, "r = await fetch('https://a.example/')\nreturn [p async for p in r.body]")
    started(host)
    answer(host, b"one", last=False)
    host.answer(asked(host, "fetch.read", 1), [b"two", False])
    host.answer(asked(host, "fetch.read", 1), [b"", True])
    assert host.returned() == [b"one", b"two"]


@pytest.mark.parametrize("forget", ["del r", "await r.body.aclose()", "async for p in r.body:\n    break\ndel r, p"])
def test_a_body_that_nobody_reads_is_given_up(host: Host, forget: str) -> None:
    begin(host, f"r = await fetch('https://a.example/')\n{forget}\nawait asyncio.sleep(0)\nreturn 1")
    started(host)
    answer(host, b"one", last=False)
    host.answer(asked(host, "fetch.close", 1), None)
    assert host.returned() == 1


def test_a_body_that_streams_is_sent_as_it_is_made(host: Host) -> None:
    begin(
        host,
        "r = await fetch('https://a.example/', method='PUT', body=pieces())\nreturn r.status",
        globals="async def pieces():\n    yield 'one'\n    yield b'two'\n",
    )
    assert started(host)[3:6] == [None, True, None]
    host.answer(asked(host, "fetch.send", 1, b"one", False), True)
    host.answer(asked(host, "fetch.send", 1, b"two", False), True)
    host.answer(asked(host, "fetch.send", 1, b"", True), True)
    answer(host)
    assert host.returned() == 200


def test_a_server_that_wants_no_more_gets_no_more(host: Host) -> None:
    begin(
        host,
        "r = await fetch('https://a.example/', method='PUT', body=pieces())\nreturn made",
        globals="made = []\nasync def pieces():\n    while True:\n        made.append(1)\n        yield b'x'\n",
    )
    started(host)
    host.answer(asked(host, "fetch.send", 1, b"x", False), True)
    host.answer(asked(host, "fetch.send", 1, b"x", False), False)
    answer(host)
    assert host.returned() == [1, 1]


def test_a_large_body_is_sent_in_pieces_and_its_length_is_said(host: Host) -> None:
    size = int(limits.BODY_WINDOW) + 5
    begin(host, f"r = await fetch('https://a.example/', method='PUT', body=b'x' * {size})\nreturn r.status")
    assert started(host)[3:6] == [None, True, size]
    sent = 0
    while sent < size:
        question, (_, data, last) = host.asked()
        assert (question.name, last) == ("fetch.send", False)
        assert len(data) <= limits.BODY_CHUNK
        sent += len(data)
        host.answer(question, True)
    host.answer(asked(host, "fetch.send", 1, b"", True), True)
    answer(host)
    assert host.returned() == 200


@pytest.mark.parametrize("exception", ["TypeError", "TimeoutError", "LimitExceeded"])
@pytest.mark.parametrize("when", ["fetch.start", "fetch.head", "fetch.read"])
def test_what_went_wrong_is_raised_where_it_was_awaited(host: Host, when: str, exception: str) -> None:
    begin(
        host,
        "try:\n    r = await fetch('https://a.example/')\n    return await r.text()\n"
        f"except {exception} as e:\n    await asyncio.sleep(0)\n    return str(e)",
    )
    closed = False
    for name in ("fetch.start", "fetch.head", "fetch.read"):
        question, _ = host.asked()
        assert question.name == name
        if name == when:
            host.say(Refuse(question.cid, question.sid, exception, "because"))
            closed = name != "fetch.start"
            break
        head = [200, b"", "https://a.example/", False, [], b"", False]
        host.answer(question, 1 if name == "fetch.start" else head)
    if closed:
        host.answer(asked(host, "fetch.close", 1), None)
    assert host.returned() == "because"


@pytest.mark.parametrize(("kind", "says"), [(Kind.QUERY, "a query"), (Kind.MUTATION, "a mutation")])
def test_queries_and_mutations_do_not_fetch_and_are_told_what_to_do(host: Host, kind: Kind, says: str) -> None:
    begin(host, "await fetch('https://a.example/')", kind)
    failure = host.failed()
    assert failure.exception == "RuntimeError"
    assert says in failure.message and "action" in failure.message


def test_nothing_is_fetched_while_a_module_is_imported(host: Host) -> None:
    (wrong,) = host.load_refused({"m.py": "from runtime import fetch\nfetch('https://a.example/').send(None)\n"})
    assert "import of a module" in wrong.message


@pytest.mark.parametrize(
    ("call", "exception"),
    [
        *((f"fetch({url!r})", "TypeError") for url in ("/x", "", "data:,x", "blob:x", "file:///x", "ftp://a.example/")),
        ("fetch('https://u:p@a.example/')", "TypeError"),
        ("fetch('https://a.example/', redirect='maybe')", "TypeError"),
        ("fetch('https://a.example/', timeout=0)", "ValueError"),
        ("fetch('https://a.example/', timeout='5')", "TypeError"),
        ("fetch('https://a.example/', method='CONNECT')", "TypeError"),
        ("fetch('https://a.example/', body='x')", "TypeError"),
        ("fetch('https://a.example/', headers={'a b': 'x'})", "TypeError"),
        (f"fetch('https://a.example/', method='PUT', body=b'x' * {limits.FETCH_REQUEST + 1})", "LimitExceeded"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_host_hears_of_it(host: Host, call: str, exception: str) -> None:
    begin(host, f"await {call}")
    assert host.failed().exception == exception


def test_a_request_can_be_fetched_and_its_parts_replaced(host: Host) -> None:
    begin(
        host,
        "q = Request('https://a.example/', method='POST', headers={'a': '1'}, body='x')\n"
        "r = await fetch(q, headers={'b': '2'})\nreturn q.body_used",
    )
    method, _, headers, body, *_ = started(host)
    assert (method, headers, body) == ("POST", [[b"b", b"2"]], b"x")
    answer(host)
    assert host.returned() is True


ABORTING = """
c = AbortController()
async def later():
    c.abort({reason})
asyncio.ensure_future(later())
try:
    r = await fetch('https://a.example/', signal=c.signal)
    return await r.text()
except Exception as e:
    await asyncio.sleep(0)
    return [type(e).__name__, str(e)]
"""


@pytest.mark.parametrize(("reason", "name"), [("", "AbortError"), ("ValueError('no')", "ValueError")])
def test_a_signal_gives_the_fetch_up(host: Host, reason: str, name: str) -> None:
    begin(host, ABORTING.format(reason=reason).strip())
    started(host)
    asked(host, "fetch.head", 1)  # which is never answered
    asked(host, "fetch.close", 1)
    assert host.returned()[0] == name


def test_a_signal_that_has_fired_sends_nothing(host: Host) -> None:
    begin(host, "c = AbortController()\nc.abort('too late')\nawait fetch('https://a.example/', signal=c.signal)")
    failure = host.failed()
    assert (failure.exception, failure.message) == ("AbortError", "too late")


def test_a_fetch_that_its_caller_stops_waiting_for_is_given_up(host: Host) -> None:
    begin(
        host,
        "try:\n    async with asyncio.timeout(0.01):\n        await fetch('https://a.example/')\n"
        "except TimeoutError:\n    await asyncio.sleep(0)\n    return 'late'",
    )
    started(host)
    asked(host, "fetch.head", 1)
    asked(host, "fetch.close", 1)
    assert host.returned() == "late"


def test_an_answer_to_head_has_no_body(host: Host) -> None:
    begin(host, "r = await fetch('https://a.example/', method='HEAD')\nreturn [r.body is None, await r.text()]")
    started(host)
    answer(host, b"")
    assert host.returned() == [True, ""]


def test_what_was_fetched_can_be_answered_with(host: Host) -> None:
    host.load(
        {
            "http.py": "from runtime import *\nhttp = HttpRouter()\n@http.route(path='/', method='GET')\n@http_action\n"
            "async def go(ctx, request):\n    return await fetch('https://a.example/')\n"
        }
    )
    host.request()
    started(host)
    answer(host, b"relayed")
    head = host.expect(Head)
    assert (head.status, head.body) == (200, b"relayed")
    assert (b"set-cookie", b"b=2") in head.headers


def test_a_status_that_nobody_may_answer_with_says_so(host: Host) -> None:
    host.load(
        {
            "http.py": "from runtime import *\nhttp = HttpRouter()\n@http.route(path='/', method='GET')\n@http_action\n"
            "async def go(ctx, request):\n    r = await fetch('https://a.example/')\n"
            "    print(r.status)\n    return r\n"
        }
    )
    host.request()
    started(host)
    answer(host, status=999)
    assert host.expect(Line).text == "999"
    assert "999" in host.failed().message
