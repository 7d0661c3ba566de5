"""Does a declaration become the headers that a browser needs, and no others?"""

import pytest

from runtime.edge.cors import add, answer_headers, open_headers, preflight_headers
from runtime.protocol.declaration import Cors

ORIGIN = b"https://app.example.com"


def answered(cors: Cors, origin: bytes | None = ORIGIN) -> dict[bytes, bytes]:
    return dict(answer_headers(cors, [(b"origin", origin)] if origin else []))


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://APP.example.com/", True),
        ("*.example.com", True),
        ("https://*.example.com", True),
        ("http://*.example.com", False),
        ("https://example.com", False),
        ("https://app.example.com:8443", False),
        ("https://app.example.com.evil.com", False),
        ("null", False),
    ],
)
def test_an_origin_is_allowed_if_it_is_listed(listed: str, allowed: bool) -> None:
    headers = answered(Cors(allow_origins=(listed,)))
    assert headers.get(b"access-control-allow-origin") == (ORIGIN if allowed else None)
    assert headers[b"vary"] == b"Origin"


def test_a_host_that_only_ends_alike_is_not_allowed() -> None:
    assert b"access-control-allow-origin" not in answered(Cors(("*.example.com",)), b"https://evilexample.com")


def test_any_origin_is_a_star_unless_credentials_are_allowed() -> None:
    assert answered(Cors(("*",)))[b"access-control-allow-origin"] == b"*"
    assert answered(Cors(("*",)), None)[b"access-control-allow-origin"] == b"*"
    assert answered(Cors(("*",), allow_credentials=True))[b"access-control-allow-origin"] == ORIGIN


def test_a_preflight_without_declared_words_allows_what_is_there_and_what_is_asked() -> None:
    asked = [
        (b"origin", ORIGIN),
        (b"access-control-request-method", b"PUT"),
        (b"access-control-request-headers", b"x-a, x-b"),
    ]
    headers = dict(preflight_headers(Cors(("*",)), asked, ("GET", "PUT")))
    assert headers[b"access-control-allow-methods"] == b"GET, PUT"
    assert headers[b"access-control-allow-headers"] == b"x-a, x-b"
    strict = Cors((ORIGIN.decode(),), ("POST",), ("content-type",), (), True, 5)
    headers = dict(preflight_headers(strict, asked, ("GET",)))
    assert headers[b"access-control-allow-methods"] == b"POST"
    assert headers[b"access-control-allow-headers"] == b"content-type"
    assert headers[b"access-control-max-age"] == b"5"
    assert dict(preflight_headers(Cors(("*",), ("*",), ("*",)), asked, ()))[b"access-control-allow-methods"] == b"*"
    with_credentials = Cors(("*",), ("*",), ("*",), (), True)
    assert dict(preflight_headers(with_credentials, asked, ()))[b"access-control-allow-methods"] == b"PUT"


def test_a_tenants_own_permission_is_replaced_and_its_vary_kept() -> None:
    own = [(b"Access-Control-Allow-Origin", b"*"), (b"vary", b"Accept"), (b"x", b"1")]
    assert add(own, answer_headers(Cors((ORIGIN.decode(),)), [(b"origin", ORIGIN)])) == [
        (b"vary", b"Accept"),
        (b"x", b"1"),
        (b"access-control-allow-origin", ORIGIN),
        (b"vary", b"Origin"),
    ]


def test_the_function_api_is_open_to_every_page() -> None:
    headers = dict(open_headers("POST", [(b"origin", ORIGIN)]))
    assert headers[b"access-control-allow-origin"] == ORIGIN
    assert open_headers("POST", []) == [(b"vary", b"Origin")]
