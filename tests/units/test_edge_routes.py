"""Does the table find the route that the contract's order of precedence names?"""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.edge.routes import METHODS, RouteTable, RouteTables, encode_path
from runtime.invocation import Version
from runtime.names import VersionNumber
from runtime.protocol.declaration import Declaration, RouteDeclaration, Shape

SEGMENT = st.text(string.ascii_lowercase[:3], min_size=0, max_size=2)
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))
PREFIX = PATH.map(lambda path: path if path.endswith("/") else path + "/")
METHOD = st.sampled_from(["GET", "POST"])


def route(method: str, pattern: str, shape: Shape) -> RouteDeclaration:
    return RouteDeclaration(f"{method} {pattern}", method, pattern, shape, "http:handler", "http.py", 1)


@st.composite
def parameterised(draw: st.DrawFn) -> str:
    segments = draw(st.lists(st.one_of(SEGMENT, st.just("{}")), min_size=1, max_size=4))
    at = draw(st.integers(0, len(segments) - 1))
    segments[at] = "{}"
    return "/" + "/".join(f"{{p{n}}}" if segment == "{}" else segment for n, segment in enumerate(segments))


ROUTES = st.lists(
    st.one_of(
        st.builds(route, METHOD, PATH, st.just(Shape.EXACT)),
        st.builds(route, METHOD, parameterised(), st.just(Shape.PARAMETERS)),
        st.builds(route, METHOD, PREFIX, st.just(Shape.PREFIX)),
        st.builds(route, st.just("*"), PREFIX, st.just(Shape.MOUNT)),
    ),
    max_size=12,
)


def fits(pattern: str, path: str) -> bool:
    wanted, found = pattern.split("/"), path.split("/")
    return len(wanted) == len(found) and all(
        text != "" if want.startswith("{") else want == text for want, text in zip(wanted, found, strict=True)
    )


def expected(routes: list[RouteDeclaration], method: str, path: str) -> str | None:
    """The order of precedence, spelt out the slow way."""
    mine = [route for route in routes if route.method == method]
    for one in mine:
        if one.shape is Shape.EXACT and one.pattern == path:
            return one.key
    fitting = [one for one in mine if one.shape is Shape.PARAMETERS and fits(one.pattern, path)]
    if fitting:
        return min(fitting, key=lambda one: [part.startswith("{") for part in one.pattern.split("/")]).key
    prefixes = [one for one in mine if one.shape is Shape.PREFIX and path.startswith(one.pattern)]
    mounts = [one for one in routes if one.shape is Shape.MOUNT and path.startswith(one.pattern)]
    both = sorted(prefixes + mounts, key=lambda one: (len(one.pattern), one.shape is Shape.MOUNT))
    return both[-1].key if both else None


def as_written(key: str | None) -> str | None:
    """Names of parameters aside: of two routes that match the same paths either may answer."""
    return None if key is None else "".join("{}" if part.startswith("{") else part + "/" for part in key.split("/"))


@given(ROUTES, METHOD, PATH)
def test_the_most_precise_route_answers(routes: list[RouteDeclaration], method: str, path: str) -> None:
    found = RouteTable(routes).find(method, path)
    assert as_written(found.route.key if found else None) == as_written(expected(routes, method, path))


@given(ROUTES, PATH)
def test_head_is_answered_by_the_routes_of_get(routes: list[RouteDeclaration], path: str) -> None:
    table = RouteTable(routes)
    assert table.find("HEAD", path) == table.find("GET", path)


@given(ROUTES, PATH)
def test_the_allowed_methods_are_those_that_find_a_route(routes: list[RouteDeclaration], path: str) -> None:
    table = RouteTable(routes)
    assert table.allowed(path) == tuple(method for method in METHODS if table.find(method, path))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_parameters_come_back_as_they_were_sent(values: list[str]) -> None:
    pattern = "".join(f"/x/{{p{number}}}" for number in range(len(values)))
    path = "".join("/x/" + quote(value, safe="") for value in values)
    found = RouteTable([route("GET", pattern, Shape.PARAMETERS)]).find("GET", path)
    assert found is not None
    assert list(found.parameters.values()) == values


def test_a_parameter_is_one_segment_and_never_empty() -> None:
    table = RouteTable([route("GET", "/users/{id}", Shape.PARAMETERS)])
    assert table.find("GET", "/users/") is None
    assert table.find("GET", "/users") is None
    assert table.find("GET", "/users/a/b") is None
    assert table.find("GET", "/users/a/") is None


def test_invalid_utf_8_in_a_parameter_is_replaced() -> None:
    found = RouteTable([route("GET", "/{id}", Shape.PARAMETERS)]).find("GET", "/a%FFb%")
    assert found is not None
    assert found.parameters == {"id": "a\ufffdb%"}


def test_a_prefix_route_does_not_match_without_its_slash() -> None:
    table = RouteTable([route("GET", "/files/", Shape.PREFIX)])
    assert table.find("GET", "/files") is None
    assert table.find("GET", "/files/") is not None


def test_matching_minds_case_and_slashes() -> None:
    table = RouteTable([route("GET", "/a", Shape.EXACT)])
    assert [table.find("GET", path) for path in ("/A", "/a/", "//a", "/%61")] == [None] * 4


def test_text_before_a_dead_end_does_not_hide_a_parameter() -> None:
    table = RouteTable([route("GET", path, Shape.PARAMETERS) for path in ("/a/{x}/c", "/{y}/b/d")])
    found = table.find("GET", "/a/b/d")
    assert found is not None
    assert found.parameters == {"y": "a"}


@pytest.mark.parametrize(("pattern", "path"), [("/café", "/caf%C3%A9"), ("/a b", "/a%20b"), ("/a%20b", "/a%20b")])
def test_a_pattern_is_compared_as_a_browser_would_send_it(pattern: str, path: str) -> None:
    assert encode_path(pattern) == path
    assert RouteTable([route("GET", pattern, Shape.EXACT)]).find("GET", path) is not None


def test_an_unknown_method_finds_nothing_not_even_a_mount() -> None:
    table = RouteTable([route("*", "/app/", Shape.MOUNT)])
    assert table.find("PROPFIND", "/app/x") is None
    assert table.allowed("/app/x") == METHODS


def test_a_hostile_table_is_searched_in_bounded_time() -> None:
    depth = 1_000
    patterns = ["/{a}" * depth + "/x", "/a" * 500 + "/{b}" * 501]
    table = RouteTable([route("GET", pattern, Shape.PARAMETERS) for pattern in patterns])
    assert table.find("GET", "/a" * (depth + 1)) is not None
    assert table.find("GET", "/b" * (depth + 1)) is None


def test_a_version_has_one_table_which_goes_with_it() -> None:
    tables = RouteTables()
    version = Version(VersionNumber(1), "", {}, Declaration(routes=(route("GET", "/", Shape.EXACT),)))
    assert tables.of(version) is tables.of(version)
    other = Version(VersionNumber(1), "", {}, Declaration())
    assert tables.of(other).find("GET", "/") is None
