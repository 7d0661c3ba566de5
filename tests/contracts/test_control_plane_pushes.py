"""What does a push promise, and what do versions and logs, through HTTP?"""

import asyncio
import io
import json
import os
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.archives import content_hash
from runtime import limits
from runtime.names import DeploymentName, RequestId
from runtime.ports import LogEntry
from runtime.protocol.declaration import (
    Cors,
    Declaration,
    Diagnostic,
    FunctionDeclaration,
    Kind,
    RouteDeclaration,
    Shape,
    Visibility,
)
from runtime.protocol.messages import Level
from tests.contracts.office_at_work import AtWork, office_at_work

MINE = DeploymentName("mine")
URL = "/v1/deployments/mine"
FUNCTION = FunctionDeclaration("m:f", Kind.MUTATION, Visibility.INTERNAL, "m.py", 1, {"type": "object", "value": {}})
ROUTE = RouteDeclaration("GET /a/*", "GET", "/a/", Shape.PREFIX, "http:f", "http.py", 1)
DECLARED = Declaration(functions=(FUNCTION,), routes=(ROUTE,), warnings=(Diagnostic("m.py", 1, "an unused import"),))


@pytest.fixture
async def office() -> AsyncIterator[AtWork]:
    """The office at work, with one deployment."""
    async with office_at_work() as work:
        await work.create(MINE)
        work.changed.clear()
        yield work


def files(declaration: Declaration = DECLARED, **more: bytes) -> dict[str, bytes]:
    """A bundle that declares this."""
    extra = {name.replace("_", "."): content for name, content in more.items()}
    return {"declaration.json": msgspec.json.encode(declaration), "m.py": b"m\n", "http.py": b"h\n", **extra}


def tar_gz(bundle: dict[str, bytes]) -> bytes:
    """Its archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, content in bundle.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def zip_file(bundle: dict[str, bytes]) -> bytes:
    """Its other archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in bundle.items():
            archive.writestr(path, content)
    return out.getvalue()


async def push(office: AtWork, bundle: dict[str, bytes]) -> httpx.Response:
    """Push a bundle."""
    return await office.http.post(f"{URL}/pushes", content=tar_gz(bundle))


async def nothing_changed(office: AtWork) -> bool:
    """Whether there is no version."""
    kept = await office.http.get(f"{URL}/versions")
    return bool(kept.json() == {"active": None, "limit": limits.VERSIONS_KEPT, "versions": []})


