"""Request and Response: how they are made, and what goes on the wire."""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest

from runtime import limits
from runtime.sdk.fetch.bodies import BodyStream
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.fetch.url import URL


async def spoken(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


def incoming(body: Any = None, headers: Any = (), method: str = "POST") -> Request:
    return Request.incoming(
        method=method,
        url="http://a.localhost/x?y=1",
        headers=list(headers),
        path_params={"id": "7"},
        body=body,
        signal=AbortSignal(),
    )


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_an_incoming_request_tells_what_was_sent() -> None:
    request = incoming(b"x", [(b"x-a", b"1"), (b"X-A", b"\xe4")])
    assert (request.method, request.url, request.path_params) == ("POST", "http://a.localhost/x?y=1", {"id": "7"})
    assert request.headers.get("x-a") == "1, ä" and request.headers is request.headers
    assert not request.signal.aborted
    assert isinstance(request.body, BodyStream)


def test_a_request_is_checked_where_it_is_made() -> None:
    assert Request(URL("http://a")).url == "http://a/"
    assert Request("http://a/#f", method="post").method == "POST"
    assert Request("http://a", method="patch").method == "patch"
    for wrong in ("x", "/x", "", "http://u:p@a/", None):
        with pytest.raises(TypeError):
            Request(wrong)  # type: ignore[arg-type]  # wrong on purpose
    for method in ("", "a b", "CONNECT", "trace", "é"):
        with pytest.raises(TypeError):
            Request("http://a", method=method)
    for method in ("GET", "head"):
        with pytest.raises(TypeError, match="no body"):
            Request("http://a", method=method, body="")


async def test_a_request_made_of_a_request_takes_its_body() -> None:
    first = Request("http://a", method="PUT", headers={"x": "1"}, body="data")
    second = Request(first, headers={"y": "2"})
    assert (second.method, second.url, list(second.headers)) == ("PUT", "http://a/", [("y", "2")])
    assert await second.text() == "data"
    assert first.body_used
    with pytest.raises(TypeError):
        Request(first)
    streamed = Request("http://a", method="POST", body=spoken(b"a"))
    assert await Request(streamed).text() == "a" and streamed.body_used


async def test_a_clone_of_a_request_has_headers_of_its_own() -> None:
    first = incoming(b"x", [(b"a", b"1")])
    first.headers.set("a", "2")
    second = first.clone()
    second.headers.set("a", "3")
    assert (first.headers["a"], second.headers["a"]) == ("2", "3")
    assert second.signal is first.signal and second.path_params == first.path_params
    assert await first.text() == await second.text() == "x"


# --- responses --------------------------------------------------------------------------------------------------------


def test_a_response_is_200_with_nothing_unless_told_otherwise() -> None:
    response = Response()
    assert (response.status, response.ok, response.status_text) == (200, True, "")
    assert (response.type, response.url, response.redirected) == ("default", "", False)
    assert list(response.headers) == [] and response.body is None


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 1000, -1])
def test_a_status_that_cannot_be_sent_is_a_value_error(status: int) -> None:
    with pytest.raises(ValueError):
        Response(status=status)
    with pytest.raises(ValueError):
        Response.json(1, status=status)


@pytest.mark.parametrize("status", ["200", 200.0, None, True])
def test_a_status_that_is_no_number_is_a_type_error(status: Any) -> None:
    with pytest.raises(TypeError):
        Response(status=status)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_body_refuses_one(status: int) -> None:
    assert Response(None, status=status).status == status
    for body in ("", b"", "x", spoken(b"x")):
        with pytest.raises(TypeError):
            Response(body, status=status)
    with pytest.raises(TypeError):
        Response.json({}, status=status)


def test_a_status_may_be_an_enum_and_a_status_text_is_checked() -> None:
    made = Response(status=HTTPStatus.CREATED, status_text="So \t é")
    assert (type(made.status), made.status, made.status_text, made.ok) == (int, 201, "So \t é", True)
    for text in ("a\n", "a\0", "\u2603", "\x7f"):
        with pytest.raises(TypeError):
            Response(status_text=text)


async def test_json_builds_on_the_class_and_reads_on_an_instance() -> None:
    made = Response.json({"a": [1, "ä", None, 1.5, (2,)]}, status=201, status_text="ok", headers={"x": "1"})
    assert (made.status, made.status_text) == (201, "ok")
    assert list(made.headers) == [("content-type", "application/json"), ("x", "1")]
    assert await made.clone().bytes() == '{"a":[1,"ä",null,1.5,[2]]}'.encode()
    assert await made.json() == {"a": [1, "ä", None, 1.5, [2]]}
    own = Response.json(1, headers={"Content-Type": "application/problem+json"})
    assert own.headers["content-type"] == "application/problem+json"


