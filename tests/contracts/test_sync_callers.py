"""Who is a sync client, and what may it then see?"""

from collections.abc import AsyncIterator

import pytest

from runtime.edge.problems import Details
from runtime.edge.sync import session as sessions
from tests.contracts.sync_house import ADMIN_KEY, Cloud, opened


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with opened() as made:
        yield made


async def test_details_are_hidden_where_the_operator_says_so_and_never_from_an_administrator() -> None:
    async with opened(Details.HIDE) as cloud, cloud.client() as wire:
        await wire.add(0, q0="messages:fail", q1="messages:list")
        failed, listed = (await wire.hear())["modifications"]
        assert failed["errorMessage"].endswith("Server Error")
        assert (failed["errorData"], listed["logLines"]) == ({"code": 7}, [])
        await wire.say("Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY)
        failed, listed = (await wire.hear())["modifications"]
        assert "ApplicationError" in failed["errorMessage"]
        assert listed["logLines"] == ["[INFO] listed"]


async def test_a_token_asks_every_query_anew_in_one_transition(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:whoami")
        await wire.hear()
        await wire.say("Authenticate", baseVersion=0, tokenType="User", value="good-ann")
        heard = await wire.hear()
        assert (heard["startVersion"]["identity"], heard["endVersion"]["identity"]) == (0, 1)
        assert heard["modifications"][0]["value"] == {"subject": "good-ann"}
        await wire.say("Authenticate", baseVersion=1, tokenType="None")
        heard = await wire.hear()
        assert (heard["endVersion"]["identity"], heard["modifications"][0]["value"]) == (2, None)


async def test_an_identity_is_shown_by_a_transition_even_if_nothing_is_watched(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.say("Authenticate", baseVersion=0, tokenType="User", value="good-ann")
        heard = await wire.hear()
        assert (heard["endVersion"]["identity"], heard["modifications"]) == (1, [])


async def test_who_says_a_token_and_no_connect_is_served(cloud: Cloud) -> None:
    # The npm client does, when it expects a token and is given it after its socket has opened.
    async with cloud.socket() as wire:
        await wire.say("Authenticate", baseVersion=0, tokenType="User", value="good-ann")
        await wire.add(0, q0="messages:whoami")
        while not (heard := await wire.hear())["modifications"]:
            pass
        assert heard["modifications"][0]["value"] == {"subject": "good-ann"}
        for _ in range(2):
            await wire.send(0, "said without a session")
            while (heard := await wire.hear())["type"] != "MutationResponse":
                pass
            assert heard["success"]
    assert cloud.functions.ran == ["said without a session"] * 2


async def test_a_bad_token_is_an_auth_error_and_the_client_closes_first(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.say("Authenticate", baseVersion=0, tokenType="User", value="bad")
        await wire.send(0, "ignored")
        heard = await wire.hear()
        assert (heard["type"], heard["baseVersion"], heard["authUpdateAttempted"]) == ("AuthError", 0, True)
        assert heard["error"]
    assert cloud.functions.ran == []


async def test_who_does_not_close_after_an_auth_error_is_closed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GRACE", 0.01)
    async with cloud.client() as wire:
        await wire.say("Authenticate", baseVersion=0, tokenType="Admin", value="happy-otter-123|wrong")
        assert (await wire.hear())["type"] == "AuthError"
        assert (await wire.closed())[0] == 1000


async def test_a_token_that_expires_is_noticed_at_the_next_mutation(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.say("Authenticate", baseVersion=0, tokenType="User", value="good-soon")
        await wire.hear()
        await wire.send(0, "in time")
        assert [(await wire.hear())["type"], (await wire.hear())["type"]] == ["MutationResponse", "Transition"]
        cloud.clock.milliseconds += 61_000
        await wire.send(1, "too late")
        heard = await wire.hear()
        assert (heard["type"], heard["baseVersion"], heard["authUpdateAttempted"]) == ("AuthError", 1, False)
    assert cloud.functions.ran == ["in time"]


async def test_an_administrator_calls_internal_functions_and_acts_as_users(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.add(0, q0="messages:secret", q1="messages:whoami")
        assert (await wire.hear())["modifications"][0]["type"] == "QueryFailed"
        acting = {"subject": "zed", "issuer": "https://a.example", "tokenIdentifier": "https://a.example|zed"}
        await wire.say("Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY, impersonating=acting)
        secret, me = (await wire.hear())["modifications"]
        assert (secret["value"], me["value"]["subject"]) == ("secret", "zed")


# --- what tools ask ---------------------------------------------------------------------------------------------------


async def test_an_administrators_tools_learn_about_the_deployment(cloud: Cloud) -> None:
    async with cloud.client() as wire:
        await wire.send(0, "hello")
        await wire.hear()
        await wire.hear()
        await wire.say("Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY)
        await wire.hear()
        pages = {"paginationOpts": {"numItems": 10, "cursor": None}}
        asked = [
            ("queryEnvironmentVariables:default", {}),
            ("queryEnvironmentVariables:get", {"name": "COLOR"}),
            ("tables:default", pages),
            ("tableData:default", {"table": "messages", "order": "asc", **pages}),
            ("modules:apiSpec", {}),
            ("convexUrl:cloudUrl", {}),
            ("nothing:default", {}),
        ]
        adding = [
            {"type": "Add", "queryId": number, "udfPath": f"_system/cli/{path}", "args": [args], "componentPath": ""}
            for number, (path, args) in enumerate(asked)
        ]
        await wire.say("ModifyQuerySet", baseVersion=0, newVersion=1, modifications=adding)
        changes = (await wire.hear())["modifications"]
    told = [change.get("value", change.get("errorMessage")) for change in changes]
    assert told[0] == [{"name": "COLOR", "value": "blue"}]
    assert told[1] == {"name": "COLOR", "value": "blue"}
    assert told[2] == {"page": [{"name": "messages"}], "isDone": True, "continueCursor": "end"}
    assert [document["body"] for document in told[3]["page"]] == ["hello"]
    assert {
        key: value
        for key, value in next(one for one in told[4] if one["identifier"] == "messages.js:send").items()
        if key in ("functionType", "visibility")
    } == {"functionType": "Mutation", "visibility": {"kind": "public"}}
    assert told[5] == "http://cloud"
    assert "Could not find function" in told[6]
