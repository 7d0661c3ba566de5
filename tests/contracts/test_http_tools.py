"""Queries at one moment, and what Convex's command line asks for over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from runtime import limits
from runtime.ports import LogEntry
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level
from tests.contracts.front_door import KEY, NAME
from tests.contracts.sync_house import HOST, Cloud, opened

ADMIN = {"Authorization": KEY}


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with opened() as made:
        yield made


@pytest.fixture
async def http(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    url = f"http://127.0.0.1:{cloud.port}"
    async with httpx.AsyncClient(base_url=url, headers={"Host": HOST}, trust_env=False) as client:
        yield client


async def send(http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post("/api/mutation", json={"path": "messages:send", "args": {"body": body}})
    assert answer.json()["status"] == "success", answer.text


async def test_a_query_at_a_moment_sees_that_moment(http: httpx.AsyncClient) -> None:
    await send(http, "before")
    moment = (await http.post("/api/query_ts", content=b"")).json()["ts"]
    await send(http, "after")
    asked = {"path": "messages:list", "args": {}, "ts": moment}
    assert (await http.post("/api/query_at_ts", json=asked)).json()["value"] == ["before"]
    assert (await http.post("/api/query_at_ts", json=asked)).json()["value"] == ["before"]
    # Both were made in one moment of the clock that stands still here, so their order is open.
    assert sorted((await http.post("/api/query", json=asked)).json()["value"]) == ["after", "before"]


async def test_a_moment_that_nobody_holds_is_503_and_one_that_is_none_400(http: httpx.AsyncClient) -> None:
    asked = {"path": "messages:list", "args": {}, "ts": "//////////8="}
    assert (await http.post("/api/query_at_ts", json=asked)).status_code == 503
    assert (await http.post("/api/query_at_ts", json={**asked, "ts": "soon"})).status_code == 400


async def test_the_oldest_of_too_many_moments_is_given_up(http: httpx.AsyncClient) -> None:
    given = []
    for number in range(limits.MOMENTS + 1):
        await send(http, str(number))
        given.append((await http.post("/api/query_ts")).json()["ts"])
    await send(http, "last")
    answers = [
        (await http.post("/api/query_at_ts", json={"path": "messages:list", "args": {}, "ts": ts})).status_code
        for ts in given
    ]
    assert answers == [503] + [200] * limits.MOMENTS


async def test_queries_of_a_batch_agree_and_fail_alone(http: httpx.AsyncClient) -> None:
    await send(http, "one")
    asked = ["messages:list", "messages:fail", "messages:nothing", "messages:list"]
    batch = {"queries": [{"path": path, "args": [{}]} for path in asked]}
    results = (await http.post("/api/query_batch", json=batch)).json()["results"]
    assert [one["status"] for one in results] == ["success", "error", "error", "success"]
    assert results[0]["value"] == results[3]["value"] == ["one"]
    assert results[1]["errorData"] == {"code": 7}
    assert (await http.post("/api/query_batch", json={"queries": [{"path": ""}]})).status_code == 400
    assert (await http.post("/api/query_batch", json={})).status_code == 400
    many = {"queries": [{"path": "messages:list"}] * (limits.BATCH_QUERIES + 1)}
    assert (await http.post("/api/query_batch", json=many)).status_code == 413


async def test_a_query_in_the_url_may_be_written_without_arguments(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/query", params={"path": "messages:list"})).json()["value"] == []


async def test_an_administrator_asks_the_systems_functions_over_http_and_nobody_else_does(
    http: httpx.AsyncClient,
) -> None:
    asked = {"path": "_system/cli/queryEnvironmentVariables:default", "args": {}}
    answer = (await http.post("/api/query", json=asked, headers=ADMIN)).json()
    assert answer["value"] == [{"name": "COLOR", "value": "blue"}]
    assert "Could not find public function" in (await http.post("/api/query", json=asked)).json()["errorMessage"]


@pytest.mark.parametrize(
    "args", [{}, {"paginationOpts": {}}, {"paginationOpts": {"numItems": 0, "cursor": None}}, {"paginationOpts": 5}]
)
async def test_the_systems_functions_refuse_what_they_do_not_take(http: httpx.AsyncClient, args: Any) -> None:
    for path in ("tables:default", "tableData:default"):
        asked = {"path": f"_system/cli/{path}", "args": args}
        answer = (await http.post("/api/query", json=asked, headers=ADMIN)).json()
        assert answer["status"] == "error"
        assert "ArgumentValidationError" in answer["errorMessage"]


async def test_documents_of_a_table_are_read_page_by_page_both_ways(cloud: Cloud, http: httpx.AsyncClient) -> None:
    for number in range(5):
        cloud.clock.milliseconds += 1
        await send(http, str(number))
    for order, expected in (("asc", "01234"), ("desc", "43210")):
        seen, cursor, done = "", None, False
        while not done:
            args = {"table": "messages", "order": order, "paginationOpts": {"numItems": 2, "cursor": cursor}}
            asked = {"path": "_system/cli/tableData:default", "args": args}
            page = (await http.post("/api/query", json=asked, headers=ADMIN)).json()["value"]
            seen += "".join(document["body"] for document in page["page"])
            cursor, done = page["continueCursor"], page["isDone"]
        assert seen == expected


async def test_variables_are_changed_all_together(cloud: Cloud, http: httpx.AsyncClient) -> None:
    changes = [{"name": "A", "value": "1"}, {"name": "B", "value": None}]
    answer = await http.post("/api/update_environment_variables", json={"changes": changes}, headers=ADMIN)
    assert answer.status_code == 200
    assert cloud.steward.changed == [{"A": "1", "B": None}]
    twice = {"changes": [changes[0], changes[0]]}
    assert (await http.post("/api/update_environment_variables", json=twice, headers=ADMIN)).status_code == 400
    assert (await http.post("/api/update_environment_variables", json={}, headers=ADMIN)).status_code == 400


async def test_the_log_is_read_from_a_cursor_on(cloud: Cloud, http: httpx.AsyncClient) -> None:
    said = LogEntry(1_000.0, Level.INFO, "said", function="messages:send", function_kind=Kind.MUTATION)
    cloud.logs.write(NAME, said)
    ended = LogEntry(2_000.5, Level.ERROR, "it failed", "request", function_kind=Kind.MUTATION, duration=3.0)
    cloud.logs.write(NAME, ended)
    answer = (await http.get("/api/stream_function_logs", params={"cursor": "0"}, headers=ADMIN)).json()
    line, completion = answer["entries"]
    assert (line["kind"], line["logLines"][0]["messages"], line["udfType"]) == ("Progress", ["said"], "Mutation")
    assert (completion["kind"], completion["error"], completion["executionTime"]) == ("Completion", "it failed", 0.003)
    assert answer["newCursor"] == 2_000.5
    again = (await http.get("/api/stream_function_logs", params={"cursor": "1500"}, headers=ADMIN)).json()
    assert [entry["kind"] for entry in again["entries"]] == ["Completion"]
    assert (await http.get("/api/stream_function_logs", params={"cursor": "x"}, headers=ADMIN)).status_code == 400


async def test_who_waits_for_the_log_hears_what_comes(cloud: Cloud, http: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(http.get("/api/stream_function_logs", params={"cursor": "0"}, headers=ADMIN))
    async with asyncio.timeout(10):
        while not waiting.done():
            # Whenever it begins to wait, something comes.
            cloud.logs.write(NAME, LogEntry(5.0, Level.INFO, "news"))
            await asyncio.sleep(0.01)
        answer = (await waiting).json()
    assert answer["entries"][0]["logLines"][0]["messages"] == ["news"]
