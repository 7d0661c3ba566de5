"""What does an HTTP client see at the front door?"""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import ip_network

import pytest

from runtime import limits
from runtime.edge.connections.connection import Connection
from runtime.edge.hosts import Addresses, Listener
from runtime.errors import IsolateLost
from runtime.invocation import HttpInvocation
from runtime.protocol.declaration import Declaration
from runtime.protocol.messages import Level
from tests.contracts.front_door import NAME, Front, Reply, opened, paused, route, say

SITE = f"{NAME}.site.localhost"
HELLO = Declaration(
    routes=(
        route("GET", "/hello"),
        route("POST", "/echo"),
        route("GET", "/users/{id}"),
        route("GET", "/files/"),
        route("*", "/app/"),
    )
)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with opened(HELLO) as door:
        yield door


async def echo(invocation: HttpInvocation) -> Reply:
    body = invocation.body
    if body is None:
        return Reply(body=b"none")
    if isinstance(body, bytes):
        return Reply(body=body)
    return Reply(body=b"".join([piece async for piece in body]))


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [f"{SITE}", f"{NAME.upper()}.SITE.localhost:3210", f"{SITE}."])
async def test_a_deployments_host_reaches_its_routes(front: Front, host: str) -> None:
    answer = await front.ask("GET", "/hello", host=host)
    assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["quiet-fox-9.site.localhost", "quiet-fox-9.cloud.localhost", "a.b.site.localhost", ".site.localhost"]
)
async def test_a_host_without_deployment_is_404_and_says_which(front: Front, host: str) -> None:
    answer = await front.ask("GET", "/version", host=host)
    assert answer.status == 404
    assert repr(host.removesuffix(".site.localhost").removesuffix(".cloud.localhost")) in answer.body.decode()
    assert len(answer["x-request-id"]) == 16


@pytest.mark.parametrize("host", ["a b", "x/y", "höst", "a:b:c", "site.localhost:99999999", "<script>"])
async def test_a_host_that_is_none_is_400(front: Front, host: str) -> None:
    assert (await front.ask("GET", "/hello", host=host)).status == 400


async def test_a_missing_or_doubled_host_is_400(front: Front) -> None:
    assert b" 400 " in await front.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b" 400 " in await front.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")


async def test_any_other_host_is_the_control_planes(front: Front) -> None:
    assert (await front.ask("GET", "/v1", host="127.0.0.1:3210")).body.startswith(b"control plane")
    assert (await front.ask("GET", "/v1", host="site.localhost")).body.startswith(b"control plane")


async def test_a_custom_domain_reaches_its_deployment(front: Front) -> None:
    front.names.domains["api.example.com"] = NAME
    assert (await front.ask("GET", "/hello", host="API.example.com:80")).body == b"http://api.example.com/hello"


async def test_an_absolute_target_decides_over_the_host_header(front: Front) -> None:
    target = f"http://{SITE}/hello?x"
    assert (await front.ask("GET", target, host="elsewhere")).body == target.encode()
    assert (await front.ask("GET", f"http://{SITE}", host="elsewhere")).status == 404


async def test_the_second_port_answers_the_default_deployments_site() -> None:
    addresses = Addresses("site.localhost", "cloud.localhost", default=NAME)
    async with opened(HELLO, listener=Listener.SITE, addresses=addresses, fallback=None) as front:
        for host in ("127.0.0.1:3211", "localhost", "whatever.example", f"{SITE}"):
            assert (await front.ask("GET", "/hello", host=host)).status == 200
        assert (await front.ask("GET", "/hello", host="other-fox-1.site.localhost")).status == 404


async def test_forwarded_headers_are_believed_from_listed_proxies_only(front: Front) -> None:
    told = ("X-Forwarded-Proto: https", f"X-Forwarded-Host: {SITE}", "X-Forwarded-For: 6.6.6.6, 9.9.9.9")
    assert (await front.ask("GET", "/hello", *told, host="lb")).body == b"control plane for http 127.0.0.1"
    addresses = Addresses("site.localhost", "cloud.localhost", proxies=(ip_network("127.0.0.0/8"),))
    async with opened(HELLO, addresses=addresses) as behind:
        assert (await behind.ask("GET", "/hello", *told, host="lb")).body == f"https://{SITE}/hello".encode()
        assert (await behind.ask("GET", "/", *told[::2], host="lb")).body == b"control plane for https 9.9.9.9"


# --- routes -----------------------------------------------------------------------------------------------------------


async def test_the_handler_sees_url_and_decoded_parameters(front: Front) -> None:
    answer = await front.ask("GET", "/users/a%2Fb%20%C3%A9%FF?q=1", host=f"{SITE}:81")
    assert answer.body == f"http://{SITE}:81/users/a%2Fb%20%C3%A9%FF?q=1".encode()
    assert front.hall.asked[0].parameters == {"id": "a/b é\ufffd"}


async def test_dot_segments_are_resolved_as_a_browser_would(front: Front) -> None:
    assert (await front.ask("GET", "/x/../hello")).body == f"http://{SITE}/hello".encode()
    assert (await front.ask("GET", "/%2e%2E/users/../hello")).status == 200


