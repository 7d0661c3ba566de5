"""Without the language layer a guest says to the counter what it likes: it reaches nothing, and leaves nothing open."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.conftest import LiveServer, Tenant
from tests.contracts.web_house import answer
from tests.walks.web_server import Reached, reachable

BUNDLE = {
    "m.py": """
import asyncio
import os
from msgspec import Raw
from runtime import action
from runtime.protocol.framing import frame
from runtime.protocol.messages import Syscall
from runtime.sdk.running import RUNNING

START = ("GET", None, [], None, False, None, "follow", None)


async def tell(*said):
    try:
        return repr(await RUNNING.get().syscall(*said))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def start(url, **more):
    given = dict(zip(("method", "url", "headers", "body", "streams", "length", "redirect", "timeout"), START))
    given |= {"url": url, **more}
    return ("fetch.start", *given.values())


@action
async def nonsense(ctx, url: str):
    said = [
        await tell("fetch.head", 1), await tell("fetch.read", 2**50), await tell("fetch.send", -1, b"x" * 999, True),
        await tell("fetch.close", 77), await tell("fetch.start"), await tell("fetch.start", *[None] * 8),
        await tell("fetch.open", url), await tell(*start(url, headers=[(b"host", b"x"), (b"a\\r\\nb", b"")])),
        await tell(*start(url, method="CONNECT")),
    ]
    for wrong in ("unix:///run/x", "x" * 10**6, "http://a\\r\\nb/", "http://"):
        said.append(await tell("fetch.head", int(await tell(*start(wrong)))))
    return said


@action
async def flood(ctx, url: str):
    said = await asyncio.gather(*(tell(*start(url)) for _ in range(1_000)))
    heads = [asyncio.ensure_future(tell("fetch.head", n % 60)) for n in range(1_000)]
    await asyncio.sleep(0.3)
    return [sum(one.isdigit() for one in said), next(one for one in said if not one.isdigit())]


@action
async def without_waiting(ctx, url: str):
    running = RUNNING.get()
    for sid in range(5_000):
        running.desk.send(frame(Syscall(running.cid, sid, "fetch.start", Raw(bytes.fromhex("98") + b"\\xc0" * 8))))
    await asyncio.sleep(5)


@action
async def dies(ctx, url: str):
    for _ in range(8):
        await tell(*start(url))
    await asyncio.sleep(0.3)
    os._exit(9)


@action
async def reaches(ctx, urls: list):
    said = []
    for url in urls:
        number = await tell(*start(url))
        said.append(await tell("fetch.head", int(number)) if number.isdigit() else number)
    return said
"""
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server without the language layer, whose operator lets tenants reach one address of loopback."""
    data = tmp_path_factory.mktemp("data")
    live = LiveServer(data, WARREN_LANGUAGE_LAYER="off", WARREN_EGRESS_ALLOW="127.0.0.1", WARREN_ERROR_DETAILS="show")
    yield live
    live.stop()


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant(BUNDLE)


@pytest.fixture
def web() -> Iterator[Reached]:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with reachable() as made:
        made.server.answers |= {"/good": answer(), "/silent": silent}
        yield made


def connected_to(server: LiveServer, port: int) -> int:
    """How many connections the server process has to this port."""
    ours = {os.readlink(f"/proc/{server.process.pid}/fd/{n}") for n in _descriptors(server)}
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in ours for row in rows)


def _descriptors(server: LiveServer) -> list[str]:
    folder = f"/proc/{server.process.pid}/fd"
    return [number for number in os.listdir(folder) if os.path.lexists(f"{folder}/{number}")]


def test_nonsense_is_refused_and_the_isolate_lives_on(tenant: Tenant, web: Reached) -> None:
    said = tenant.run("m:nonsense", {"url": f"{web.url}/good"})["value"]
    assert said.pop(3) == "None"  # nothing was open, and closing nothing is no mistake
    assert all("Error" in one for one in said), said
    assert web.server.heads == []


def test_a_flood_is_bounded_and_everything_is_closed_after_it(server: LiveServer, tenant: Tenant, web: Reached) -> None:
    begun, refused = tenant.run("m:flood", {"url": f"{web.url}/silent"})["value"]
    assert begun == 48 and "limit FETCHES is 48" in refused
    web.wait_until_nobody_is_connected()
    assert connected_to(server, web.server.port) == 0
    assert tenant.run("m:reaches", {"urls": [f"{web.url}/good"]})["value"][0].startswith("[200")


def test_who_does_not_wait_for_answers_loses_the_isolate(tenant: Tenant, web: Reached) -> None:
    assert tenant.run("m:without_waiting", {"url": web.url}).get("status") != "success"
    assert "protocol violation" in tenant.log()
    assert tenant.run("m:reaches", {"urls": [f"{web.url}/good"]})["value"][0].startswith("[200")


def test_an_isolate_that_dies_takes_its_connections_along(server: LiveServer, tenant: Tenant, web: Reached) -> None:
    assert tenant.run("m:dies", {"url": f"{web.url}/silent"}).get("status") != "success"
    assert web.server.connections == 8
    web.wait_until_nobody_is_connected()
    assert connected_to(server, web.server.port) == 0


def test_the_inside_is_not_reached_however_it_is_asked_for(server: LiveServer, tenant: Tenant) -> None:
    with reachable() as inside:  # as a database or a queue would stand beside the server
        port = inside.server.port
        urls = [
            *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://100.100.100.200/"),
            *(f"http://127.0.0.1:{server.port}/v1/deployments", f"http://0.0.0.0:{server.port}/", "http://10.0.0.1/"),
            *(
                f"http://{host}:{port}/"
                for host in ("127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.3]", "0x7f000002")
            ),
            *(f"http://{host}:{port}/" for host in ("2130706434", "0177.0.0.2", "127.2", "①②⑦.0.0.2")),
            *("file:///etc/passwd", "http://user:pw@127.0.0.1/", "gopher://127.0.0.1/", "http://127.0.0.1:99999/"),
        ]
        said = tenant.run("m:reaches", {"urls": urls})["value"]
        assert [one for one in said if not one.startswith("TypeError: fetch refused")] == []
        assert inside.server.connections == 0
