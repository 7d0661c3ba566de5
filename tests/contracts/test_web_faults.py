"""Servers that lie, drip, flood or say nothing, tenants that leave, guests that talk nonsense: what is kept of them?"""

import asyncio
import gc
import gzip
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime import limits
from runtime.adapters.outbound.memory_web import MemoryWeb
from runtime.adapters.outbound.web import HttpWeb
from runtime.egress.policy import OPEN
from runtime.egress.rules import Plain, Rules, parse_exceptions
from runtime.errors import SyscallRefused
from runtime.limits import Limit
from runtime.ports import Outgoing
from runtime.protocol.declaration import Kind
from tests.contracts.web_house import NAME, Call, House, Server, Talk, answer, serving

LISTED = Rules(parse_exceptions("127.0.0.1"), Plain.ALLOWED)


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long."""
    monkeypatch.setattr(limits, "FETCH_SILENCE", Limit(200, "ms", "so that the test is short"))


async def refused(call: Call, url: str, **more: Any) -> SyscallRefused:
    with pytest.raises(SyscallRefused) as found:
        async with asyncio.timeout(20):
            await call.fetch(url, **more)
    return found.value


def sends(*pieces: bytes, forever: bytes = b"", then_wait: bool = False) -> Talk:
    """Send this, and then the same thing again and again, or nothing until the client has gone."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        while forever:
            writer.write(forever)
            await writer.drain()
        if then_wait:
            await reader.read()

    return talk


def sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except FileNotFoundError:
            continue  # the listing itself
    return found


async def gone(server: Server, house: House) -> None:
    """Wait until nobody is connected to the server, and nothing counts as under way."""
    async with asyncio.timeout(10):
        while server.open:
            server.left.clear()
            await server.left.wait()
        while house.fetching._open:
            await asyncio.sleep(0)


# --- servers ----------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (sends(b""), "broke off"),
        (sends(b"SSH-2.0-OpenSSH_9.6\r\n"), "no HTTP"),
        (sends(b"\x00" * 1000), "no HTTP"),
        (sends(HEAD + b"Content-Length: 50\r\n\r\nshort"), "broke off"),
        (sends(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nshorter"), "no HTTP"),
        (sends(HEAD + b"Content-Length: -5\r\n\r\n"), "no HTTP"),
        (sends(CHUNKED + b"5\r\nhello\r\n"), "broke off"),
        (sends(CHUNKED + b"zz\r\nhello\r\n"), "no HTTP"),
        (sends(HEAD, forever=b"X: y\r\n" * 1000), "no HTTP"),
        (sends(HEAD + b"X: ", forever=b"y" * 1000), "no HTTP"),
        (sends(forever=b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "more than an answer may have"),
        (sends(HEAD + b"X: y\r\n" * 300 + b"\r\n"), "300 headers"),
        (sends(HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n"), "headers of 7"),
        (sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "no HTTP"),
        (sends(CHUNKED, forever=b"1;" + b"e" * 4_000 + b"\r\nx\r\n"), "more than an answer may have"),
        (sends(answer("200 OK", "Content-Encoding: gzip", body=b"no gzip at all")), "unpacked"),
        (sends(answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"x" * 9000)[:-9])), "unpacked"),
    ],
)
async def test_an_answer_that_is_none_fails_and_says_why(house: House, server: Server, talk: Talk, says: str) -> None:
    server.answers["/a"] = talk
    call = house.call()
    failed = await refused(call, f"{server.url}/a")
    assert failed.exception == "TypeError"
    assert str(failed).startswith("fetch failed: ") and says in str(failed)
    call.end()
    await gone(server, house)


@pytest.mark.parametrize(
    "talk",
    [
        sends(HEAD + b"\r\n", forever=b"x" * 100_000),
        sends(CHUNKED, forever=b"186a0\r\n" + b"x" * 100_000 + b"\r\n"),
        sends(answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"\0" * 30_000_000))),
    ],
)
async def test_a_body_without_end_and_a_bomb_are_stopped_at_the_limit(house: House, server: Server, talk: Talk) -> None:
    server.answers["/a"] = talk
    call = house.call()
    failed = await refused(call, f"{server.url}/a")
    assert failed.exception == "LimitExceeded" and "FETCH_RESPONSE" in str(failed)
    call.end()
    await gone(server, house)


@pytest.mark.parametrize("talk", [sends(then_wait=True), sends(HEAD, then_wait=True)])
async def test_a_server_that_says_nothing_is_given_up(
    house: House, server: Server, impatient: None, talk: Talk
) -> None:
    server.answers["/a"] = talk
    failed = await refused(house.call(), f"{server.url}/a")
    assert failed.exception == "TimeoutError" and "FETCH_SILENCE" in str(failed)
    await gone_after_close(house, server)