async def test_head_is_answered_by_the_get_route_without_its_body(front: Front) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Reply(body=b"12345"))
    answer = await front.ask("HEAD", "/hello")
    assert (answer.status, answer.body, answer["content-length"]) == (200, b"", "5")
    assert front.hall.asked[0].method == "HEAD"


async def test_a_path_of_other_methods_is_405_with_allow(front: Front) -> None:
    answer = await front.ask("DELETE", "/hello")
    assert (answer.status, answer["allow"]) == (405, "GET, HEAD")
    assert (await front.ask("TRACE", "/nowhere")).status == 405


async def test_every_404_says_what_to_do_next(front: Front) -> None:
    assert b"GET /nowhere" in (await front.ask("GET", "/nowhere")).body
    for declaration, words in ((Declaration(), b"http.py"), (None, b"warren deploy")):
        async with opened(declaration) as other:
            answer = await other.ask("GET", "/hello")
            assert answer.status == 404
            assert words in answer.body
            assert answer["content-type"].startswith("text/plain")


async def test_a_paused_deployment_is_503(front: Front) -> None:
    paused(front)
    answer = await front.ask("GET", "/hello")
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "DeploymentPaused")


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_a_body_arrives_whole_or_in_pieces(front: Front) -> None:
    front.hall.handlers["POST /echo"] = echo
    assert (await front.ask("POST", "/echo", body=b"small")).body == b"small"
    assert (await front.ask("POST", "/echo", "Content-Length: 0")).body == b""
    large = bytes(range(256)) * 8192
    assert (await front.ask("POST", "/echo", body=large)).body == large


async def test_a_get_has_no_body_whatever_was_sent(front: Front) -> None:
    front.hall.handlers["GET /hello"] = echo
    assert (await front.ask("GET", "/hello", body=b"x" * 200_000)).body == b"none"


async def test_an_announced_body_past_the_limit_is_413_at_once(front: Front) -> None:
    front.hall.handlers["POST /echo"] = echo
    answer = await front.ask("POST", "/echo", "Expect: 100-continue", f"Content-Length: {limits.REQUEST_BODY + 1}")
    assert answer.status == 413
    assert str(int(limits.REQUEST_BODY)) in json.loads(answer.body)["message"]
    assert str(limits.REQUEST_BODY + 1) in json.loads(answer.body)["message"]
    assert front.hall.asked == []


async def test_who_sends_too_much_before_reading_still_reads_the_413(front: Front) -> None:
    front.hall.handlers["POST /echo"] = echo
    body = b"x" * (limits.REQUEST_BODY + 1)
    assert (await front.ask("POST", "/echo", body=body)).status == 413
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = f"POST /echo HTTP/1.1\r\nHost: {SITE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b" 413 " in (await front.raw(head, chunk * 21, b"0\r\n\r\n"))[:20]


async def test_a_client_that_waits_for_permission_gets_it_when_the_body_is_read(front: Front) -> None:
    front.hall.handlers["POST /echo"] = echo
    head = f"POST /echo HTTP/1.1\r\nHost: {SITE}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(head.encode() + b"Connection: close\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"ok")
    assert (await reader.read()).endswith(b"\r\n\r\nok")
    writer.close()


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_an_answer_carries_id_and_timing_and_is_logged_once(front: Front) -> None:
    answer = await front.ask("GET", "/hello")
    assert answer["server-timing"] == "queue;dur=0.25, cold;dur=0.00, handler;dur=1.50"
    ((name, entry),) = front.journal.entries
    assert (name, entry.kind, entry.status, entry.function, entry.level) == (
        NAME,
        "request",
        200,
        "GET /hello",
        Level.INFO,
    )
    assert entry.request_id == answer["x-request-id"] == front.hall.asked[0].request_id
    assert entry.text.startswith("GET /hello 200 in ")


async def test_framing_and_hop_by_hop_headers_are_ours(front: Front) -> None:
    hostile = b"connection keep-alive transfer-encoding upgrade te trailer proxy-authenticate".split()
    headers = [(name, b"x") for name in hostile] + [
        (b"Content-Length", b"999"),
        (b"X-Mine", b"1"),
        (b"set-cookie", b"a"),
    ]
    front.hall.handlers["GET /hello"] = partial(say, Reply(headers=[*headers, (b"set-cookie", b"b")], body=b"ok"))
    answer = await front.ask("GET", "/hello")
    assert (answer.body, answer["content-length"], answer["x-mine"], answer.whole) == (b"ok", "2", "1", True)
    assert answer.headers["set-cookie"] == ["a", "b"]
    assert {name.decode() for name in hostile} & answer.headers.keys() == {"connection"}
    assert answer["connection"] == "close"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers=[(b"x", b"a\r\nset-cookie: evil=1")]),
        Reply(headers=[(b"x\r\ny", b"")]),
        Reply(headers=[(b"", b"")]),
        Reply(headers=[(b"x", b"\0")]),
        Reply(status=100),
        Reply(status=999),
        Reply(headers=[(b"x", b"")] * 1000),
        Reply(headers=[(b"x", b"y" * 100_000)]),
    ],
)
async def test_what_cannot_be_sent_is_a_500(front: Front, reply: Reply) -> None:
    front.hall.handlers["GET /hello"] = partial(say, reply)
    answer = await front.ask("GET", "/hello")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers
    assert "InvalidResponse" in front.journal.entries[0][1].text


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_body_has_none(front: Front, status: int) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Reply(status=status, body=b"surprise"))
    answer = await front.ask("GET", "/hello")
    assert (answer.status, answer.body) == (status, b"")
    assert "transfer-encoding" not in answer.headers


