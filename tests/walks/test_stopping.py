"""A server that is told to stop: what runs finishes, or is told why not. And a second one that may not start."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer, Tenant

ENDLESS = """
import asyncio
from runtime import HttpRouter, Response, http_action, mutation, query

http = HttpRouter()

@mutation
async def begin(ctx) -> None:
    await ctx.db.insert("begun", {})

@query
async def begun(ctx):
    return await ctx.db.query("begun").count()

@http.route(path="/endless", method="GET")
@http_action
async def endless(ctx, request):
    await ctx.run_mutation(begin)
    await asyncio.sleep(3600)

@http.route(path="/stream", method="GET")
@http_action
async def stream(ctx, request):
    async def pieces():
        yield "first"
        await ctx.run_mutation(begin)
        await asyncio.sleep(3600)
    return Response(pieces())
"""


SCHEDULED = """
import asyncio
from runtime import internal_action, internal_mutation, mutation, query

@internal_mutation
async def note(ctx, what: str) -> None:
    await ctx.db.insert("notes", {"what": what})

@query
async def notes(ctx):
    return [note["what"] for note in await ctx.db.query("notes").collect()]

@internal_action
async def work(ctx, seconds: float) -> None:
    await ctx.run_mutation(note, what="begun")
    await asyncio.sleep(seconds)
    await ctx.run_mutation(note, what="ended")

@mutation
async def schedule(ctx, seconds: float) -> None:
    await ctx.scheduler.run_after(0, work, seconds=seconds)
"""


@contextmanager
def asking(tenant: Tenant, path: str) -> Iterator[list[Any]]:
    """A client that waits for an answer meanwhile; what it got stands in the list afterwards."""
    got: list[Any] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{tenant.server.port}{path}"
        try:
            got.append(httpx.get(url, headers={"Host": tenant.site}, timeout=60, trust_env=False))
        except httpx.TransportError as error:
            got.append(error)

    client = threading.Thread(target=ask)
    client.start()
    try:
        while tenant.run("http:begun")["value"] == 0:
            pass
        yield got
    finally:
        client.join(30)


def told_twice(server: LiveServer) -> int:
    """Tell it, and again when it has begun to stop; its exit code."""
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(httpx.TransportError):
        while True:
            httpx.get(f"http://127.0.0.1:{server.port}/livez", trust_env=False)
    return server.stop()


def test_who_waits_when_a_server_stops_is_told_so_and_the_second_signal_does_not_wait(own_server: LiveServer) -> None:
    tenant = own_server.tenant({"http.py": ENDLESS})
    with asking(tenant, "/endless") as got:
        assert told_twice(own_server) == 0
    (answer,) = got
    assert (answer.status_code, answer.json()["code"]) == (503, "Stopping")
    assert answer.headers["x-request-id"] in answer.text
    assert "Traceback" not in own_server.words()


def test_an_answer_that_has_begun_is_cut_so_that_its_client_can_tell(own_server: LiveServer) -> None:
    tenant = own_server.tenant({"http.py": ENDLESS})
    with asking(tenant, "/stream") as got:
        assert told_twice(own_server) == 0
    assert isinstance(got[0], httpx.RemoteProtocolError), got
    assert "Traceback" not in own_server.words()


def states(tenant: Tenant) -> list[str]:
    """How every scheduled function stands."""
    return [each["state"] for each in tenant.control("GET", "schedules").json()["schedules"]]


def begun(server: LiveServer, seconds: float) -> Tenant:
    """A deployment in which a scheduled action runs that takes so long."""
    tenant = server.tenant({"m.py": SCHEDULED})
    tenant.run("m:schedule", {"seconds": seconds})
    while tenant.run("m:notes")["value"] != ["begun"]:
        pass
    return tenant


def test_a_scheduled_action_that_runs_when_a_server_stops_finishes(own_server: LiveServer) -> None:
    tenant = begun(own_server, 1)
    assert own_server.stop() == 0
    own_server.start()
    assert tenant.run("m:notes")["value"] == ["begun", "ended"]
    assert states(tenant) == ["success"]


def test_a_second_signal_does_not_wait_for_a_scheduled_action(own_server: LiveServer) -> None:
    tenant = begun(own_server, 3600)
    assert told_twice(own_server) == 0
    assert "Traceback" not in own_server.words()
    own_server.start()
    assert states(tenant) == ["failed"]


def test_a_second_server_on_the_same_directory_is_refused(own_server: LiveServer) -> None:
    command = [sys.executable, "-m", "control_plane.cli.main", "serve", "--data", str(own_server.data), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"another server keeps its data in {own_server.data}" in second.stderr
    assert "Traceback" not in second.stderr
