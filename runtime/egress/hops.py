"""What is sent out for a tenant, first and after each redirect?

A fetch is a chain of requests (Fetch standard, "HTTP-redirect fetch"). Pure: knows what a request is and which one
follows it; who may be asked is the policy's and the rules' business, and they are asked again for each.

Rules
1. Headers that frame a message or name the host are ours. A tenant's are dropped without a word, as the Fetch standard
   drops what it forbids; so are those that speak to proxies.
2. `Authorization` and `Cookie` do not follow to another origin (scheme, host or port).
3. A body that was streamed, or was too large to be kept, cannot be sent a second time.
"""

import re
from enum import Enum, StrEnum, auto
from typing import NamedTuple

import ada_url

from runtime import limits
from runtime.egress.rules import destination
from runtime.protocol.messages import HeaderList

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(rb"[^\x00\r\n]*\Z")
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
_OURS = frozenset(
    b"host content-length connection keep-alive proxy-connection transfer-encoding te trailer upgrade expect".split()
)
_ABOUT_THE_BODY = frozenset(b"content-encoding content-language content-location content-type".split())
_CREDENTIALS = frozenset({b"authorization", b"cookie"})


class BadRequest(ValueError):
    """This is nothing that could be sent; the message says why, in words that a tenant may read."""


class Redirect(StrEnum):
    """What becomes of a redirect."""

    FOLLOW = "follow"
    ERROR = "error"
    MANUAL = "manual"


class Carries(Enum):
    """What body a request has."""

    NOTHING = auto()
    WHOLE = auto()  # kept, and can be sent again
    STREAM = auto()


class Hop(NamedTuple):
    """One request of the chain. Header names are in lower case."""

    method: str
    url: str
    headers: HeaderList
    carries: Carries


def first_hop(method: str, url: str, headers: HeaderList, carries: Carries) -> Hop:
    """What a tenant asks for, looked over; raise `BadRequest`."""
    if not _TOKEN.match(method) or method.upper() in _FORBIDDEN_METHODS:
        raise BadRequest(f"{method[:40]!r} is no method that can be sent")
    if carries is not Carries.NOTHING and method in ("GET", "HEAD"):
        raise BadRequest(f"a {method} request has no body")
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.REQUEST_HEADERS:
        raise BadRequest(f"headers of {size} bytes, limit REQUEST_HEADERS is {int(limits.REQUEST_HEADERS)}")
    kept: HeaderList = []
    for name, value in headers:
        if not _NAME.match(name) or not _VALUE.match(value):
            raise BadRequest(f"{name[:80]!r} is no header, or what it holds is no value of one")
        lower = name.lower()
        if lower not in _OURS and not lower.startswith(b"proxy-"):
            kept.append((lower, value.strip(b" \t")))
    return Hop(method, url, kept, carries)


def next_hop(hop: Hop, status: int, location: bytes) -> Hop:
    """The request that follows a redirect; raise `BadRequest` or `NotAllowed` where none can."""
    try:
        url = ada_url.URL(_text(location), hop.url).href
    except ValueError:
        raise BadRequest(f"the redirect leads to {_text(location)[:200]!r}, which is no URL") from None
    there, here = destination(url, limits.FETCH_URL), destination(hop.url, limits.FETCH_URL)
    method, headers, carries = hop.method, hop.headers, hop.carries
    if (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD")):
        method, carries = "GET", Carries.NOTHING
        headers = _without(headers, _ABOUT_THE_BODY)
    elif carries is Carries.STREAM:
        raise BadRequest(
            f"the redirect ({status}) asks for the body again, and it was streamed or longer than "
            f"{int(limits.BODY_WINDOW)} bytes: fetch {there.shown[:200]} yourself"
        )
    if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
        headers = _without(headers, _CREDENTIALS)
    return Hop(method, url, headers, carries)


def _without(headers: HeaderList, names: frozenset[bytes]) -> HeaderList:
    return [pair for pair in headers if pair[0] not in names]


def _text(location: bytes) -> str:
    try:
        return location.decode()
    except UnicodeDecodeError:
        return location.decode("latin-1")
