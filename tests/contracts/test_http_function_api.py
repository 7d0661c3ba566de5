"""What does a client of the function API see?"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime import limits
from runtime.edge.hosts import Addresses
from runtime.errors import CommitConflict
from runtime.identity import NOBODY, KnownUser
from runtime.invocation import Failed, Succeeded
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Kind, Visibility
from runtime.protocol.messages import Failure, Frame, Level, Reason
from tests.contracts.front_door import KEY, NAME, Answer, Front, function, opened, paused

CLOUD = f"{NAME}.cloud.localhost"
DECLARED = Declaration(
    functions=(
        function("messages:list", Kind.QUERY),
        function("messages:send", Kind.MUTATION),
        function("admin/users:purge", Kind.ACTION),
        function("messages:secret", Kind.QUERY, Visibility.INTERNAL),
        function("http:hello", Kind.HTTP_ACTION),
    )
)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with opened(DECLARED) as door:
        door.hall.outcome = Succeeded(values.encode({"n": 1, "big": values.Int64(7)}), ("[INFO] said",))
        yield door


async def call(front: Front, path: str, body: Any, *headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await front.ask("POST", path, "Content-Type: application/json", *headers, host=CLOUD, body=content)


@pytest.mark.parametrize(
    ("endpoint", "path", "kind"),
    [
        ("/api/query", "messages:list", Kind.QUERY),
        ("/api/mutation", "messages:send", Kind.MUTATION),
        ("/api/action", "admin/users:purge", Kind.ACTION),
        ("/api/function", "messages.py:send", Kind.MUTATION),
        ("/api/run/admin/users/purge", "", Kind.ACTION),
    ],
)
@pytest.mark.parametrize("args", [{"a": 1}, [{"a": 1}]])
async def test_a_function_is_called_by_its_endpoint(
    front: Front, endpoint: str, path: str, kind: Kind, args: Any
) -> None:
    key = [f"Authorization: {KEY}"] if endpoint == "/api/function" else []
    answer = await call(front, endpoint, {"path": path, "args": args, "format": "json"}, *key)
    expected = {"status": "success", "value": {"n": 1, "big": "7"}, "logLines": ["[INFO] said"] if key else []}
    assert (answer.status, json.loads(answer.body)) == (200, expected)
    (ran,) = front.hall.ran
    assert (ran.kind, values.decode(ran.args), ran.depth) == (kind, {"a": 1}, 0)
    assert ran.request_id == answer["x-request-id"]
    assert "server-timing" in answer.headers


@pytest.mark.parametrize(
    ("format", "written"),
    [
        ("json", {"i": "7", "b": "AAE=", "x": ["NaN", "Infinity", "-Infinity"], "f": 1.5}),
        (
            "convex_encoded_json",
            {
                "i": {"$integer": "BwAAAAAAAAA="},
                "b": {"$bytes": "AAE="},
                "x": [{"$float": "AAAAAAAA+H8="}, {"$float": "AAAAAAAA8H8="}, {"$float": "AAAAAAAA8P8="}],
                "f": 1.5,
            },
        ),
    ],
)
async def test_a_value_is_written_in_the_format_that_was_asked_for(front: Front, format: str, written: Any) -> None:
    value = {"i": values.Int64(7), "b": b"\0\1", "x": [float("nan"), float("inf"), float("-inf")], "f": 1.5}
    front.hall.outcome = Succeeded(values.encode(value))
    answer = await call(front, "/api/query", {"path": "messages:list", "args": {}, "format": format})
    assert json.loads(answer.body)["value"] == written


async def test_a_query_can_be_asked_by_get(front: Front) -> None:
    target = '/api/query?path=messages:list&args={"a":"%C3%A9%26"}&format=convex_encoded_json'.replace('"', "%22")
    assert json.loads((await front.ask("GET", target, host=CLOUD)).body)["status"] == "success"
    assert values.decode(front.hall.ran[0].args) == {"a": "é&"}
    assert (await front.ask("GET", "/api/mutation?path=messages:send", host=CLOUD)).status == 405


async def test_internal_missing_and_misspelt_functions_look_alike(front: Front) -> None:
    texts = set()
    for path in ("messages:secret", "messages:nobody"):
        answer = await call(front, "/api/query", {"path": path, "args": {}})
        error = json.loads(answer.body)
        assert (answer.status, error["status"]) == (200, "error")
        texts.add(error["errorMessage"].replace(path, "X").replace(answer["x-request-id"], "ID"))
    assert len(texts) == 1
    assert "Could not find public function for 'X'" in texts.pop()
    assert front.hall.ran == []


@pytest.mark.parametrize(("endpoint", "path"), [("/api/query", "messages:send"), ("/api/run/http/hello", "")])
async def test_a_function_of_another_kind_is_an_error_that_names_both(front: Front, endpoint: str, path: str) -> None:
    error = json.loads((await call(front, endpoint, {"path": path, "args": {}})).body)
    assert f"Trying to execute {path or 'http:hello'} as" in error["errorMessage"]
    assert front.hall.ran == []


async def test_a_deploy_key_may_call_internal_functions_and_sees_details(front: Front) -> None:
    authorized = f"Authorization: {KEY}"
    body = {"path": "messages:secret", "args": {}}
    assert json.loads((await call(front, "/api/function", body, authorized)).body)["logLines"] == ["[INFO] said"]
    failure = Failure(Reason.RAISED, "ValueError", "boom", (Frame("messages.py", 3, "secret", "raise"),))
    front.hall.outcome = Failed(failure, ("[INFO] said",))
    error = json.loads((await call(front, "/api/function", body, authorized)).body)
    assert "ValueError: boom" in error["errorMessage"]
    assert "messages.py" in error["errorMessage"]
    refused = await call(front, "/api/function", body, "Authorization: Convex happy-otter-123|wrong")
    assert (refused.status, json.loads(refused.body)["code"]) == (401, "Unauthorized")


async def test_a_bearer_token_makes_nobody_an_administrator(front: Front) -> None:
    answer = await call(front, "/api/query", {"path": "messages:secret"}, "Authorization: Bearer good-one")
    assert b"Could not find" in answer.body


@pytest.mark.parametrize("header", [f"Bearer {KEY.partition(' ')[2]}", "Bearer", "Basic dXNlcjpwYXNz", "good-one"])
async def test_a_token_that_proves_nothing_is_401_before_anything_runs(front: Front, header: str) -> None:
    answer = await call(front, "/api/query", {"path": "messages:list"}, f"Authorization: {header}")
    assert answer.status == 401 and front.hall.ran == []
    assert answer["www-authenticate"].startswith("Bearer ")
    assert json.loads(answer.body)["code"] in ("Unauthenticated", "InvalidAuthHeader")


async def test_a_verified_user_travels_with_the_invocation(front: Front) -> None:
    front.hall.outcome = Succeeded(values.encode(1))
    await call(front, "/api/query", {"path": "messages:list"}, "authorization: bEARER good-one")
    await call(front, "/api/query", {"path": "messages:list"})
    known, nobody = [ran.identity for ran in front.hall.ran]
    assert isinstance(known, KnownUser) and known.token_identifier == "https://provider.example|good-one"
    assert nobody == NOBODY


async def test_an_administrator_acts_as_whom_they_name(front: Front) -> None:
    front.hall.outcome = Succeeded(values.encode(1))
    acting = base64.b64encode(b'{"issuer": "https://i.example", "subject": "zed", "name": "Zed"}').decode()
    name, _, secret = KEY.partition(" ")[2].partition("|")
    for key in (f"{KEY}:{acting}", f"Convex prod:{name}|{secret}:{acting}", KEY):
        await call(front, "/api/query", {"path": "messages:secret"}, f"Authorization: {key}")
    *acted, plain = [ran.identity for ran in front.hall.ran]
    for user in acted:
        assert isinstance(user, KnownUser) and values.decode(user.claims)["tokenIdentifier"] == "https://i.example|zed"
    assert plain == NOBODY
    wrong = await call(front, "/api/query", {"path": "messages:secret"}, f"Authorization: {KEY}:not-base64!")
    assert wrong.status == 401 and "base64" in json.loads(wrong.body)["message"]


async def test_a_failed_function_is_200_with_its_details_hidden(front: Front) -> None:
    data = values.encode({"left": 0})
    front.hall.outcome = Failed(Failure(Reason.APPLICATION, "ApplicationError", "no tea", (), data), ("line",))
    answer = await call(front, "/api/query", {"path": "messages:list", "args": {}})
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {
            "status": "error",
            "errorMessage": f"[Request ID: {answer['x-request-id']}] Server Error",
            "errorData": {"left": 0},
            "logLines": [],
        },
    )
    ((name, entry),) = front.journal.entries
    assert (name, entry.kind, entry.function, entry.status, entry.level) == (
        NAME,
        "request",
        "messages:list",
        200,
        Level.ERROR,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"path": 1}',
        b'{"path": "messages:list", "args": 1}',
        b'{"path": "messages:list", "args": [1, 2]}',
        b'{"path": "messages:list", "args": null}',
        b'{"path": "../etc:passwd", "args": {}}',
        b'{"path": "", "args": {}}',
        b'{"path": "messages:list", "args": {}, "format": "xml"}',
        b'{"path": "messages:list", "args": {"$x": 1}}',
        b'{"path": "messages:list", "args": {"a": {"$bytes": "?"}}}',
        b'{"path": "messages:list", "args": {"a": 9007199254740993}}',
        b'{"path": "messages:list", "args": {"a": "\\ud800"}}',
        b'{"path": "messages:list", "args": ' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
        b'{"path": "messages:list", "args": ' + b"[" * 100_000,
    ],
)
async def test_a_malformed_call_is_400_and_named(front: Front, body: bytes) -> None:
    answer = await call(front, "/api/query", body)
    error = json.loads(answer.body)
    assert (answer.status, error["code"]) == (400, "BadRequest")
    assert error["message"]
    assert front.hall.ran == []


async def test_a_body_past_the_limit_is_413(front: Front) -> None:
    answer = await call(front, "/api/query", b" " * (limits.REQUEST_BODY + 1))
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "TooLarge")


async def test_arguments_past_the_limit_of_a_value_are_413(front: Front) -> None:
    answer = await call(front, "/api/query", {"path": "messages:list", "args": {"a": "x" * limits.VALUE_BYTES}})
    assert answer.status == 413


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/hello", "/api/a/b/sync"])
async def test_any_other_path_is_404(front: Front, path: str) -> None:
    answer = await front.ask("POST", path, host=CLOUD, body=b"{}")
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "NotFound")


async def test_the_endpoint_for_every_kind_of_function_is_for_administrators(front: Front) -> None:
    answer = await call(front, "/api/function", {"path": "messages:list", "args": {}})
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "Forbidden")
    assert front.hall.ran == []


async def test_an_administrators_key_may_stand_in_the_query_string(front: Front) -> None:
    key = KEY.partition(" ")[2].replace("|", "%7C")
    answer = await call(front, f"/api/function?adminKey={key}", {"path": "messages:secret", "args": {}})
    assert json.loads(answer.body)["status"] == "success"
    assert (await call(front, "/api/query?adminKey=wrong", {"path": "messages:list"})).status == 401


@pytest.mark.parametrize("path", ["/api/sync", "/api/1.48.0/sync"])
async def test_the_sync_protocol_without_an_upgrade_is_400(front: Front, path: str) -> None:
    answer = await front.ask("GET", path, host=CLOUD)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "path",
    ["/api/run_test_function", "/api/import/start_upload", "/api/deploy2/start_push", "/api/v1/get_canonical_urls"],
)
async def test_what_convex_has_and_nothing_answers_here_is_501_at_once(front: Front, path: str) -> None:
    answer = await call(front, path, {})
    assert (answer.status, json.loads(answer.body)["code"]) == (501, "NotImplemented")


async def test_a_base_url_that_ends_with_a_slash_does_no_harm(front: Front) -> None:
    answer = await call(front, "//api/query", {"path": "messages:list", "args": {}})
    assert json.loads(answer.body)["status"] == "success"


async def test_a_path_may_have_the_ending_of_a_javascript_module(front: Front) -> None:
    answer = await call(front, "/api/query", {"path": "messages.js:list", "args": {}}, "Convex-Client: npm-1.48.0")
    assert json.loads(answer.body)["status"] == "success"
    assert str(front.hall.ran[0].path) == "messages:list"


async def test_a_body_that_says_it_is_no_json_is_400(front: Front) -> None:
    body = b'{"path": "messages:list"}'
    answer = await front.ask("POST", "/api/query", "Content-Type: text/plain", host=CLOUD, body=body)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "BadRequest")


async def test_tools_learn_the_instances_name_and_hear_their_echo(front: Front) -> None:
    assert (await front.ask("GET", "/instance_name", host=CLOUD)).body == NAME.encode()
    assert (await front.ask("POST", "/echo", host=CLOUD, body=b"\0\1\2")).body == b"\0\1\2"
    assert NAME.encode() in (await front.ask("GET", "/", host=CLOUD)).body


async def test_the_log_and_the_variables_are_for_administrators(front: Front) -> None:
    assert (await front.ask("GET", "/api/stream_function_logs?cursor=0", host=CLOUD)).status == 403
    changes = {"changes": [{"name": "A", "value": "b"}]}
    assert (await call(front, "/api/update_environment_variables", changes)).status == 403


async def test_the_version_is_plain_text(front: Front) -> None:
    answer = await front.ask("GET", "/version", host=CLOUD)
    assert (answer.status, answer.body) == (200, b"0.0.1")


async def test_platform_errors_have_their_statuses(front: Front) -> None:
    front.hall.outcome = CommitConflict("messages")
    answer = await call(front, "/api/mutation", {"path": "messages:send", "args": {}})
    assert (answer.status, json.loads(answer.body)["code"], answer["retry-after"]) == (503, "CommitConflict", "1")
    paused(front)
    assert (await call(front, "/api/mutation", {"path": "messages:send"})).status == 503
    async with opened(None) as empty:
        assert b"warren deploy" in (await call(empty, "/api/query", {"path": "messages:list"})).body


async def test_any_page_may_call_and_read_refusals_too(front: Front) -> None:
    origin = "Origin: https://app.example"
    preflight = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,convex-client")
    answer = await front.ask("OPTIONS", "/api/query", origin, *preflight, host=CLOUD)
    assert answer.status == 204
    assert answer["access-control-allow-origin"] == "https://app.example"
    assert answer["access-control-allow-headers"] == "content-type,convex-client"
    assert "POST" in answer["access-control-allow-methods"]
    for path, body, status in (("/api/query", b"{", 400), ("/api/x", b"{}", 404), ("/api/query", b'{"path":"a"}', 200)):
        answer = await call(front, path, body, origin)
        assert (answer.status, answer["access-control-allow-origin"]) == (status, "https://app.example")
        assert answer["vary"] == "Origin"


async def test_a_bare_host_answers_the_default_deployments_function_api() -> None:
    addresses = Addresses("site.localhost", "cloud.localhost", default=NAME)
    async with opened(DECLARED, addresses=addresses) as front:
        front.hall.outcome = Succeeded(values.encode(None))
        body = b'{"path": "messages:list", "args": {}}'
        answer = await front.ask("POST", "/api/query", host="127.0.0.1:3210", body=body)
        assert json.loads(answer.body)["status"] == "success"
        assert (await front.ask("GET", "/v1/deployments", host="127.0.0.1:3210")).body.startswith(b"control plane")
