"""What is sent first, and what after a redirect?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.egress.hops import REDIRECTS, BadRequest, Carries, Hop, first_hop, next_hop
from runtime.egress.rules import NotAllowed
from runtime.protocol.messages import HeaderList

HERE = "https://a.example/dir/page?q=1"
BODY_HEADERS: HeaderList = [(b"content-type", b"a/b"), (b"content-language", b"en")]
SECRETS: HeaderList = [(b"authorization", b"Bearer x"), (b"cookie", b"a=1")]


def hop(method: str = "GET", carries: Carries = Carries.NOTHING, headers: HeaderList | None = None) -> Hop:
    return Hop(method, HERE, headers or [], carries)


def test_headers_that_frame_a_message_or_speak_to_proxies_are_dropped() -> None:
    ours = b"Host Content-Length Connection Keep-Alive Proxy-Authorization Transfer-Encoding TE Trailer Upgrade Expect"
    given: HeaderList = [*((name, b"x") for name in ours.split()), (b"X-Own", b" 1 "), (b"Accept-Encoding", b"br")]
    kept = first_hop("GET", HERE, given, Carries.NOTHING).headers
    assert kept == [(b"x-own", b"1"), (b"accept-encoding", b"br")]


@pytest.mark.parametrize("method", ["CONNECT", "trace", "TRACK", "G T", "", "GET\r\nX: y", "é"])
def test_a_method_that_could_do_something_else_is_refused(method: str) -> None:
    with pytest.raises(BadRequest):
        first_hop(method, HERE, [], Carries.NOTHING)


@pytest.mark.parametrize("pair", [(b"a b", b"x"), (b"", b"x"), (b"a", b"x\r\nHost: y"), (b"a", b"\x00"), (b"a:", b"x")])
def test_a_header_that_would_break_the_message_is_refused(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadRequest):
        first_hop("GET", HERE, [pair], Carries.NOTHING)


def test_headers_have_a_limit_that_is_named() -> None:
    with pytest.raises(BadRequest, match="REQUEST_HEADERS"):
        first_hop("GET", HERE, [(b"a", b"x" * limits.REQUEST_HEADERS)], Carries.NOTHING)


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        *((status, "GET", "GET") for status in sorted(REDIRECTS)),
        *((status, "HEAD", "HEAD") for status in sorted(REDIRECTS)),
        *(
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
        ),
        *(
            (301, "PUT", "PUT"),
            (302, "DELETE", "DELETE"),
            (303, "PUT", "GET"),
            (307, "PUT", "PUT"),
            (308, "PATCH", "PATCH"),
        ),
    ],
)
def test_the_method_changes_as_the_fetch_standard_says(status: int, method: str, becomes: str) -> None:
    carries = Carries.WHOLE if method not in ("GET", "HEAD") else Carries.NOTHING
    after = next_hop(hop(method, carries, BODY_HEADERS), status, b"/new")
    assert (after.method, after.url) == (becomes, "https://a.example/new")
    changed = becomes != method
    assert after.carries is (Carries.NOTHING if changed else carries)
    assert after.headers == ([] if changed else BODY_HEADERS)


@pytest.mark.parametrize("status", sorted(REDIRECTS))
def test_a_streamed_body_goes_out_once(status: int) -> None:
    if status == 303:
        assert next_hop(hop("PUT", Carries.STREAM), status, b"/").carries is Carries.NOTHING
        return
    with pytest.raises(BadRequest, match="streamed"):
        next_hop(hop("PUT", Carries.STREAM), status, b"/")


@pytest.mark.parametrize(
    "location", [b"https://b.example/", b"http://a.example/", b"https://a.example:8443/", b"//x.a.example/"]
)
def test_credentials_do_not_follow_to_another_origin(location: bytes) -> None:
    after = next_hop(hop(headers=[*SECRETS, (b"x-own", b"1")]), 302, location)
    assert after.headers == [(b"x-own", b"1")]


@pytest.mark.parametrize("location", [b"/other", b"?x", b"https://A.example:443/", b"//a.example/x", b"#part"])
def test_credentials_stay_within_their_origin(location: bytes) -> None:
    assert next_hop(hop(headers=SECRETS), 307, location).headers == SECRETS


@pytest.mark.parametrize(
    "location", [b"ftp://a.example/", b"data:,x", b"file:///etc/passwd", b"javascript:1", b"https://u:p@b.example/"]
)
def test_a_redirect_to_what_is_not_the_web_is_refused(location: bytes) -> None:
    with pytest.raises(NotAllowed):
        next_hop(hop(), 302, location)


@given(st.binary(max_size=60), st.sampled_from(sorted(REDIRECTS)))
def test_any_location_is_followed_or_refused(location: bytes, status: int) -> None:
    try:
        after: Any = next_hop(hop(headers=SECRETS), status, location)
    except (BadRequest, NotAllowed):
        return
    assert after.url.startswith(("http://", "https://"))
    assert after.headers == SECRETS or not after.url.startswith("https://a.example/")