@pytest.mark.parametrize("pack", [tar_gz, zip_file])
async def test_a_pushed_bundle_becomes_the_active_version(
    office: AtWork, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    await office.http.put(f"{URL}/env/A", json={"value": "1"})
    answer = await office.http.post(f"{URL}/pushes", content=pack(files()))
    assert answer.status_code == 201, answer.text
    sha256 = content_hash(files())
    function = {
        "path": "m:f", "kind": "mutation", "visibility": "internal", "engine": "isolate",
        "args": {"type": "object", "value": {}}, "returns": None, "file": "m.py", "line": 1,
        "time_limit": limits.QUERY_TIME,
    }  # fmt: skip
    route = {"method": "GET", "pattern": "/a/", "shape": "prefix", "handler": "http:f", "file": "http.py", "line": 1}
    assert answer.json() == {
        "version": 1,
        "sha256": sha256,
        "unchanged": False,
        "functions": [function],
        "routes": [route],
        "warnings": [{"file": "m.py", "line": 1, "message": "an unused import"}],
    }
    assert office.environments == [
        {
            "A": "1",
            "WARREN_SITE_URL": "http://mine.site.localhost:3210",
            "WARREN_CLOUD_URL": "http://mine.cloud.localhost:3210",
        }
    ]
    assert office.changed == ["mine", "mine"]
    loaded = await office.registry.deployments.load(MINE)
    assert loaded is not None and loaded.version is not None
    assert loaded.version.bundle == files()
    listed = (await office.http.get(f"{URL}/functions")).json()
    assert (listed["version"], listed["functions"], listed["counts"]["mutation"]) == (1, [function], 1)
    routes = (await office.http.get(f"{URL}/routes")).json()
    assert (routes["routes"], routes["count"], routes["has_router"]) == ([route], 1, True)
    (line,) = (await office.http.get(f"{URL}/logs")).text.splitlines()
    assert json.loads(line)["request_id"] == answer.headers["x-request-id"]
    assert sha256[:12] in line


async def test_before_the_first_push_there_is_nothing_to_list(office: AtWork) -> None:
    assert await nothing_changed(office)
    assert (await office.http.get(f"{URL}/functions")).json()["functions"] == []
    assert (await office.http.get(f"{URL}/routes")).json()["has_router"] is False


async def test_pushing_the_same_again_makes_no_new_version(office: AtWork) -> None:
    await push(office, files())
    again = (await office.http.post(f"{URL}/pushes", content=zip_file(files()))).json()
    assert (again["version"], again["unchanged"]) == (1, True)
    assert "unchanged" in again["warnings"][-1]["message"]
    await push(office, files(more_py=b"x"))
    assert (await push(office, files())).json()["version"] == 3


async def test_a_refused_bundle_says_where_and_leaves_the_running_version(office: AtWork) -> None:
    await push(office, files())
    answer = await push(office, files(refusal_txt=b"'socket' cannot be imported"))
    assert answer.status_code == 422
    found = answer.json()
    assert found["code"] == "PushRefused"
    assert found["diagnostics"] == [{"file": "http.py", "line": 3, "message": "'socket' cannot be imported"}]
    assert (await office.http.get(URL)).json()["version"] == 1


async def test_an_accident_of_ours_shows_a_request_id_and_nothing_else(office: AtWork) -> None:
    answer = await push(office, files(accident_txt=b""))
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "secret" not in answer.text
    assert await nothing_changed(office)
    assert office.changed == ["mine"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BadArchive"),
        (b"hello", 400, "BadArchive"),
        (tar_gz(files())[:-20], 400, "BadArchive"),
        (zip_file(files())[:-20], 400, "BadArchive"),
        (tar_gz({}), 422, "PushRefused"),
        (tar_gz({"../x.py": b""}), 422, "PushRefused"),
        (zip_file({"/etc/passwd": b""}), 422, "PushRefused"),
        (tar_gz({"a\x1b.py": b""}), 422, "PushRefused"),
        (tar_gz({"bomb": bytes(limits.BUNDLE_BYTES + 1)}), 413, "TooLarge"),
        (zip_file({f"{n}.py": b"" for n in range(limits.BUNDLE_FILES + 1)}), 413, "TooLarge"),
    ],
)
async def test_a_bad_archive_gets_a_clear_answer(office: AtWork, body: bytes, status: int, code: str) -> None:
    answer = await office.http.post(f"{URL}/pushes", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if status == 413:
        (error,) = answer.json()["errors"]
        assert error["value"] > error["limit"] > 0
    if status == 422:
        assert answer.json()["diagnostics"][0]["message"].isprintable()
    assert await nothing_changed(office)
    assert office.environments == []


@pytest.mark.parametrize("announced", [True, False])
async def test_an_archive_past_the_limit_is_refused_with_the_limit(office: AtWork, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(limits.PUSH_BYTES // limits.MIB + 1):
            yield bytes(limits.MIB)

    headers = {"content-length": str(limits.PUSH_BYTES + limits.MIB)} if announced else {}
    answer = await office.http.post(f"{URL}/pushes", content=pieces(), headers=headers)
    assert answer.status_code == 413
    assert "PUSH_BYTES" in answer.json()["detail"]
    assert answer.json()["errors"][0]["limit"] == limits.PUSH_BYTES


def claims() -> list[Any]:
    """Declarations that an honest bundle cannot have."""

    def function(**change: Any) -> Declaration:
        return Declaration(functions=(msgspec.structs.replace(FUNCTION, **change),))

    def route(**change: Any) -> Declaration:
        return Declaration(routes=(msgspec.structs.replace(ROUTE, **change),))

    deep: Any = []
    for _ in range(80):
        deep = [deep]
    many = limits.DECLARATION_ITEMS + 1
    return [
        function(path="m:f\r\n"), function(path="../m:f"), function(path="m" * 2_000 + ":f"), function(path="m"),
        function(file="/etc/passwd"), function(line=-1), function(line=10**6), function(args=deep),
        function(returns="x" * limits.VALIDATOR_BYTES), Declaration(functions=(FUNCTION, FUNCTION)),
        Declaration(functions=tuple(msgspec.structs.replace(FUNCTION, path=f"m:f{n}") for n in range(many))),
        route(pattern="a", key="GET a*"), route(pattern="/\n", key="GET /\n*"), route(key="GET /b*"),
        route(key="GET /a/"), route(method="BREW", key="BREW /a/*"), route(handler="h\x00"), route(file="nowhere.py"),
        Declaration(routes=(ROUTE, ROUTE)), route(pattern="/" + "x" * 2_000, key="GET /" + "x" * 2_000 + "*"),
        route(cors=Cors(allow_origins=("https://x\r\nset-cookie: a=b",))), route(cors=Cors(allow_methods=("",))),
        Declaration(cors=Cors(allow_headers=("\u00e9",))), Declaration(cors=Cors(expose_headers=("x",) * 300)),
        Declaration(warnings=(Diagnostic("m.py", 1, "x" * 20_000),)),
        Declaration(warnings=(Diagnostic("m.py", 1, "x"),) * 101),
    ]  # fmt: skip


@pytest.mark.parametrize("claim", claims())
async def test_a_claim_that_cannot_be_meant_is_not_kept(office: AtWork, claim: Declaration) -> None:
    answer = await push(office, files(claim))
    assert (answer.status_code, answer.json()["code"]) == (422, "PushRefused"), answer.text
    assert answer.json()["diagnostics"][0]["message"].isprintable()
    assert await nothing_changed(office)


async def test_going_back_is_a_switch_and_nothing_is_analysed_for_it(office: AtWork) -> None:
    await push(office, files())
    await push(office, files(more_py=b"x"))
    analysed = len(office.environments)
    office.changed.clear()
    answer = await office.http.post(f"{URL}/rollback", json={"version": 1})
    assert (answer.status_code, answer.json()) == (200, {"version": 1, "previous": 2})
    assert office.changed == ["mine"]
    assert len(office.environments) == analysed
    kept = (await office.http.get(f"{URL}/versions")).json()
    assert kept["active"] == 1
    assert [(version["version"], version["active"]) for version in kept["versions"]] == [(2, False), (1, True)]
    assert kept["versions"][1]["sha256"] == content_hash(files())
    for wrong, status in ((9, 404), (0, 422), ("x", 422), (None, 422), (2**70, 422)):
        assert (await office.http.post(f"{URL}/rollback", json={"version": wrong})).status_code == status
    assert (await office.http.get(URL)).json()["version"] == 1


async def test_pushes_at_once_become_versions_one_after_the_other(office: AtWork) -> None:
    answers = await asyncio.gather(*(push(office, files(more_py=str(n).encode())) for n in range(12)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 13))
    assert (await office.http.get(URL)).json()["version"] == 12


async def test_pushes_have_a_number_at_once_and_the_rest_is_told_to_wait(office: AtWork) -> None:
    office.may_analyse.clear()
    pushes = [asyncio.create_task(push(office, files())) for _ in range(limits.PUSHES_AT_ONCE + 3)]
    refused: set[asyncio.Task[httpx.Response]] = set()
    while len(refused) < 3:
        done, _ = await asyncio.wait(set(pushes) - refused, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    for answer in (task.result() for task in refused):
        assert (answer.status_code, answer.json()["code"]) == (429, "TooManyRequests")
        assert answer.headers["retry-after"] == "1"
    office.may_analyse.set()
    answers = [answer.status_code for answer in await asyncio.gather(*pushes)]
    assert (answers.count(201), answers.count(429)) == (limits.PUSHES_AT_ONCE, 3)
    assert (await push(office, files())).status_code == 201


# --- logs -------------------------------------------------------------------------------------------------------------


def say(office: AtWork, text: str, at: float = 1.0, level: Level = Level.INFO, request_id: str = "") -> None:
    """Something is logged."""
    office.logs.write(MINE, LogEntry(at=at, level=level, text=text, request_id=RequestId(request_id)))


async def test_logs_are_read_by_moment_request_level_and_number(office: AtWork) -> None:
    moment = 1_769_860_800_000.0  # 2026-01-31T12:00:00Z
    for minute, level in enumerate(Level):
        say(office, str(level), at=moment + 60_000 * minute, level=level, request_id=f"r{minute % 2}")
    for query, expected in {
        "": ["debug", "info", "warn", "error"],
        "limit=2": ["warn", "error"],
        "level=warn": ["warn", "error"],
        "request_id=r1": ["info", "error"],
        f"since={moment + 60_000}": ["info", "warn", "error"],
        "since=2026-01-31T12:02:00Z": ["warn", "error"],
        "since=2026-01-31T13:02:00+01:00": ["warn", "error"],
        "since=2026-01-31T12:03:00&level=debug": ["error"],
    }.items():
        answer = await office.http.get(f"{URL}/logs?{query}")
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["text"] for line in lines] == expected, query
    assert lines[0] == {
        "at": moment + 180_000, "level": "error", "kind": "line", "text": "error", "request_id": "r1", "function": "",
        "function_kind": None, "status": None, "duration": None,
    }  # fmt: skip


@pytest.mark.parametrize("query", ["since=yesterday", "level=loud", "limit=10001", "limit=-1", "follow=perhaps", "x=1"])
async def test_a_wrong_question_names_its_field(office: AtWork, query: str) -> None:
    answer = await office.http.get(f"{URL}/logs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidField")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_follower_gets_what_was_and_what_comes(office: AtWork) -> None:
    for text in ("one", "two"):
        say(office, text)
    async with office.http.stream("GET", f"{URL}/logs?follow=true&limit=1") as answer:
        lines = answer.aiter_lines()
        assert json.loads(await anext(lines))["text"] == "two"
        say(office, "three")
        assert json.loads(await anext(lines))["text"] == "three"
        await office.http.delete(URL)
        assert [line async for line in lines if "three" in line] == []


async def test_events_are_sent_to_who_accepts_them(office: AtWork) -> None:
    say(office, "one")
    headers = {"accept": "text/event-stream"}
    async with office.http.stream("GET", f"{URL}/logs?follow=1", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(3)][::2] == ["event: log", ""]
        say(office, "two")
        assert await anext(lines) == "event: log"
        assert json.loads((await anext(lines)).removeprefix("data: "))["text"] == "two"


async def test_nothing_is_lost_or_doubled_while_a_follower_begins(office: AtWork) -> None:
    async def talk() -> None:
        for number in range(2_000):
            say(office, str(number), at=float(number))
            if number % 20 == 0:
                await asyncio.sleep(0)

    talking = asyncio.create_task(talk())
    seen: list[int] = []
    async with office.http.stream("GET", f"{URL}/logs?follow=true&limit=10000") as answer:
        async for line in answer.aiter_lines():
            seen.append(int(json.loads(line)["text"]))
            if seen[-1] == 1_999:
                break
    await talking
    assert seen == list(range(2_000))


async def test_a_follower_that_leaves_is_cleaned_up(office: AtWork) -> None:
    closed = asyncio.Event()
    followers = office.logs._followers
    async with office.http.stream("GET", f"{URL}/logs?follow=true") as answer:
        assert answer.status_code == 200
        (follower,) = followers._by_name[MINE]
        end = follower.end

        def end_and_tell() -> None:
            end()
            closed.set()

        follower.end = end_and_tell  # type: ignore[method-assign]  # to see when it happens
    await asyncio.wait_for(closed.wait(), 10)
    assert follower.ended


async def test_a_push_whose_client_leaves_changes_nothing(office: AtWork) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield os.urandom(100)
        raise ConnectionError("the client's cable is pulled")

    with pytest.raises(ConnectionError):
        await office.http.post(f"{URL}/pushes", content=pieces())
    assert await nothing_changed(office)
