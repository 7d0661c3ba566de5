"""What does every `Web` promise, and how does the one that goes out serve fetches?"""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from runtime import limits
from runtime.adapters.outbound.memory_web import MemoryWeb
from runtime.adapters.outbound.web import HttpWeb
from runtime.egress.policy import CLOSED, OPEN, parse_policy
from runtime.egress.rules import Exceptions, NotAllowed, Plain, Rules, parse_exceptions
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.ports import FetchFailed, Outgoing, Web
from tests.contracts.web_house import NAME, House, Server, answer, serving

LISTED = Rules(parse_exceptions("127.0.0.1, localhost"), Plain.ALLOWED)


@pytest.fixture
async def web() -> AsyncIterator[HttpWeb]:
    made = HttpWeb(LISTED)
    yield made
    await made.close()


@pytest.fixture
def house(web: HttpWeb) -> House:
    return House(web)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


async def why(house: House, url: str, **more: object) -> str:
    """Why this fetch fails, with the name of what is raised."""
    with pytest.raises(SyscallRefused) as refused:
        await house.call().fetch(url, **more)  # type: ignore[arg-type]  # whatever the test is about
    return f"{refused.value.exception}: {refused.value}"


# --- on every adapter -------------------------------------------------------------------------------------------------


async def test_what_is_there_is_answered_and_what_is_not_fails(web: HttpWeb, server: Server) -> None:
    memory = MemoryWeb()
    server.answers["/a"] = answer()
    memory.publish(f"{server.url}/a", b"hel", b"lo")
    each: list[Web] = [web, memory]
    for adapter in each:
        async with adapter.ask(NAME, OPEN, Outgoing("POST", f"{server.url}/a", [], b"sent")) as found:
            assert (found.status, b"".join([piece async for piece in found.body])) == (200, b"hello")
        with pytest.raises(FetchFailed):
            async with adapter.ask(NAME, OPEN, Outgoing("GET", "http://127.0.0.1:1/", [])):
                pass
        with pytest.raises(NotAllowed, match="egress policy"):
            async with adapter.ask(NAME, CLOSED, Outgoing("GET", f"{server.url}/a", [])):
                pass
    assert server.bodies == [b"sent"] == [body for _, _, body in memory.asked if body]


# --- requests and answers ---------------------------------------------------------------------------------------------


async def test_a_request_tells_nothing_of_the_server_that_sends_it(
    house: House, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    server.answers["/a"] = answer()
    await house.call().fetch(f"{server.url}/a?b#c", headers={"X-Own": "1", "Host": "evil", "Content-Length": "7"})
    (head,) = server.heads
    first, *lines = head.strip().split("\r\n")
    assert first == "GET /a?b HTTP/1.1"
    assert sorted(lines) == [
        *("accept-encoding: gzip, deflate", "accept: */*", f"host: 127.0.0.1:{server.port}", "user-agent: warren"),
        "x-own: 1",
    ]


async def test_an_answer_comes_back_whole(house: House, server: Server) -> None:
    server.answers["/a"] = answer("404 Nowhere", "Set-Cookie: a=1", "X-A: y")
    number = await (call := house.call()).start(f"{server.url}/a#b")
    status, reason, url, redirected, headers, *_ = await call.say("fetch.head", number)
    assert (status, reason, url, redirected) == (404, b"Nowhere", f"{server.url}/a", False)
    assert [b"set-cookie", b"a=1"] in headers
    call.end()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_what_can_be_unpacked_is_and_the_rest_stays_as_it_is(house: House, server: Server, coding: str) -> None:
    packed = {"gzip": gzip.compress(b"hello"), "deflate": zlib.compress(b"hello"), "br": b"\x0bbr"}[coding]
    server.answers["/a"] = answer("200 OK", f"Content-Encoding: {coding}", body=packed)
    got = await house.call().fetch(f"{server.url}/a")
    assert got.body == (packed if coding == "br" else b"hello")
    assert ("content-encoding" in got.headers) == ("content-length" in got.headers) == (coding == "br")


@pytest.mark.parametrize("status", ["204 No", "304 Same"])
async def test_an_answer_without_a_body_ends_with_its_head(house: House, server: Server, status: str) -> None:
    server.answers["/a"] = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n\r\n".encode()
    assert (await house.call().fetch(f"{server.url}/a")).body == b""


async def test_an_answer_to_head_is_its_head(house: House, server: Server) -> None:
    server.answers["/a"] = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Encoding: gzip\r\n\r\n"
    got = await house.call().fetch(f"{server.url}/a", "HEAD")
    assert (got.body, got.headers["content-length"]) == (b"", "5000")


async def test_a_body_is_read_no_faster_than_the_tenant_reads_it(house: House, server: Server) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15000000\r\n\r\n")
        for _ in range(150):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    server.answers["/a"] = pour
    call = house.call()
    number = await call.start(f"{server.url}/a")
    await call.say("fetch.head", number)
    before = -1
    while before != sent:  # until it stands still
        before = sent
        await asyncio.sleep(0.05)
    assert sent < 14_000_000  # what the kernel's buffers and the window hold
    size, last = 0, False
    while not last:
        data, last = await call.say("fetch.read", number)
        assert len(data) <= limits.FETCH_WINDOW + limits.BODY_CHUNK
        size += len(data)
    assert size <= 15_000_000 and sent == 15_000_000


async def test_a_body_that_streams_is_sent_no_faster_than_the_server_takes_it(house: House, server: Server) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        size = 0
        while n := int(await reader.readline(), 16):
            size += len(await reader.readexactly(n))
            await reader.readline()
        writer.write(answer(body=b"%d" % size))
        await writer.drain()

    server.answers["/a"] = slow
    call = house.call()
    number = await call.start(f"{server.url}/a", "POST", streams=True)
    sent = 0
    sending = asyncio.ensure_future(call.say("fetch.send", number, b"x" * 250_000, False))
    while sent < 60:
        done, _ = await asyncio.wait((sending,), timeout=0.3)
        if not done:
            break
        sent += 1
        sending = asyncio.ensure_future(call.say("fetch.send", number, b"x" * 250_000, False))
    assert sent < 60  # it stood still before 15 MB were under way
    go_on.set()
    assert await sending is True
    await call.say("fetch.send", number, b"", True)
    assert (await call.finish(number)).body == b"%d" % ((sent + 1) * 250_000)


async def test_a_body_of_known_length_is_sent_with_it_and_must_keep_it(house: House, server: Server) -> None:
    server.answers["/a"] = answer()
    call = house.call()
    number = await call.start(f"{server.url}/a", "PUT", streams=True, length=6)
    assert await call.say("fetch.send", number, b"abc", False)
    await call.say("fetch.send", number, b"def", True)
    assert (await call.finish(number)).status == 200
    assert server.bodies == [b"abcdef"] and "content-length: 6\r\n" in server.heads[0]
    for data in (b"abc", b"abcdefg"):
        number = await call.start(f"{server.url}/a", "PUT", streams=True, length=6)
        with pytest.raises(SyscallRefused, match="was to have 6 bytes"):
            await call.say("fetch.send", number, data, True)
            await call.finish(number)
    call.end()


async def test_a_server_that_answers_early_stops_the_sender(house: House, server: Server) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("413 Too Much", "Connection: close"))
        await writer.drain()

    server.answers["/a"] = refuse
    call = house.call()
    number = await call.start(f"{server.url}/a", "POST", streams=True)
    wanted = True
    while wanted:
        try:
            wanted = await call.say("fetch.send", number, b"x" * 100_000, False)
        except SyscallRefused as broken:  # the reset may have overtaken the answer
            assert "broke off" in str(broken)
            call.end()
            return
    assert (await call.finish(number)).status == 413


