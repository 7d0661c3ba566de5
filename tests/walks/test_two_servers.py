"""Two servers on one PostgreSQL database: each sees what the other does."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import LiveServer, Tenant
from tests.postgres_server import PostgresServer

SECONDS = 20
NEWER = """
from runtime import HttpRouter, Response, http_action

@http_action
async def new(ctx, request):
    return Response("new")

http = HttpRouter()
http.route(path="/new", method="GET", handler=new)
"""


class Pair:
    """Two servers, and one deployment that both of them serve."""

    def __init__(self, folder: Path, url: str) -> None:
        self.one = LiveServer(folder / "one", WARREN_DATABASE_URL=url)
        # The same key for both, as an operator would choose it.
        self.other = LiveServer(folder / "other", WARREN_DATABASE_URL=url, WARREN_ADMIN_KEY=self.one.admin_key)
        self.other.admin_key = self.one.admin_key
        self.here = self.one.tenant("walks")
        self.there = Tenant(self.other, self.here.name, self.here.key)

    def stop(self) -> None:
        for server in (self.one, self.other):
            if server.process.poll() is None:
                server.kill()


@pytest.fixture
def pair(tmp_path: Path, postgres: PostgresServer) -> Iterator[Pair]:
    both = Pair(tmp_path, postgres.fresh())
    yield both
    both.stop()


def soon(looks_right: Callable[[], bool]) -> None:
    """Ask until it is so; it must be before long."""
    deadline = time.monotonic() + SECONDS
    while not looks_right():
        assert time.monotonic() < deadline


def test_what_is_done_at_one_server_is_seen_at_the_other(pair: Pair) -> None:
    here, there = pair.here, pair.there
    assert there.get("/list").json() == []

    # Documents: at once.
    for number in range(3):
        assert here.request("POST", "/insert", json={"text": f"number {number}"}).status_code == 200
        assert len(there.get("/list").json()) == number + 1
    assert there.request("POST", "/insert", json={"text": "from there"}).status_code == 200
    assert here.get("/list").json()[-1] == "from there"

    # The environment and another version: as soon as the other server has heard of it.
    assert there.control("PUT", "env/GREETING", json={"value": "hello"}).status_code == 200
    soon(lambda: here.get("/env").json().get("GREETING") == "hello")
    assert there.push({"http.py": NEWER}).status_code == 201
    soon(lambda: here.get("/new").text == "new")
    assert here.get("/list").status_code == 404


def test_increments_at_both_servers_are_all_counted(pair: Pair) -> None:
    places = [pair.here, pair.there]
    assert pair.here.run("notes:increment")["value"] == 1
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: places[number % 2].run("notes:increment"), range(60)))
    # One that lost too often is a 503, which has no status and counted nothing.
    counted = [answer["value"] for answer in answers if answer.get("status") == "success"]
    assert sorted(counted) == list(range(2, len(counted) + 2))
    assert len(counted) > 30
    assert [place.run("notes:counter")["value"] for place in places] == [len(counted) + 1] * 2


def test_one_goes_on_when_the_other_or_the_database_has_crashed(pair: Pair, postgres: PostgresServer) -> None:
    assert pair.here.request("POST", "/insert", json={"text": "first"}).status_code == 200
    pair.one.kill()
    assert pair.there.get("/list").json() == ["first"]
    assert pair.other.http.get("/readyz").status_code == 200
    postgres.end()
    try:
        assert "database does not answer" in pair.other.http.get("/readyz").text
        headers = {"Host": pair.there.cloud, "Authorization": f"Convex {pair.there.key}"}
        body = {"path": "notes:texts", "args": {}, "format": "json"}
        assert pair.other.http.post("/api/function", json=body, headers=headers).status_code == 503
        assert pair.other.http.get("/livez").status_code == 200
    finally:
        postgres.begin()
    assert pair.there.request("POST", "/insert", json={"text": "second"}).status_code == 200
    pair.one.start()
    assert pair.here.get("/list").json() == ["first", "second"]


def test_a_deployment_that_was_deleted_at_one_server_is_gone_at_the_other(pair: Pair) -> None:
    assert pair.there.get("/list").status_code == 200
    assert pair.one.admin("DELETE", f"/v1/deployments/{pair.here.name}").status_code in (200, 204)
    soon(lambda: pair.there.get("/list").status_code == 404)
    assert pair.there.control("GET", "env").status_code == 401


WRITER = """
import asyncio

from runtime import HttpRouter, Response, http_action, internal_mutation, internal_query, v

@internal_mutation(args={"text": v.string()})
async def write(ctx, text: str):
    await ctx.db.insert("notes", {"text": text})

@internal_query
async def everything(ctx):
    return [note["text"] async for note in ctx.db.query("notes")]

@http_action
async def read(ctx, request):
    return Response.json(await ctx.run_query("http:everything"))

@http_action
async def go_on(ctx, request):
    while True:
        await ctx.run_mutation("http:write", text="of the first")
        await asyncio.sleep(0.02)

http = HttpRouter()
http.route(path="/list", method="GET", handler=read)
http.route(path="/go-on", method="POST", handler=go_on)
"""


def test_what_a_deleted_deployment_ran_elsewhere_does_not_write_into_its_successor(pair: Pair) -> None:
    assert pair.here.push({"http.py": WRITER}).status_code == 201
    with ThreadPoolExecutor(1) as threads:
        going_on = threads.submit(lambda: pair.there.request("POST", "/go-on").status_code)
        soon(lambda: len(pair.here.get("/list").json()) > 2)
        assert pair.one.admin("DELETE", f"/v1/deployments/{pair.here.name}").status_code == 204
        assert going_on.result(SECONDS) >= 500
    made = pair.one.admin("POST", "/v1/deployments", json={"name": pair.here.name}).json()
    next_one = Tenant(pair.one, pair.here.name, made["deploy_key"])
    assert next_one.push({"http.py": WRITER}).status_code == 201
    assert next_one.get("/list").json() == []
