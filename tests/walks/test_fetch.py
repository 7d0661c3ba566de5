"""A function asks a server on the web, and everything in between is the real thing."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from control_plane.cli.main import main
from tests.conftest import LiveServer, Tenant
from tests.contracts.web_house import answer, read_body
from tests.walks.web_server import Reached, reachable

BUNDLE = {
    "http.py": """
import asyncio
from runtime import AbortController, HttpRouter, Request, Response, URL, fetch, http_action

http = HttpRouter()


@http.route(path="/fetch", method="GET")
@http_action
async def get(ctx, request):
    asked = URL(request.url).search_params
    try:
        found = await fetch(asked.get("url"), redirect=asked.get("redirect") or "follow", timeout=10)
        return Response.json({
            "status": found.status, "text": await found.text(), "url": found.url, "redirected": found.redirected,
            "cookies": found.headers.get_set_cookie(), "reason": found.status_text,
        })
    except Exception as error:
        return Response.json({"error": type(error).__name__, "says": str(error)})


@http.route(path="/relay", method="POST")
@http_action
async def relay(ctx, request):
    return await fetch(request.headers.get("x-to"), method="POST", body=request.body)


@http.route(path="/given-up", method="GET")
@http_action
async def given_up(ctx, request):
    controller = AbortController()
    fetching = asyncio.ensure_future(fetch(URL(request.url).search_params.get("url"), signal=controller.signal))
    await asyncio.sleep(0.2)
    controller.abort()
    try:
        await fetching
    except Exception as error:
        return Response(type(error).__name__)


@http.route(path="/left-behind", method="GET")
@http_action
async def left_behind(ctx, request):
    found = [await fetch(URL(request.url).search_params.get("url")) for _ in range(3)]
    return Response("gone")


@http.route(path="/forgetful", method="GET")
@http_action
async def forgetful(ctx, request):
    statuses = [(await fetch(URL(request.url).search_params.get("url"))).status for _ in range(120)]
    return Response(str(len(statuses)))
""",
    "m.py": """
from runtime import action, fetch, mutation, query

@action
async def from_an_action(ctx, url: str):
    return (await fetch(url)).status

@query
async def from_a_query(ctx, url: str):
    return (await fetch(url)).status

@mutation
async def from_a_mutation(ctx, url: str):
    return (await fetch(url)).status
""",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose operator lets tenants reach loopback."""
    live = LiveServer(tmp_path_factory.mktemp("data"), WARREN_EGRESS_ALLOW="127.0.0.1,localhost")
    yield live
    live.stop()


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant(BUNDLE)


@pytest.fixture
def web() -> Iterator[Reached]:
    with reachable() as made:
        yield made


def ask(tenant: Tenant, url: str, **more: str) -> dict[str, Any]:
    found: dict[str, Any] = tenant.get("/fetch", params={"url": url, **more}).json()
    return found


def test_an_answer_reaches_the_function_that_asked(tenant: Tenant, web: Reached) -> None:
    packed = gzip.compress(b"hello")
    web.server.answers |= {
        "/a": answer("302 Found", "Location: /b"),
        "/b": answer("201 Made", "Content-Encoding: gzip", "Set-Cookie: a=1", "Set-Cookie: b=2", body=packed),
    }
    assert ask(tenant, f"{web.url}/a") == {
        **{"status": 201, "text": "hello", "url": f"{web.url}/b", "redirected": True},
        **{"cookies": ["a=1", "b=2"], "reason": "Made"},
    }
    assert ask(tenant, f"{web.url}/a", redirect="manual")["status"] == 302
    assert ask(tenant, f"{web.url}/a", redirect="error")["error"] == "TypeError"


def test_a_body_streams_in_and_out_through_everything(tenant: Tenant, web: Reached) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await read_body("transfer-encoding: chunked", reader)
        writer.write(answer(body=body))
        await writer.drain()

    web.server.answers["/echo"] = echo
    pieces = [bytes([n]) * 300_000 for n in range(20)]
    back = tenant.request("POST", "/relay", headers={"x-to": f"{web.url}/echo"}, content=iter(pieces))
    assert back.content == b"".join(pieces)


