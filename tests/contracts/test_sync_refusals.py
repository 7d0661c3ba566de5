"""What happens to a sync client that breaks the protocol, asks for too much, or comes to the wrong place?"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from runtime import limits
from tests.contracts.front_door import NAME
from tests.contracts.sync_house import Cloud, opened


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with opened() as made:
        yield made


CONNECT = {"type": "Connect", "sessionId": "s", "connectionCount": 0}
ADD = {"type": "Add", "queryId": 0, "udfPath": "messages:list", "args": [{}]}
SET = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [ADD]}


@pytest.mark.parametrize(
    "frames",
    [
        [""],
        ["{"],
        ["null"],
        ["[]"],
        ["1e999"],
        ['"\\ud800"'],
        ["[" * 100_000],
        [b"\x00\x01"],
        [{}],
        [{"type": "Nothing"}],
        [{"type": ["Connect"]}],
        [{"type": "Connect"}],
        [{"type": "Connect", "sessionId": ""}],
        [{"type": "Connect", "sessionId": "s" * 1000}],
        [{"type": "Connect", "sessionId": 7}],
        [SET, SET],
        [CONNECT, CONNECT],
        [CONNECT, b"binary"],
        [CONNECT, {**SET, "baseVersion": 1, "newVersion": 2}],
        [CONNECT, {**SET, "newVersion": 0}],
        [CONNECT, {**SET, "newVersion": 2**32}],
        [CONNECT, {**SET, "baseVersion": -1}],
        [CONNECT, {**SET, "modifications": None}],
        [CONNECT, {**SET, "modifications": [{"type": "Remove", "queryId": 5}]}],
        [CONNECT, {**SET, "modifications": [{"type": "Swap", "queryId": 5}]}],
        [CONNECT, {**SET, "modifications": [ADD, ADD]}],
        [CONNECT, {**SET, "modifications": [{**ADD, "queryId": 0.5}]}],
        [CONNECT, {**SET, "modifications": [{**ADD, "udfPath": None}]}],
        [CONNECT, SET, {**SET, "baseVersion": 1, "newVersion": 2}],
        [CONNECT, SET, SET],
        [CONNECT, {"type": "Mutation", "requestId": -1, "udfPath": "messages:send", "args": []}],
        [CONNECT, {"type": "Mutation", "requestId": 0, "args": []}],
        [CONNECT, {"type": "Action", "requestId": "0", "udfPath": "messages:echo"}],
        [CONNECT, {"type": "Authenticate", "baseVersion": 5, "tokenType": "None"}],
        [CONNECT, {"type": "Authenticate", "baseVersion": 0, "tokenType": "Magic", "value": "x"}],
        [CONNECT, {"type": "Authenticate", "baseVersion": 0}],
    ],
)
async def test_a_broken_protocol_is_fatal_for_this_client_and_no_accident_of_ours(
    cloud: Cloud, frames: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with cloud.socket() as wire:
        for frame in frames:
            await wire.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
        heard = await wire.hear()
        while heard["type"] == "Transition":
            heard = await wire.hear()
        assert heard["type"] == "FatalError"
        assert heard["error"]
        assert (await wire.closed())[0] == 1000
    await _still_serves(cloud)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _still_serves(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:whoami")
        assert (await wire.hear())["modifications"][0]["value"] is None


texts = st.sampled_from(["messages:list", "messages:send", "messages:echo", "", "a", "None", "User", "Admin", "good-a"])
numbers = st.sampled_from([0, 1, 2, 3, -1, 2**32, 1.5, "1", None])
modifications: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Add", "Remove", "Odd"]), "queryId": numbers},
        optional={"udfPath": texts, "args": st.sampled_from([[{}], {}, [], None, [{"body": "x"}], 5])},
    ),
    max_size=3,
)
any_message: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.sampled_from(["ModifyQuerySet", "Mutation", "Action", "Authenticate", "Event", "Connect"])},
    optional={
        "sessionId": texts,
        "baseVersion": numbers,
        "newVersion": numbers,
        "modifications": modifications,
        "requestId": numbers,
        "udfPath": texts,
        "args": st.sampled_from([[{}], {}, [], None, [{"body": "x"}], 5]),
        "tokenType": texts,
        "value": texts,
    },
)


@pytest.fixture
def runner() -> Iterator[tuple[asyncio.Runner, Cloud]]:
    """A loop with a server on it, for many examples."""
    with asyncio.Runner() as loop:
        server = opened()
        yield loop, loop.run(server.__aenter__())
        loop.run(server.__aexit__(None, None, None))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_message, max_size=8), st.booleans())
def test_any_messages_in_any_order_end_in_an_answer_or_a_close(
    runner: tuple[asyncio.Runner, Cloud], caplog: pytest.LogCaptureFixture, said: list[dict[str, Any]], connects: bool
) -> None:
    loop, cloud = runner
    loop.run(_try(cloud, said, connects))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _try(cloud: Cloud, said: list[dict[str, Any]], connects: bool) -> None:
    async with cloud.client() if connects else cloud.socket() as wire:
        try:
            for message in said:
                await wire.connection.send(json.dumps(message))
            await wire.say("Action", requestId=4_000_000_000, udfPath="messages:echo", args=[{}])
            while (heard := await wire.hear())["type"] not in ("FatalError", "AuthError"):
                if heard.get("requestId") == 4_000_000_000:
                    break
        except ConnectionClosed:
            pass
    await _still_serves(cloud)


async def test_more_queries_than_one_connection_may_have_end_it(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        adding = [{**ADD, "queryId": number} for number in range(limits.SYNC_QUERIES + 1)]
        await wire.say("ModifyQuerySet", baseVersion=0, newVersion=1, modifications=adding)
        code, reason = await wire.closed()
        assert (code, reason.partition(":")[0]) == (1000, "TooManyQueries")


async def test_a_long_message_comes_in_several_frames(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        size = 3_500_000
        adding = [
            {"type": "Add", "queryId": number, "udfPath": "messages:big", "args": [{"size": size + number}]}
            for number in range(2)
        ]
        await wire.say("ModifyQuerySet", baseVersion=0, newVersion=1, modifications=adding)
        async with asyncio.timeout(20):
            pieces = [piece async for piece in wire.connection.recv_streaming(decode=False)]
        assert all(len(piece) <= limits.SYNC_FRAME for piece in pieces)
        assert len(pieces) > 1
        first, second = json.loads(b"".join(bytes(piece) for piece in pieces))["modifications"]
        assert (len(first["value"]), len(second["value"])) == (size, size + 1)


async def test_a_paused_deployment_lets_its_clients_go(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        await wire.hear()
        cloud.names.all[NAME] = replace(cloud.names.all[NAME], paused=True)
        cloud.live.changed(NAME)
        code, reason = await wire.closed()
        assert (code, reason.partition(":")[0]) == (1013, "DeploymentPaused")
    with pytest.raises(InvalidStatus) as refused:
        async with cloud.socket():
            pass
    assert refused.value.response.status_code == 503


async def test_a_deleted_deployment_lets_its_clients_go(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        await wire.hear()
        del cloud.names.all[NAME]
        cloud.live.changed(NAME)
        code, reason = await wire.closed()
        assert (code, reason.partition(":")[0]) == (1000, "NotFound")


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/api/sync", "nobody-here-1.cloud.localhost"),
        ("/api/sync", f"{NAME}.site.localhost"),
        ("/api/sync", "localhost"),
        ("/api/a/b/sync", f"{NAME}.cloud.localhost"),
        ("/sync", f"{NAME}.cloud.localhost"),
    ],
)
async def test_a_websocket_elsewhere_is_refused_in_http(cloud: Cloud, path: str, host: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with cloud.socket(path, host):
            pass
    response = refused.value.response
    assert response.status_code == 404
    assert json.loads(response.body or b"")["code"] == "NotFound"


async def test_a_bare_host_leads_to_the_default_deployment() -> None:
    async with opened(default=NAME) as cloud, cloud.socket(host="localhost") as wire:
        await wire.say("Connect", sessionId="s", connectionCount=0)
        await wire.add(0, q0="messages:list")
        assert (await wire.hear())["type"] == "Transition"


@pytest.mark.parametrize(
    "request_lines",
    [
        ["GET /api/sync HTTP/1.1", "Sec-WebSocket-Version: 13"],
        ["GET /api/sync HTTP/1.1", "Sec-WebSocket-Version: 12", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
        ["GET /api/sync HTTP/1.1", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"],
        ["POST /api/sync HTTP/1.1", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
    ],
)
async def test_a_handshake_that_is_none_is_answered(cloud: Cloud, request_lines: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.port)
    host = f"Host: {NAME}.cloud.localhost"
    writer.write("\r\n".join([*request_lines, host, "Connection: Upgrade", "Upgrade: websocket", "", ""]).encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 426"))
    writer.close()


async def test_a_client_that_vanishes_leaves_nothing_behind(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        await wire.hear()
        assert cloud.live.names() == (NAME,)
        wire.connection.transport.abort()
    async with asyncio.timeout(10):
        while cloud.live.names():
            await asyncio.sleep(0.001)
