"""What does a sync client hear, and in which order?"""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.edge.sync.messages import read_position, write_position
from runtime.ports import LogQuery
from tests.contracts.front_door import NAME
from tests.contracts.sync_house import Cloud, opened

ZERO = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with opened() as made:
        yield made


async def test_a_subscription_is_answered_in_a_transition_with_every_field_that_clients_read(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        heard = await wire.hear()
        assert heard.pop("clientClockSkew") is None
        assert type(heard.pop("serverTs")) is int
        end = heard["endVersion"]
        assert (end["querySet"], end["identity"]) == (1, 0)
        assert read_position(end["ts"]) >= 1
        assert heard == {
            "type": "Transition",
            "startVersion": ZERO,
            "endVersion": end,
            "modifications": [
                {"type": "QueryUpdated", "queryId": 0, "value": [], "logLines": ["[INFO] listed"], "journal": None}
            ],
        }


@pytest.mark.parametrize("path", ["/api/sync", "/api/1.48.0/sync", "//api/1.48.0/sync", "/api/sync?x=1"])
async def test_both_paths_lead_to_it_and_a_second_slash_does_no_harm(cloud: Cloud, path: str) -> None:
    async with cloud.socket(path) as wire:
        await wire.say("Connect", sessionId="s", connectionCount=0)
        await wire.add(0, q0="messages:list")
        assert (await wire.hear())["type"] == "Transition"


async def test_the_clients_clock_is_compared_with_ours(cloud: Cloud) -> None:
    async with cloud.socket() as wire:
        client_ts = int(cloud.clock.now()) + 131
        await wire.say("Connect", sessionId="s", connectionCount=0, lastCloseReason=None, clientTs=client_ts)
        await wire.add(0)
        assert (await wire.hear())["clientClockSkew"] == 131


async def test_a_mutation_is_answered_before_the_transition_that_shows_it(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        before = await wire.hear()
        await wire.send(0, "hello")
        answer, shown = await wire.hear(), await wire.hear()
        assert answer == {
            "type": "MutationResponse",
            "requestId": 0,
            "success": True,
            "result": answer["result"],
            "ts": answer["ts"],
            "logLines": ["[INFO] sending"],
        }
        assert shown["startVersion"] == before["endVersion"]
        assert read_position(shown["endVersion"]["ts"]) >= read_position(answer["ts"])
        assert [change["value"] for change in shown["modifications"]] == [["hello"]]


async def test_mutations_run_in_the_order_in_which_they_were_sent(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        for number in range(30):
            await wire.send(number, str(number))
        answers: list[int] = []
        while len(answers) < 30:
            heard = await wire.hear()
            if heard["type"] == "MutationResponse":
                answers.append(heard["requestId"])
        assert answers == list(range(30))
        assert cloud.functions.ran == [str(number) for number in range(30)]


async def test_after_every_mutation_a_transition_follows_even_if_it_failed_and_nothing_is_watched(
    cloud: Cloud,
) -> None:
    async with cloud.client() as wire:
        await wire.send(0, "x")
        answer, empty = await wire.hear(), await wire.hear()
        assert (answer["type"], empty["type"], empty["modifications"]) == ("MutationResponse", "Transition", [])
        assert read_position(empty["endVersion"]["ts"]) >= read_position(answer["ts"])
        await wire.say("Mutation", requestId=1, udfPath="messages:fail_send", args=[{}])
        failed, empty = await wire.hear(), await wire.hear()
        assert (failed["success"], failed["ts"], failed["errorData"]) == (False, None, {"code": 7})
        assert failed["logLines"] == ["[INFO] before"]
        assert (empty["type"], empty["modifications"]) == ("Transition", [])


async def test_a_mutation_that_is_sent_again_is_answered_and_not_run_again(cloud: Cloud) -> None:
    async with cloud.client("one") as wire:
        await wire.send(7, "once")
        first = await wire.hear()
    async with cloud.client("one") as wire:
        await wire.send(7, "once")
        assert await wire.hear() == first
        assert (await wire.hear())["type"] == "Transition"
        await wire.send(8, "twice")
        assert (await wire.hear())["ts"] != first["ts"]
    async with cloud.client("another") as wire:
        await wire.send(7, "other")
        await wire.hear()
    assert cloud.functions.ran == ["once", "twice", "other"]


async def test_a_mutation_that_is_sent_twice_at_once_runs_once(cloud: Cloud) -> None:
    async with cloud.client("one") as here, cloud.client("one") as there:
        await asyncio.gather(here.send(1, "once"), there.send(1, "once"))
        one, other = await here.hear(), await there.hear()
        assert one["result"] == other["result"]
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:list")
        assert (await wire.hear())["modifications"][0]["value"] == ["once"]


async def test_an_action_is_answered_whenever_it_is_done(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.say("Action", requestId=0, udfPath="messages:wait", args=[{}])
        await wire.say("Action", requestId=1, udfPath="messages:echo", args=[{"big": {"$integer": "KgAAAAAAAAA="}}])
        assert await wire.hear() == {
            "type": "ActionResponse",
            "requestId": 1,
            "success": True,
            "result": {"big": {"$integer": "KgAAAAAAAAA="}},
            "logLines": ["[INFO] echo"],
        }
        cloud.functions.waiting.set()
        assert (await wire.hear())["requestId"] == 0


async def test_another_clients_mutation_is_pushed(cloud: Cloud) -> None:
    async with cloud.client("one") as wire, cloud.client("two") as other:
        await wire.add(0, q0="messages:list")
        await wire.hear()
        await other.send(0, "from another")
        assert (await wire.hear())["modifications"][0]["value"] == ["from another"]


async def test_a_query_that_fails_names_its_error_and_its_data(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q3="messages:fail")
        (change,) = (await wire.hear())["modifications"]
        assert (change["type"], change["queryId"], change["errorData"]) == ("QueryFailed", 3, {"code": 7})
        assert (change["logLines"], change["journal"]) == ([], None)
        assert "no" in change["errorMessage"]


@pytest.mark.parametrize(
    ("kind", "path", "args", "says"),
    [
        ("Mutation", "messages:nothing", [{}], "Could not find public function"),
        ("Mutation", "messages:list", [{}], "Trying to execute messages:list as Mutation"),
        ("Action", "messages:send", [{}], "Trying to execute messages:send as Action"),
        ("Action", "messages:secret", [{}], "Could not find public function"),
        ("Action", "../etc", [{}], "function path"),
        ("Action", "messages:echo", [1], "args"),
        ("Action", "messages:echo", [{}, {}], "args"),
        ("Action", "messages:echo", [{"$x": 1}], "$x"),
        ("Action", "messages:echo", [{"a": {"$integer": "?"}}], "base64"),
        ("Action", "messages:echo", [{"é": 1}], "ASCII"),
        ("Action", "messages:echo", {"$integer": "KgAAAAAAAAA="}, "single value"),
    ],
)
async def test_what_cannot_be_called_is_an_answer_and_no_end(
    cloud: Cloud, kind: str, path: str, args: Any, says: str
) -> None:
    async with cloud.client() as wire:
        await wire.say(kind, requestId=5, udfPath=path, args=args)
        answer = await wire.hear()
        assert (answer["type"], answer["requestId"], answer["success"]) == (f"{kind}Response", 5, False)
        assert says in answer["result"]
        assert "errorData" not in answer
        await wire.say("Action", requestId=6, udfPath="messages.js:echo", args={"plain": "object"})
        heard = [await wire.hear() for _ in range(2 if kind == "Mutation" else 1)]
        assert heard[-1]["result"] == {"plain": "object"}


@pytest.mark.parametrize(
    ("path", "args", "says"),
    [
        ("messages:nothing", [{}], "Could not find public function"),
        ("messages:send", [{}], "Trying to execute messages:send as Query"),
        ("", [{}], "function path"),
        ("messages:list", "text", "args"),
        ("messages:list", [{"a": {"$bytes": 5}}], "base64"),
        ("_system/cli/tables:default", [{}], "Could not find public function"),
    ],
)
async def test_what_cannot_be_asked_is_a_failed_query(cloud: Cloud, path: str, args: Any, says: str) -> None:
    async with cloud.client() as wire:
        add = {"type": "Add", "queryId": 0, "udfPath": path, "args": args}
        await wire.say("ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
        (change,) = (await wire.hear())["modifications"]
        assert change["type"] == "QueryFailed"
        assert says in change["errorMessage"]


async def test_mutations_and_actions_are_lines_of_the_log(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.send(0, "x")
        await wire.hear()
        await wire.say("Mutation", requestId=1, udfPath="messages:fail_send", args=[{}])
        await wire.hear()
        await wire.hear()
    ended = [entry for entry in await cloud.logs.read(NAME, LogQuery()) if entry.kind == "request"]
    assert [(entry.function, entry.function_kind, entry.level) for entry in ended] == [
        ("messages:send", "mutation", "info"),
        ("messages:fail_send", "mutation", "error"),
    ]


def test_positions_are_eight_bytes_lowest_first() -> None:
    assert write_position(0) == "AAAAAAAAAAA="
    assert write_position(1795458470130343614) == "vt4VQfe/6hg="
    assert base64.b64decode(write_position(258)) == b"\x02\x01\x00\x00\x00\x00\x00\x00"