async def test_a_connection_is_used_again_by_its_deployment_alone(house: House, server: Server) -> None:
    server.answers["/a"] = answer()
    for _ in range(3):
        await house.call().fetch(f"{server.url}/a")
    assert server.connections == 1
    await house.call(name=DeploymentName("other")).fetch(f"{server.url}/a")
    assert server.connections == 2
    await house.call().fetch(f"http://localhost:{server.port}/a")
    assert server.connections == 3


async def test_a_connection_that_was_closed_meanwhile_is_not_used(house: House, server: Server) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()

    server.answers["/a"] = once
    for _ in range(2):
        server.left.clear()
        assert (await house.call().fetch(f"{server.url}/a")).status == 200
        await server.left.wait()
        await asyncio.sleep(0.01)  # the end of the connection has to arrive
    assert server.connections == 2


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(house: House, server: Server, status: int) -> None:
    server.answers |= {"/a": answer(f"{status} Moved", "Location: b?c", body=b"old"), "/b": answer()}
    got = await house.call().fetch(f"{server.url}/a", "POST", b"sent", headers={"content-type": "x/y"})
    assert (got.body, got.url, got.redirected) == (b"hello", f"{server.url}/b?c", True)
    again = status in (307, 308)
    assert server.bodies == [b"sent", b"sent" if again else b""]
    assert server.heads[1].startswith("POST" if again else "GET")
    assert ("content-type" in server.heads[1]) == again


async def test_credentials_do_not_follow_to_another_origin(house: House, server: Server) -> None:
    secrets = {"authorization": "Bearer x", "cookie": "a=1", "x-own": "1"}
    async with serving() as other:
        other.answers["/b"] = answer()
        server.answers |= {"/a": answer("302 F", "Location: /c"), "/c": answer("302 F", f"Location: {other.url}/b")}
        await house.call().fetch(f"{server.url}/a", headers=secrets)
        assert all("Bearer x" in head and "a=1" in head for head in server.heads)
        assert "x-own: 1" in other.heads[0] and "Bearer" not in other.heads[0] and "a=1" not in other.heads[0]


async def test_a_redirect_can_be_taken_as_the_answer_or_as_an_error(house: House, server: Server) -> None:
    server.answers["/a"] = answer("302 Found", "Location: /b", body=b"there")
    got = await house.call().fetch(f"{server.url}/a", redirect="manual")
    assert (got.status, got.headers["location"], got.body, got.redirected) == (302, "/b", b"there", False)
    assert "TypeError" in await why(house, f"{server.url}/a", redirect="error")