def test_only_actions_fetch(tenant: Tenant, web: Reached) -> None:
    web.server.answers["/a"] = answer()
    assert tenant.run("m:from_an_action", {"url": f"{web.url}/a"})["value"] == 200
    for name in ("m:from_a_query", "m:from_a_mutation"):
        assert "fetch cannot be used" in tenant.run(name, {"url": f"{web.url}/a"})["errorMessage"]
    assert len(web.server.heads) == 1


@pytest.mark.parametrize("path", ["/given-up", "/left-behind"])
def test_what_nobody_waits_for_any_more_is_ended_at_the_other_end(tenant: Tenant, web: Reached, path: str) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path == "/left-behind":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nx")
        await reader.read()

    web.server.answers["/a"] = endless
    assert tenant.get(path, params={"url": f"{web.url}/a"}).text in ("AbortError", "gone")
    web.wait_until_nobody_is_connected()


def test_bodies_that_are_never_read_do_not_use_up_the_limit(tenant: Tenant, web: Reached) -> None:
    web.server.answers["/a"] = answer(body=b"x" * 1_000_000)
    assert tenant.get("/forgetful", params={"url": f"{web.url}/a"}).text == "120"


def test_the_operator_decides_where_a_deployment_connects(
    server: LiveServer, tenant: Tenant, web: Reached, tmp_path: Path
) -> None:
    web.server.answers["/a"] = answer()
    environment = {"WARREN_URL": f"http://127.0.0.1:{server.port}", "WARREN_ADMIN_KEY": server.admin_key}

    def egress(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["deployments", "egress", tenant.name, *arguments], env=environment)
        assert done.exit_code == 0, done.output
        return done.output

    assert "everywhere" in egress()
    assert "nowhere" in egress("--closed")
    refused = ask(tenant, f"{web.url}/a")
    assert refused["error"] == "TypeError" and "egress policy is closed" in refused["says"]
    assert refused["says"] in tenant.log(level="warn")
    assert "127.0.0.1 and nowhere else" in egress(
        "--allow", "api.example.com,*.example.org:8443", "--allow", "127.0.0.1"
    )
    assert ask(tenant, f"{web.url}/a")["status"] == 200
    assert "egress policy" in ask(tenant, web.url.replace("127.0.0.1", "localhost"))["says"]
    assert json.loads(egress("--json"))["allow"] == ["api.example.com", "*.example.org:8443", "127.0.0.1"]
    assert "everywhere" in egress("--open")
    assert ask(tenant, f"{web.url.replace('127.0.0.1', 'localhost')}/a")["status"] == 200
    for wrong in (["--allow", "10.0.0.0/8"], ["--open", "--allow", "a.example"]):
        done = CliRunner().invoke(main, ["deployments", "egress", tenant.name, *wrong], env=environment)
        assert done.exit_code != 0


def test_a_deploy_key_sees_the_policy_and_does_not_change_it(tenant: Tenant) -> None:
    assert tenant.control("GET").json()["egress"] is None
    assert tenant.control("PATCH", json={"egress": {"allow": []}}).status_code == 403


def test_the_server_itself_and_the_inside_are_not_reached(server: LiveServer, tenant: Tenant) -> None:
    port = server.port
    for url in (f"http://127.0.0.1:{port}/v1/deployments", f"http://localhost:{port}/", "http://169.254.169.254/"):
        refused = ask(tenant, url)
        assert refused["error"] == "TypeError" and "fetch refused" in refused["says"], url


def test_a_policy_is_there_after_a_power_failure(own_server: LiveServer) -> None:
    tenant = own_server.tenant(BUNDLE)
    changed = own_server.admin("PATCH", f"/v1/deployments/{tenant.name}", json={"egress": {"allow": ["*.example.org"]}})
    assert changed.json()["egress"] == {"allow": ["*.example.org"]}
    own_server.kill()
    own_server.start()
    assert "egress policy" in ask(tenant, "https://api.example.com/")["says"]
