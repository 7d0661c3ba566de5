"""The router refuses every wrong route where it is written, and lists the right ones."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocol import declaration
from runtime.protocol.declaration import Kind, Shape
from runtime.sdk.cors import Cors
from runtime.sdk.router import METHODS, HttpRouter, RouteError


class Action:
    """What the guest makes of a function: only its kind matters here."""

    def __init__(self, kind: Kind = Kind.HTTP_ACTION) -> None:
        self.kind = kind


HANDLER = Action()


def told(router: HttpRouter) -> list[tuple[str, Shape]]:
    return [(entry.key, entry.shape) for entry in router.entries]


def test_routes_are_listed_as_they_were_written() -> None:
    http = HttpRouter()
    http.route(path="/a", method="GET", handler=HANDLER)
    http.route(path="/a/", method="GET", handler=HANDLER)
    http.route(path="/users/{user_id}/posts/{n}", method="POST", handler=HANDLER)
    http.route(path_prefix="/a/", method="GET", handler=HANDLER)
    http.route(path_prefix="/", method="DELETE", handler=HANDLER)
    http.mount("/app/", lambda scope, receive, send: None)
    assert told(http) == [
        ("GET /a", Shape.EXACT),
        ("GET /a/", Shape.EXACT),
        ("POST /users/{user_id}/posts/{n}", Shape.PARAMETERS),
        ("GET /a/*", Shape.PREFIX),
        ("DELETE /*", Shape.PREFIX),
        ("* /app/*", Shape.MOUNT),
    ]
    assert len({entry.key for entry in http.entries}) == 6


def test_a_route_knows_where_it_was_written() -> None:
    http = HttpRouter()
    http.route(path="/a", method="GET", handler=HANDLER)
    http.mount("/b/", print)
    line = test_a_route_knows_where_it_was_written.__code__.co_firstlineno
    assert [(entry.file, entry.line) for entry in http.entries] == [(__file__, line + 2), (__file__, line + 3)]


def test_the_decorator_gives_the_handler_back_and_stacks() -> None:
    http = HttpRouter()
    decorated = http.route(path="/a", method="GET")(http.route(path="/a", method="POST")(HANDLER))
    assert decorated is HANDLER
    assert sorted(entry.key for entry in http.entries) == ["GET /a", "POST /a"]
    assert all(entry.handler is HANDLER for entry in http.entries)


def test_a_decorator_that_was_forgotten_is_told_with_its_line() -> None:
    http = HttpRouter()
    http.route(path="/a", method="GET")
    with pytest.raises(RouteError, match="GET /a has no handler") as caught:
        _ = http.entries
    assert caught.value.file == __file__
    assert caught.value.line == test_a_decorator_that_was_forgotten_is_told_with_its_line.__code__.co_firstlineno + 2


def test_one_decorator_takes_one_function() -> None:
    http = HttpRouter()
    decorate = http.route(path="/a", method="GET")
    decorate(HANDLER)
    with pytest.raises(RouteError, match="already"):
        decorate(HANDLER)


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (None, "None"),
        (lambda ctx, request: None, "@http_action"),
        (Action(Kind.QUERY), "is a query"),
        (Action(Kind.MUTATION), "is a mutation"),
        ("name", "@http_action"),
    ],
)
def test_only_an_http_action_can_answer(handler: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        HttpRouter().route(path="/a", method="GET", handler=handler)
    if handler is not None:
        with pytest.raises(TypeError, match=text):
            HttpRouter().route(path="/a", method="GET")(handler)


@pytest.mark.parametrize("method", ["get", "HEAD", "CONNECT", "TRACE", "", "*", "GET ", "Post"])
def test_a_method_is_one_of_six_in_upper_case(method: str) -> None:
    with pytest.raises(ValueError):
        HttpRouter().route(path="/a", method=method, handler=HANDLER)


def test_a_method_is_needed_and_is_a_string() -> None:
    for more in ({}, {"method": None}, {"method": 5}):
        with pytest.raises(TypeError):
            HttpRouter().route(path="/a", handler=HANDLER, **more)


@pytest.mark.parametrize("where", [{}, {"path": "/a", "path_prefix": "/a/"}])
def test_a_route_has_a_path_or_a_prefix(where: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        HttpRouter().route(**where, method="GET", handler=HANDLER)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "begin with '/'"),
        ("a", "begin with '/'"),
        ("http://a/", "begin with '/'"),
        ("/.files", "reserved"),
        ("/.files/", "reserved"),
        ("/.files/x", "reserved"),
        ("/a?b", "query"),
        ("/a#b", "fragment"),
        ("/a b", "%20"),
        ("/a\n", "white space"),
        ("/a\u00a0b", "white space"),
        ("/\ud800", "control character"),
        ("/a\\b", "'/'"),
        ("/%", "%25"),
        ("/%4", "%25"),
        ("/%zz", "%25"),
        ("/a/../b", "resolve"),
        ("/./b", "resolve"),
        ("/a/%2E%2e", "resolve"),
        ("/{}", "parameter"),
        ("/{a", "parameter"),
        ("/a}", "parameter"),
        ("/x{a}", "parameter"),
        ("/{a}{b}", "parameter"),
        ("/{1a}", "parameter"),
        ("/{a b}", "white space"),
        ("/{a-b}", "parameter"),
        ("/{a:int}", "parameter"),
        ("/{*}", "parameter"),
        ("/{a}/{a}", "two parameters"),
    ],
)
def test_a_path_that_cannot_be_is_refused_with_a_reason(path: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        HttpRouter().route(path=path, method="GET", handler=HANDLER)


@pytest.mark.parametrize("prefix", ["", "a/", "/a", "/.files/", "/.files/x/", "/{a}/", "/a/../", "/a?/", "/ /"])
def test_a_prefix_that_cannot_be_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError):
        HttpRouter().route(path_prefix=prefix, method="GET", handler=HANDLER)
    with pytest.raises(ValueError):
        HttpRouter().mount(prefix, print)


def test_a_path_is_a_string_and_a_mount_an_application() -> None:
    for call in (
        lambda: HttpRouter().route(path=5, method="GET", handler=HANDLER),  # type: ignore[arg-type]  # wrong on purpose
        lambda: HttpRouter().route(path_prefix=b"/a/", method="GET", handler=HANDLER),  # type: ignore[arg-type]  # same
        lambda: HttpRouter().mount("/a/", "app"),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/ä", "/%C3%A4"),
        ("/%c3%a4", "/%c3%a4"),
        ('/"<>^`', "/%22%3C%3E%5E%60"),
        ("/a//b", "/a//b"),
        ("/*!$&'()+,;=:@~-._|[]", "/*!$&'()+,;=:@~-._|[]"),
        ("/.filesystem", "/.filesystem"),
        ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
        ("/x/.files", "/x/.files"),
        ("/...", "/..."),
        ("/ü/{class}", "/%C3%BC/{class}"),
    ],
)
def test_a_path_is_kept_as_clients_send_it(path: str, pattern: str) -> None:
    http = HttpRouter()
    http.route(path=path, method="GET", handler=HANDLER)
    assert [entry.pattern for entry in http.entries] == [pattern]


def add(kind: str, where: str, method: str = "GET") -> Callable[[HttpRouter], Any]:
    if kind == "mount":
        return lambda http: http.mount(where, print)
    if kind == "prefix":
        return lambda http: http.route(path_prefix=where, method=method, handler=HANDLER)
    return lambda http: http.route(path=where, method=method, handler=HANDLER)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (add("path", "/a"), add("path", "/a")),
        (add("path", "/ä"), add("path", "/%C3%A4")),
        (add("path", "/{a}/x"), add("path", "/{b}/x")),
        (add("prefix", "/a/"), add("prefix", "/a/")),
        (add("mount", "/a/"), add("mount", "/a/")),
        (add("mount", "/a/"), add("prefix", "/a/", "PUT")),
        (add("prefix", "/a/"), add("mount", "/a/")),
        (add("path", "/a/*"), add("prefix", "/a/")),
    ],
)
def test_the_same_route_twice_is_refused_and_the_first_one_named(first: Any, second: Any) -> None:
    http = HttpRouter()
    first(http)
    with pytest.raises(RouteError, match=f"is taken: .* line {first.__code__.co_firstlineno}"):
        second(http)
    assert len(http.entries) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (add("path", "/a"), add("path", "/a", "POST")),
        (add("path", "/a"), add("path", "/a/")),
        (add("path", "/a"), add("path", "/A")),
        (add("path", "/a/"), add("prefix", "/a/")),
        (add("path", "/{a}"), add("path", "/a")),
        (add("path", "/{a}/x"), add("path", "/{a}/y")),
        (add("prefix", "/a/"), add("prefix", "/a/b/")),
        (add("mount", "/a/"), add("path", "/a/b")),
    ],
)
def test_routes_that_differ_stand_side_by_side(first: Any, second: Any) -> None:
    http = HttpRouter()
    first(http)
    second(http)
    assert len(http.entries) == 2


SEGMENT = st.sampled_from(["a", "b", "", "{x}", "{y}", "ä", "%C3%A4"])
ROUTE = st.tuples(st.sampled_from(METHODS[:3]), st.lists(SEGMENT, min_size=1, max_size=3), st.booleans())


@given(st.lists(ROUTE, max_size=12))
def test_the_table_holds_exactly_the_routes_that_were_not_refused(routes: list[tuple[str, list[str], bool]]) -> None:
    http, model = HttpRouter(), set[tuple[str, bool, str]]()
    for method, segments, prefix in routes:
        text = "/" + "/".join(segments) + ("/" if prefix else "")
        names = [segment for segment in segments if segment.startswith("{")]
        same = text.replace("ä", "%C3%A4").replace("{y}", "{x}")
        wrong = len(set(names)) < len(names) or (prefix and bool(names)) or (method, prefix, same) in model
        try:
            where: dict[str, Any] = {"path_prefix" if prefix else "path": text}
            http.route(**where, method=method, handler=HANDLER)
        except ValueError:
            assert wrong
        else:
            assert not wrong
            model.add((method, prefix, same))
    found = {(e.method, e.shape is Shape.PREFIX, e.pattern.replace("{y}", "{x}")) for e in http.entries}
    assert found == model
    assert len({entry.key for entry in http.entries}) == len(http.entries)
    assert all(entry.pattern.isascii() for entry in http.entries)


# --- cors -------------------------------------------------------------------------------------------------------------


def test_cors_is_declared_for_a_router_and_for_a_route() -> None:
    http = HttpRouter(cors=Cors(allow_origins="*"))
    own = Cors(
        allow_origins=["https://a.example", "http://localhost:3000", "capacitor://localhost"],
        allow_methods=["GET", "PUT"],
        allow_headers=["Content-Type", "x-a"],
        expose_headers=["x-b"],
        allow_credentials=True,
        max_age=60,
    )
    http.route(path="/a", method="GET", handler=HANDLER, cors=own)
    http.route(path="/b", method="GET", handler=HANDLER)
    assert http.cors == declaration.Cors(allow_origins=("*",))
    assert [entry.cors for entry in http.entries] == [
        declaration.Cors(
            allow_origins=("https://a.example", "http://localhost:3000", "capacitor://localhost"),
            allow_methods=("GET", "PUT"),
            allow_headers=("Content-Type", "x-a"),
            expose_headers=("x-b",),
            allow_credentials=True,
            max_age=60,
        ),
        None,
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"allow_origins": []},
        {"allow_origins": ["*"], "allow_credentials": True},
        {"allow_origins": ["https://a.example/"]},
        {"allow_origins": ["https://a.example/x"]},
        {"allow_origins": ["https://A.example"]},
        {"allow_origins": ["https://a.example:443"]},
        {"allow_origins": ["https://u@a.example"]},
        {"allow_origins": ["a.example"]},
        {"allow_origins": ["null"]},
        {"allow_origins": [""]},
        {"allow_origins": ["https://a.example\n"]},
        {"allow_origins": "*", "allow_methods": ["get"]},
        {"allow_origins": "*", "allow_headers": ["a b"]},
        {"allow_origins": "*", "expose_headers": ["a\nb"]},
        {"allow_origins": "https://a.example", "expose_headers": "*", "allow_credentials": True},
        {"allow_origins": "*", "max_age": -1},
    ],
)
def test_rules_that_no_browser_would_follow_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Cors(**rules)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"allow_origins": None},
        {"allow_origins": [5]},
        {"allow_origins": "*", "max_age": 1.5},
        {"allow_origins": "*", "max_age": True},
        {"allow_origins": "*", "allow_credentials": 1},
    ],
)
def test_rules_of_the_wrong_type_are_a_type_error(rules: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Cors(**rules)


def test_a_router_takes_only_cors() -> None:
    for wrong in ("*", {"allow_origins": ["*"]}, True):
        with pytest.raises(TypeError, match="Cors"):
            HttpRouter(cors=wrong)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="Cors"):
            HttpRouter().route(path="/a", method="GET", handler=HANDLER, cors=wrong)  # type: ignore[arg-type]  # same