async def test_a_redirect_that_leads_nowhere_is_the_answer(house: House, server: Server) -> None:
    server.answers["/a"] = answer("302 Found", body=b"where?")
    assert (await house.call().fetch(f"{server.url}/a")).body == b"where?"


async def test_a_circle_of_redirects_ends(house: House, server: Server) -> None:
    server.answers["/a"] = answer("302 Found", "Location: /a")
    assert f"more than {limits.FETCH_REDIRECTS} times" in await why(house, f"{server.url}/a")
    assert len(server.heads) == limits.FETCH_REDIRECTS + 1


@pytest.mark.parametrize(
    "location",
    [
        *("http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[::1]/", "http://0x7f.0.0.2/"),
        *("http://[::ffff:10.0.0.1]/", "http://2130706434/", "http://0177.0.0.2/", "file:///etc/passwd", "ftp://a/"),
        *("http://user:pw@127.0.0.1/", "http://1.1.1.1:25/"),
    ],
)
async def test_a_redirect_to_the_inside_is_refused_and_stands_in_the_log(
    house: House, server: Server, location: str
) -> None:
    server.answers["/a"] = answer("302 Found", f"Location: {location}")
    refused = await why(house, f"{server.url}/a")
    assert refused.startswith("TypeError: fetch refused: ")
    assert await house.lines() == [refused.removeprefix("TypeError: ")]


async def test_a_list_holds_at_every_redirect(house: House, server: Server) -> None:
    server.answers |= {"/a": answer("302 F", f"Location: http://localhost:{server.port}/b"), "/b": answer()}
    listed = house.call(parse_policy([f"127.0.0.1:{server.port}"]))
    with pytest.raises(SyscallRefused, match=r"localhost.*egress policy"):
        await listed.fetch(f"{server.url}/a")
    assert (await listed.fetch(f"{server.url}/b")).status == 200
    both = parse_policy([f"127.0.0.1:{server.port}", "localhost"])
    assert (await house.call(both).fetch(f"{server.url}/a")).redirected


# --- the inside -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]"),
        *("169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "①②⑦.0.0.1", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]"),
    ],
)
async def test_the_inside_cannot_be_reached_however_it_is_written(server: Server, host: str) -> None:
    strict = HttpWeb(Rules(Exceptions(), Plain.ALLOWED))
    house = House(strict)
    assert "fetch refused" in await why(house, f"http://{host}:{server.port}/a")
    assert server.heads == [] and server.connections == 0
    await strict.close()


async def test_a_name_is_judged_by_the_addresses_it_has_and_resolved_once(server: Server) -> None:
    web = HttpWeb(Rules(Exceptions(), Plain.ALLOWED))
    asked: list[str] = []

    async def addresses(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34", "127.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

    web._resolver.addresses = addresses  # type: ignore[method-assign]  # the name server of this test
    assert "private" in await why(House(web), f"http://rebinding.example:{server.port}/a")
    assert asked == ["rebinding.example"] and server.connections == 0
    await web.close()


async def test_whoever_gives_up_waiting_for_a_name_gets_no_other_thread_for_it() -> None:
    web = HttpWeb(LISTED)
    looking, go_on = 0, asyncio.Event()

    async def addresses(host: str, port: int) -> list[str]:
        nonlocal looking
        looking += 1
        await go_on.wait()
        raise OSError("nothing there")

    web._resolver.addresses = addresses  # type: ignore[method-assign]  # the name server of this test
    house = House(web)
    for _ in range(3):
        urls = [f"http://slow{number}.example/" for number in range(8)]
        failed = await asyncio.gather(*(house.call().fetch(url, timeout=0.05) for url in urls), return_exceptions=True)
        assert all("timeout=0.05" in str(one) for one in failed)
    assert looking == 4
    go_on.set()
    assert "no address" in await why(house, "http://slow.example/")
    await web.close()


async def test_a_name_that_no_list_holds_is_not_even_resolved(server: Server) -> None:
    web = HttpWeb(LISTED)

    async def addresses(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was resolved")

    web._resolver.addresses = addresses  # type: ignore[method-assign]  # the name server of this test
    with pytest.raises(SyscallRefused, match="egress policy"):
        await House(web).call(parse_policy(["a.example"])).fetch("http://secret-in-a-name.example/")
    await web.close()


async def test_the_servers_own_ports_are_not_reached_even_where_its_address_is_allowed(server: Server) -> None:
    server.answers["/a"] = answer()
    for exceptions in ("127.0.0.1, localhost", "127.0.0.0/8, 0.0.0.0"):
        web = HttpWeb(Rules(parse_exceptions(exceptions), Plain.ALLOWED, frozenset({server.port})))
        for host in ("127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0"):
            assert "TypeError" in await why(House(web), f"http://{host}:{server.port}/a")
        await web.close()
    assert server.heads == []