async def test_a_stream_is_sent_as_it_comes_and_credited(front: Front) -> None:
    reply = Reply(headers=[(b"content-length", b"3")], body=b"one,", last=False, rest=_pieces(b"two,", b"three"))
    front.hall.handlers["GET /hello"] = partial(say, reply)
    answer = await front.ask("GET", "/hello")
    assert (answer.body, answer.whole) == (b"one,two,three", True)
    assert "content-length" not in answer.headers
    assert reply.taken == len(b"one,two,three")


async def _pieces(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


async def test_a_stream_that_breaks_or_is_too_long_is_cut(front: Front) -> None:
    mebibyte = b"x" * 0x100000
    for rest, words in (([IsolateLost("killed")], "killed"), ([mebibyte] * 21, "20971520")):
        reply = Reply(body=b"begun", last=False, rest=_pieces(*rest))
        front.hall.handlers["GET /hello"] = partial(say, reply)
        answer = await front.ask("GET", "/hello")
        assert not answer.whole
        assert len(answer.body) <= limits.RESPONSE_BODY
        assert words in front.journal.entries[-1][1].text


async def test_head_of_an_endless_stream_is_answered_and_the_stream_given_up(front: Front) -> None:
    reply = Reply(body=b"begun", last=False, rest=_pieces())
    front.hall.handlers["GET /hello"] = partial(say, reply)
    assert (await front.ask("HEAD", "/hello")).status == 200
    assert reply.abandoned
    assert front.hall.asked[0].client.gone


async def test_a_client_that_leaves_is_noticed_while_the_handler_runs(front: Front) -> None:
    left = asyncio.Event()

    async def wait(invocation: HttpInvocation) -> Reply:
        invocation.client.when_gone(left.set)
        async with asyncio.timeout(10):
            await left.wait()
        return Reply()

    front.hall.handlers["GET /hello"] = wait
    front.hall.handlers["POST /echo"] = wait
    for head in ("GET /hello", "POST /echo"):
        left.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"{head} HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 1\r\n\r\nx".encode())
        while not front.hall.asked or f"{front.hall.asked[-1].route}" != head:
            await asyncio.sleep(0.001)
        writer.close()
        async with asyncio.timeout(10):
            await left.wait()


# --- connections ------------------------------------------------------------------------------------------------------


class Impatient(Connection):
    idle = 0.2
    keep_alive = 0.2


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: " + NAME.encode() + b".site.localhost\r\nConnection: close\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 200_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000_000, 431),
    ],
)
async def test_malformed_and_oversized_requests_are_refused(front: Front, request_bytes: bytes, status: int) -> None:
    answer = await front.raw(request_bytes)
    assert answer[:13] == b"HTTP/1.1 %d " % status
    assert b"\r\nx-request-id: " in answer and b"\r\nserver-timing: " in answer
    assert front.hall.asked == []


async def test_a_body_that_breaks_off_is_400_and_never_answered_as_whole(front: Front) -> None:
    begun = asyncio.Event()

    async def read(invocation: HttpInvocation) -> Reply:
        begun.set()
        return await echo(invocation)

    front.hall.handlers["POST /echo"] = read
    head = f"POST /echo HTTP/1.1\r\nHost: {SITE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b" 400 " in (await front.raw(head, b"5\r\nhello\r\n", begun, b"nonsense\r\n"))[:20]


async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    one = f"GET /users/%d HTTP/1.1\r\nHost: {SITE}\r\n%s\r\n"
    answers = await front.raw("".join(one % (n, "Connection: close\r\n" if n == 9 else "") for n in range(10)).encode())
    assert [int(part[:1]) for part in answers.split(b"/users/")[1:]] == list(range(10))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost:", b"HTTP/1.1 408 "),
        (
            f"POST /echo HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 9\r\n\r\n123".encode(),
            b"HTTP/1.1 408 ",
        ),
        (b"", b""),
    ],
)
async def test_a_client_that_stops_in_the_middle_is_sent_away(sent: bytes, status: bytes) -> None:
    async with opened(HELLO, connection=Impatient) as front:
        front.hall.handlers["POST /echo"] = echo
        assert (await front.raw(sent))[:13] == status


async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(front: Front) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    request = "\r\n".join(["GET /hello HTTP/1.1", f"Host: {SITE}", *upgrade, "", ""]).encode()
    assert (await front.raw(request))[:13] == b"HTTP/1.1 200 "
