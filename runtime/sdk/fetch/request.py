"""What was asked?

`Request` of the Fetch standard (§5.4), as a handler receives it and as a tenant makes one for ``fetch``. Knows no
connection and no route.

Rules
1. An incoming request costs next to nothing: headers stay bytes until somebody asks, the body stays what it was.
2. A request that a tenant makes is checked as the standard says: method, address, headers, no body with GET or HEAD.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, Union

from runtime.protocol.messages import HeaderList
from runtime.sdk.fetch.bodies import Body, BodyInit, BodyStream, decode_json, extract
from runtime.sdk.fetch.headers import Headers, HeadersInit
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.fetch.url import URL
from runtime.sdk.fetch.webidl import usv_string

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UPPER = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_FORBIDDEN = frozenset({"CONNECT", "TRACE", "TRACK"})


class Request(Body):
    """A request: ``.method .url .headers .body .path_params .signal``, and once-only readers: ``await .json()``."""

    __slots__ = ("_headers", "_method", "_path_params", "_signal", "_url", "_wire")

    _method: str
    _url: str
    _headers: Headers | None
    _wire: HeaderList
    _signal: AbortSignal | None
    _path_params: dict[str, str]

    def __init__(
        self,
        url: Union[str, URL, "Request"],
        *,
        method: str | None = None,
        headers: HeadersInit | None = None,
        body: BodyInit = None,
    ) -> None:
        original = url if isinstance(url, Request) else None
        self._url = original._url if original else _address(url)
        given = method if method is not None else original._method if original else "GET"
        self._method = _method(given)
        self._headers = Headers(headers if headers is not None or original is None else original.headers)
        self._wire = []
        self._path_params = {}
        self._signal = original._signal if original else None
        self._used = False
        self._source, kind = extract(body)
        if body is None and original is not None:
            self._source = original._hand_over()
        if self._source is not None and self._method in ("GET", "HEAD"):
            raise TypeError(f"a {self._method} request has no body")
        if kind is not None and not self._headers.has("content-type"):
            self._headers.append("content-type", kind.decode("latin-1"))

    @classmethod
    def incoming(
        cls,
        *,
        method: str,
        url: str,
        headers: HeaderList,
        path_params: dict[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        signal: AbortSignal,
    ) -> "Request":
        """What the guest makes of a request that came through the hatch. Nothing is checked: the host did."""
        self = _new(cls)
        self._method = method
        self._url = url
        self._wire = headers
        self._headers = None
        self._path_params = path_params
        self._signal = signal
        self._source = body if body is None or type(body) is bytes else BodyStream(body)  # type: ignore[arg-type]  # not bytes
        self._used = False
        return self

    @property
    def method(self) -> str:
        """The method, in upper case."""
        return self._method

    @property
    def url(self) -> str:
        """The whole address, query included."""
        return self._url

    @property
    def headers(self) -> Headers:
        """The headers."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers.from_wire(self._wire)
        return headers

    @property
    def path_params(self) -> dict[str, str]:
        """What the route's ``{name}`` segments matched, percent-decoded."""
        return self._path_params

    @property
    def signal(self) -> AbortSignal:
        """Fires when the client has gone."""
        if self._signal is None:
            self._signal = AbortSignal()
        return self._signal

    async def json(self) -> Any:
        """The whole body parsed as JSON; `ValueError` when it is none."""
        return decode_json(await self.bytes())

    def clone(self) -> "Request":
        """The same request with a body of its own; `TypeError` when the body was read already."""
        twin = _new(type(self))
        twin._source = self._tee()
        twin._used = False
        twin._method = self._method
        twin._url = self._url
        twin._wire = self._wire
        twin._headers = None if self._headers is None else Headers(self._headers)
        twin._path_params = dict(self._path_params)
        twin._signal = self.signal
        return twin

    def __repr__(self) -> str:
        return f"<Request {self._method} {self._url}>"

    def wire_body(self) -> "bytes | BodyStream | None":
        """The body as it is sent, once; ``None`` where there is none."""
        return self._hand_over()

    def _hand_over(self) -> "bytes | BodyStream | None":
        if self._source is None:
            return None
        self._refuse_second_reader()
        source, self._used = self._source, True
        if type(source) is BodyStream:
            self._source = b""
        return source


_new = object.__new__


def _address(url: object) -> str:
    parsed = URL(url)  # type: ignore[arg-type]  # what is no address is refused there
    if parsed.username or parsed.password:
        raise TypeError("a request's URL carries no user name and no password: send an Authorization header")
    return parsed.href


def _method(method: object) -> str:
    text = usv_string(method)
    upper = text.upper()
    if not _TOKEN.match(text):
        raise TypeError(f"{text[:40]!r} is not a method")
    if upper in _FORBIDDEN:
        raise TypeError(f"the method {upper} is forbidden")
    return upper if upper in _UPPER else text
