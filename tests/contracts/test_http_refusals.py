"""What does an HTTP client see when something fails, or when a page of another site asks?"""

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest

from runtime.edge.problems import Details
from runtime.errors import IsolateLost, Overloaded, Stopping, TooManyRequests
from runtime.invocation import Failed, HttpInvocation
from runtime.protocol import values
from runtime.protocol.declaration import Cors, Declaration
from runtime.protocol.messages import Failure, Frame, Reason
from tests.contracts.front_door import KEY, Front, Reply, opened, route, say

HELLO = Declaration(routes=(route("GET", "/hello"),))


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with opened(HELLO) as door:
        yield door


# --- failures ---------------------------------------------------------------------------------------------------------

BOOM = Failure(Reason.RAISED, "ValueError", "boom", (Frame("messages.py", 3, "post", "raise ValueError"),))
DATA = Failure(Reason.APPLICATION, "ApplicationError", "no", (), values.encode({"why": [1, b"x"]}))


async def test_details_of_a_failure_are_hidden_unless_an_administrator_asks(front: Front) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Failed(BOOM))
    answer = await front.ask("GET", "/hello")
    assert (answer.status, json.loads(answer.body)) == (
        500,
        {"code": f"[Request ID: {answer['x-request-id']}] Server Error"},
    )
    seen = json.loads((await front.ask("GET", "/hello", f"Authorization: {KEY}")).body)
    assert "ValueError: boom" in seen["code"]
    assert "messages.py" in seen["trace"]
    assert "boom" not in (await front.ask("GET", "/hello", "Authorization: Convex other|key")).body.decode()


async def test_a_development_server_shows_the_traceback() -> None:
    async with opened(HELLO, details=Details.SHOW) as front:
        front.hall.handlers["GET /hello"] = partial(say, Failed(BOOM))
        assert "raise ValueError" in json.loads((await front.ask("GET", "/hello")).body)["trace"]


async def test_an_application_error_keeps_its_data(front: Front) -> None:
    front.hall.handlers["GET /hello"] = partial(say, Failed(DATA))
    assert json.loads((await front.ask("GET", "/hello")).body)["data"] == {"why": [1, {"$bytes": "eA=="}]}


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (TooManyRequests("busy", 3), 429, "3"),
        (Overloaded("full", 2), 503, "2"),
        (IsolateLost("secret reason"), 503, "1"),
        (Stopping("secret reason"), 503, "1"),
        (RuntimeError("secret reason"), 500, None),
    ],
)
async def test_our_refusals_have_their_statuses_and_keep_their_secrets(
    front: Front, error: Exception, status: int, retry: str | None
) -> None:
    async def refuse(invocation: HttpInvocation) -> Reply:
        raise error

    front.hall.handlers["GET /hello"] = refuse
    answer = await front.ask("GET", "/hello")
    assert answer.status == status
    assert answer.headers.get("retry-after") == ([retry] if retry else None)
    assert b"secret" not in answer.body
    assert json.loads(answer.body).keys() == {"code", "message"}


# --- CORS -------------------------------------------------------------------------------------------------------------

SHARED = Cors(allow_origins=("https://a.example",), allow_credentials=True, max_age=60)
CROSS = Declaration(routes=(route("GET", "/open", Cors(allow_origins=("*",))), route("POST", "/open")), cors=SHARED)


async def test_a_preflight_is_answered_for_the_tenant() -> None:
    async with opened(CROSS) as front:
        asked = (
            "Origin: https://a.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: x-a",
        )
        answer = await front.ask("OPTIONS", "/open", *asked)
        assert answer.status == 204
        assert answer["access-control-allow-origin"] == "https://a.example"
        assert answer["access-control-allow-methods"] == "GET, HEAD, POST"
        assert answer["access-control-allow-headers"] == "x-a"
        assert answer["access-control-allow-credentials"] == "true"
        assert answer["access-control-max-age"] == "60"
        assert front.hall.asked == []
        stranger = await front.ask("OPTIONS", "/open", "Origin: https://b.example", *asked)
        assert "access-control-allow-origin" not in stranger.headers


async def test_every_answer_has_the_declared_headers_refusals_too() -> None:
    async with opened(CROSS) as front:
        byhand = [(b"Access-Control-Allow-Origin", b"https://evil.example")]
        front.hall.handlers["GET /open"] = partial(say, Reply(headers=byhand))
        front.hall.handlers["POST /open"] = partial(say, Failed(BOOM))
        assert (await front.ask("GET", "/open", "Origin: https://b.example"))["access-control-allow-origin"] == "*"
        for method, path, status in (("POST", "/open", 500), ("GET", "/nowhere", 404), ("PUT", "/open", 405)):
            answer = await front.ask(method, path, "Origin: https://a.example")
            assert (answer.status, answer["access-control-allow-origin"]) == (status, "https://a.example")
            assert answer["vary"] == "Origin"