async def gone_after_close(house: House, server: Server) -> None:
    async with asyncio.timeout(10):
        while server.open:
            server.left.clear()
            await server.left.wait()


async def test_a_server_that_stops_in_the_middle_is_given_up(house: House, server: Server, impatient: None) -> None:
    server.answers["/a"] = sends(CHUNKED + b"5\r\nhello\r\n", then_wait=True)
    call = house.call()
    number = await call.start(f"{server.url}/a")
    *_, data, last = await call.say("fetch.head", number)
    if not data:
        data, last = await call.say("fetch.read", number)
    assert (data, last) == (b"hello", False)
    with pytest.raises(SyscallRefused, match="FETCH_SILENCE"):
        await call.say("fetch.read", number)


async def test_a_server_that_drips_its_head_is_given_up(house: House, server: Server, impatient: None) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    server.answers["/a"] = drip
    assert (await refused(house.call(), f"{server.url}/a")).exception == "TimeoutError"


async def test_a_tenant_that_takes_its_time_is_not_the_servers_fault(
    house: House, server: Server, impatient: None
) -> None:
    server.answers["/a"] = answer()
    call = house.call()
    number = await call.start(f"{server.url}/a", "POST", streams=True)
    await asyncio.sleep(0.5)  # longer than any server may be silent
    await call.say("fetch.send", number, b"x", True)
    assert (await call.finish(number)).status == 200


@pytest.mark.parametrize("talk", [sends(then_wait=True), sends(CHUNKED + b"5\r\nhello\r\n", then_wait=True)])
async def test_the_tenants_own_time_covers_head_and_body(house: House, server: Server, talk: Talk) -> None:
    server.answers["/a"] = talk
    failed = await refused(house.call(), f"{server.url}/a", timeout=0.2)
    assert failed.exception == "TimeoutError" and "timeout=0.2" in str(failed)


# --- tenants that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "end"])
@pytest.mark.parametrize("talk", [sends(then_wait=True), sends(HEAD + b"\r\n", forever=b"x" * 100_000)])
async def test_whoever_gives_up_or_ends_takes_the_connection_along(
    house: House, server: Server, talk: Talk, how: str
) -> None:
    server.answers["/a"] = talk
    call = house.call()
    number = await call.start(f"{server.url}/a")
    waiting = asyncio.ensure_future(call.say("fetch.head", number))
    while not server.heads:
        await asyncio.sleep(0.01)
    if how == "close":
        assert await call.say("fetch.close", number) is None
    else:
        call.end()
    await gone(server, house)
    await asyncio.gather(waiting, return_exceptions=True)


async def test_nothing_stays_open_after_many_that_went_every_way_they_can(house: House, server: Server) -> None:
    server.answers |= {
        "/good": answer(),
        "/silent": sends(then_wait=True),
        "/broken": sends(CHUNKED + b"5\r\nhello\r\n"),
        "/endless": sends(HEAD + b"\r\n", forever=b"x" * 100_000),
        "/round": answer("302 F", "Location: /round"),
    }
    gc.collect()
    before = sockets()
    for _ in range(5):
        call = house.call()
        numbers = [await call.start(f"{server.url}{path}") for path in server.answers]
        numbers.append(await call.start("http://127.0.0.1:1/"))
        numbers.append(await call.start(f"{server.url}/good", "POST", streams=True))
        heads = [asyncio.ensure_future(call.say("fetch.head", number)) for number in numbers]
        await asyncio.wait(heads, timeout=0.1)
        call.end()
        await asyncio.gather(*heads, return_exceptions=True)
    await asyncio.sleep(0)
    web = house_web(house)
    await web._idle.close()
    await gone(server, house)
    assert sockets() == before


def house_web(house: House) -> HttpWeb:
    web = house.fetching._web
    assert isinstance(web, HttpWeb)
    return web