class Colour(str):
    """Text of a class of its own."""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ud800", '"\\ud800"'),
        ({1: True}, '{"1":true}'),
        (2**70, str(2**70)),
        (Colour("red"), '"red"'),
        ([None, False], "[null,false]"),
        ("</script>\u2028", '"</script>\u2028"'),
    ],
)
async def test_json_writes_what_json_can_say(data: Any, text: str) -> None:
    assert await Response.json(data).text() == text


@pytest.mark.parametrize("data", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_numbers_that_json_has_not_are_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError):
        Response.json(data)


def test_what_has_no_json_is_a_type_error() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for data in (object(), b"x", {1, 2}, [lambda: 1], {"a": {b"k": 1}}, circle, [Colour("x"), circle]):
        with pytest.raises(TypeError):
            Response.json(data)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://example.org/a b", "https://example.org/a%20b"),
        (URL("http://a"), "http://a/"),
        ("/login?next=/ä#x", "/login?next=/%C3%A4#x"),
        ("/a/../b", "/b"),
        ("/.//elsewhere.example", "/.//elsewhere.example"),
        ("mailto:a@b", "mailto:a@b"),
    ],
)
def test_a_redirect_names_its_place(url: Any, location: str) -> None:
    made = Response.redirect(url)
    assert (made.status, made.headers["location"], made.body) == (302, location, None)


@pytest.mark.parametrize("url", ["", "x", "../x", "?x", "//other.example/", "/\\other.example", "http://", None])
def test_a_redirect_to_no_place_is_a_type_error(url: Any) -> None:
    with pytest.raises(TypeError):
        Response.redirect(url)


def test_a_redirect_is_one_of_five_and_its_headers_stay() -> None:
    assert [Response.redirect("/", status).status for status in (301, 302, 303, 307, 308)]
    for status in (200, 300, 304, 600, 0):
        with pytest.raises(ValueError):
            Response.redirect("/", status)
    for frozen in (Response.redirect("/"), Response.redirect("/").clone(), Response.error()):
        with pytest.raises(TypeError, match="cannot be changed"):
            frozen.headers.append("x", "1")


def test_an_error_is_a_response_that_cannot_be_answered_with() -> None:
    made = Response.error()
    assert (made.type, made.status, made.ok, made.body) == ("error", 0, False, None)
    with pytest.raises(TypeError, match="cannot be answered with"):
        made.wire_head()


async def test_a_clone_of_a_response_is_its_equal() -> None:
    first = Response("x", status=201, status_text="y", headers={"a": "1"})
    second = first.clone()
    second.headers.set("a", "2")
    assert (second.status, second.status_text, first.headers["a"]) == (201, "y", "1")
    assert await first.text() == await second.text() == "x"


# --- the wire ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "head", "body"),
    [
        (Response("ä"), (200, [(b"content-type", b"text/plain;charset=UTF-8")]), "ä".encode()),
        (Response(b"x", status=404), (404, []), b"x"),
        (Response(None, status=204), (204, []), b""),
        (Response.json([]), (200, [(b"content-type", b"application/json")]), b"[]"),
        (
            Response("x", headers=[("Set-Cookie", "a=1"), ("set-cookie", "b=2")]),
            (200, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-type", b"text/plain;charset=UTF-8")]),
            b"x",
        ),
    ],
)
def test_a_response_goes_on_the_wire_once(response: Response, head: Any, body: bytes) -> None:
    assert response.wire_head() == head
    assert response.wire_body() == body
    if body:
        assert response.body_used
        with pytest.raises(TypeError, match="read already"):
            response.wire_body()


def test_headers_that_responses_share_cannot_be_changed_through_one_of_them() -> None:
    makers: list[Callable[[], Response]] = [
        lambda: Response("a"),
        lambda: Response.json(1),
        lambda: Response(b"a"),
        Response,
    ]
    for make in makers:
        before = list(make().headers)
        changed = make()
        changed.headers.append("x-tenant", "secret")
        assert list(make().headers) == before
        assert (b"x-tenant", b"secret") in changed.wire_head()[1]


async def test_a_proxied_body_streams_through() -> None:
    request = incoming(spoken(b"a", b"b"))
    body = Response(request.body).wire_body()
    assert isinstance(body, BodyStream)
    assert [chunk async for chunk in body] == [b"a", b"b"]
    assert request.body_used
    with pytest.raises(TypeError, match="read already"):
        Response(request.body)


async def test_a_body_that_was_looked_at_but_not_read_can_still_be_sent() -> None:
    response = Response("x" * (limits.BODY_CHUNK + 1))
    assert response.body is not None
    sent = response.wire_body()
    assert isinstance(sent, BodyStream)
    assert [len(chunk) async for chunk in sent] == [limits.BODY_CHUNK, 1]


async def test_a_response_that_somebody_else_made_keeps_its_story() -> None:
    made = Response.fetched(404, "No", [(b"X-A", b"1")], b"no", "http://b/", True)
    assert (made.url, made.redirected, made.ok, made.headers["x-a"]) == ("http://b/", True, False, "1")
    assert await made.text() == "no"
    assert Response.from_wire(status=204, headers=[], body=b"").wire_body() == b""