# --- guests that talk nonsense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        *(("fetch.head", number) for number in (0, 2, -1, 2**60)),
        *(("fetch.read", 7), ("fetch.send", 9, b"", True), ("fetch.send", 1, b"x", False)),
        *(
            ("fetch.head",),
            ("fetch.head", "1"),
            ("fetch.head", 1, 1),
            ("fetch.send", 1, "text", True),
            ("fetch.start",),
        ),
        ("fetch.start", "GET", "http://a.example/", [], b"", True, None, "follow", None),
        ("fetch.start", "GET", "http://a.example/", [], None, False, None, "sometimes", None),
        ("fetch.start", "GET", "http://a.example/", [], None, False, None, "follow", -1.0),
        ("fetch.start", "GET", "http://a.example/", [], None, False, None, "follow", float("nan")),
        ("fetch.start", "PUT", "http://a.example/", [], None, True, -1, "follow", None),
        ("fetch.start", "PUT", "http://a.example/", [], None, True, 2**40, "follow", None),
        ("fetch.start", "G\r\nX", "http://a.example/", [], None, False, None, "follow", None),
        ("fetch.start", "GET", "http://a.example/", [[b"a\r\nb", b"c"]], None, False, None, "follow", None),
        ("fetch.start", "GET", "http://a.example/", [[b"a"]], None, False, None, "follow", None),
        ("fetch.start", "PUT", "http://a.example/", [], b"x" * (limits.BODY_WINDOW + 1), False, None, "follow", None),
    ],
)
async def test_nonsense_is_refused_and_starts_nothing(said: tuple[Any, ...]) -> None:
    memory = MemoryWeb()
    memory.publish("http://good.example/", b"x", b"y")
    house = House(memory)
    call = house.call()
    assert await call.start("http://good.example/") == 1
    await asyncio.sleep(0)
    with pytest.raises(SyscallRefused):
        await call.say(*said)
    assert [request.url for _, request, _ in memory.asked] == ["http://good.example/"]
    assert (await call.finish(1)).body == b"xy"
    call.end()
    assert memory.open == 0


async def test_a_number_means_nothing_in_another_call(house: House, server: Server) -> None:
    server.answers["/a"] = answer()
    mine, theirs = house.call(), house.call()
    number = await mine.start(f"{server.url}/a")
    for name in ("fetch.head", "fetch.read"):
        with pytest.raises(SyscallRefused, match="no fetch"):
            await theirs.say(name, number)
    await theirs.say("fetch.close", number)
    assert (await mine.finish(number)).status == 200


async def test_a_body_is_not_read_before_there_is_an_answer(house: House, server: Server) -> None:
    server.answers["/a"] = sends(then_wait=True)
    call = house.call()
    number = await call.start(f"{server.url}/a")
    with pytest.raises(SyscallRefused, match="no answer yet"):
        await call.say("fetch.read", number)
    call.end()


async def test_two_do_not_read_at_once(house: House, server: Server) -> None:
    server.answers["/a"] = sends(then_wait=True)
    call = house.call()
    number = await call.start(f"{server.url}/a")
    first = asyncio.ensure_future(call.say("fetch.head", number))
    await asyncio.sleep(0)
    with pytest.raises(SyscallRefused, match="already"):
        await call.say("fetch.head", number)
    call.end()
    with pytest.raises(SyscallRefused, match="given up"):
        await first


async def test_a_deployment_has_only_so_many_at_once_and_gets_them_back(house: House, server: Server) -> None:
    server.answers["/a"] = sends(then_wait=True)
    calls = [house.call() for _ in range(4)]
    begun = [await calls[n % 4].start(f"{server.url}/a") for n in range(limits.FETCHES)]
    assert len(begun) == limits.FETCHES
    failed = await refused(house.call(), f"{server.url}/a")
    assert failed.exception == "LimitExceeded" and "FETCHES" in str(failed)
    for call in calls:
        call.end()
    await gone(server, house)
    server.answers["/a"] = answer()
    assert (await house.call().fetch(f"{server.url}/a")).status == 200


async def test_refusals_of_one_call_do_not_fill_the_log(house: House) -> None:
    call = house.call()
    for _ in range(limits.FETCH_REFUSALS + 20):
        number = await call.start("http://10.0.0.1/")
        with pytest.raises(SyscallRefused, match="fetch refused"):
            await call.say("fetch.head", number)
        await call.say("fetch.close", number)
    assert len(await house.lines()) == limits.FETCH_REFUSALS


async def test_nothing_begins_when_all_is_over(house: House) -> None:
    call = house.call()
    call.end()
    with pytest.raises(SyscallRefused, match="has ended"):
        await call.start("http://a.example/")


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION])
@pytest.mark.parametrize("name", ["fetch.start", "fetch.send", "fetch.head", "fetch.read", "fetch.close"])
async def test_queries_and_mutations_are_not_served_whatever_they_say(house: House, kind: Kind, name: str) -> None:
    with pytest.raises(SyscallRefused, match="cannot be used in a"):
        await house.call(kind=kind).say(name, 1)


async def test_a_body_in_crumbs_lets_others_have_their_turn(web: HttpWeb, server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    server.answers["/a"] = sends(head + b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n")
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(somebody_else())
    came: list[int] = []
    async with web.ask(NAME, OPEN, Outgoing("GET", f"{server.url}/a", [], None, None)) as answer:
        async for piece in answer.body:
            assert piece == b"a"
            came.append(turns)
    other.cancel()
    assert len(came) == 5_000
    assert max(Counter(came).values()) <= 128, "so many pieces in one turn"
