"""What is answered?

`Response` of the Fetch standard (§5.5), and its shape on the wire. Knows no request and no connection.

Rules
1. Status 200 to 599, else `ValueError`; a body with 204, 205 or 304 is a `TypeError`.
2. The usual answers (text, JSON, bytes without headers of their own) share a list of headers that was made once.
3. `Response.json` builds when it is asked of the class and reads when it is asked of an instance, as in JavaScript.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, overload

from runtime.protocol.messages import HeaderList
from runtime.sdk.fetch.bodies import (
    TEXT_TYPE,
    Body,
    BodyInit,
    BodyStream,
    Source,
    decode_json,
    encode_json,
    extract,
    text_bytes,
)
from runtime.sdk.fetch.headers import Headers, HeadersInit
from runtime.sdk.fetch.url import URL

_JSON_TYPE = b"application/json"
_NULL_BODY = frozenset({204, 205, 304})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REASON = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")

# Shared by every answer of their kind and never changed: `headers` copies them before a tenant can reach them.
_NO_HEADERS: HeaderList = []
_TEXT_HEADERS: HeaderList = [(b"content-type", TEXT_TYPE)]
_JSON_HEADERS: HeaderList = [(b"content-type", _JSON_TYPE)]

_DEFAULT = ("default", "", False)  # type, url, redirected
_new = object.__new__


class JsonBuilder(Protocol):
    """`Response.json` of the class."""

    def __call__(
        self, data: Any, *, status: int = 200, status_text: str = "", headers: HeadersInit | None = None
    ) -> "Response": ...


class _Json:
    """One name with two meanings: a builder on the class, a reader on an instance."""

    @overload
    def __get__(self, instance: None, owner: "type[Response]") -> JsonBuilder: ...
    @overload
    def __get__(self, instance: "Response", owner: "type[Response]") -> Callable[[], Awaitable[Any]]: ...
    def __get__(self, instance: "Response | None", owner: "type[Response]") -> Any:
        return owner._build_json if instance is None else instance._parse_json


class Response(Body):
    """An answer: ``Response("text", status=200, headers={...})``, `Response.json`, `Response.redirect`."""

    __slots__ = ("_headers", "_history", "_status", "_status_text", "_wire")

    _headers: Headers | None
    _wire: HeaderList
    _history: tuple[str, str, bool]

    json = _Json()

    def __init__(
        self,
        body: BodyInit = None,
        *,
        status: int = 200,
        status_text: str = "",
        headers: HeadersInit | None = None,
    ) -> None:
        if type(body) is str:
            self._source, kind, self._wire = text_bytes(body), TEXT_TYPE, _TEXT_HEADERS
        elif type(body) is bytes:
            self._source, kind, self._wire = body, None, _NO_HEADERS
        else:
            self._source, kind = extract(body)
            self._wire = _NO_HEADERS if kind is None else [(b"content-type", kind)]
        self._finish(status, status_text, headers, kind)

    def _finish(self, status: int, status_text: str, headers: HeadersInit | None, kind: bytes | None) -> None:
        if status != 200 or type(status) is not int:
            status = _checked_status(status)
            if status in _NULL_BODY and self._source is not None:
                raise TypeError(f"an answer with status {status} has no body: write Response(None, status={status})")
        if status_text and not _REASON.match(status_text):
            raise TypeError(f"{status_text[:80]!r} is not a status text: no control characters, none past U+00FF")
        self._status = status
        self._status_text = status_text
        self._used = False
        self._history = _DEFAULT
        self._headers = None
        if headers is not None:
            self._headers = made = Headers(headers)
            if kind is not None and not made.has("content-type"):
                made.wire.append((b"content-type", kind))

    @classmethod
    def _build_json(
        cls, data: Any, *, status: int = 200, status_text: str = "", headers: HeadersInit | None = None
    ) -> "Response":
        """Answer with JSON: ``Response.json({"ok": True}, status=201)``."""
        self = _new(cls)
        self._source = encode_json(data)
        self._wire = _JSON_HEADERS
        self._finish(status, status_text, headers, _JSON_TYPE)
        return self

    async def _parse_json(self) -> Any:
        """The whole body parsed as JSON; `ValueError` when it is none."""
        return decode_json(await self.bytes())

    @classmethod
    def from_wire(
        cls,
        *,
        status: int,
        headers: HeaderList,
        body: Source | AsyncIterator[bytes],
    ) -> "Response":
        """An answer that somebody else made: an ASGI application."""
        self = _new(cls)
        self._source = None if status in _NULL_BODY else extract(body)[0]
        self._wire = _NO_HEADERS
        self._finish(status, "", None, None)
        self._headers = Headers.from_wire(headers)
        return self

    @classmethod
    def fetched(
        cls,
        status: int,
        status_text: str,
        headers: HeaderList,
        body: Source | AsyncIterator[bytes],
        url: str,
        redirected: bool,
    ) -> "Response":
        """An answer that came from a server: any status it liked, and headers that stay as they were."""
        self = _new(cls)
        self._source = None if status in _NULL_BODY else extract(body)[0]
        self._wire = _NO_HEADERS
        self._finish(200, "", None, None)
        self._status, self._status_text = status, status_text
        self._headers = Headers.from_wire(headers, frozen=True)
        self._history = ("basic", url, redirected)
        return self

    @classmethod
    def redirect(cls, url: str | URL, status: int = 302) -> "Response":
        """Send the client elsewhere: to an absolute URL, or to a path of this site that begins with ``/``."""
        location = _location(url)
        if status not in _REDIRECTS:
            raise ValueError(f"{status!r} is no redirect: use 301, 302, 303, 307 or 308")
        self = cls(None, status=status)
        self._headers = Headers.from_wire([(b"location", location.encode())], frozen=True)
        return self

    @classmethod
    def error(cls) -> "Response":
        """A network error, as ``fetch`` knows it. It cannot be answered with."""
        self = cls()
        self._status = 0
        self._history = ("error", "", False)
        self._headers = Headers.from_wire([], frozen=True)
        return self

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def status_text(self) -> str:
        """The reason phrase; HTTP/2 and Warren do not send it."""
        return self._status_text

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self._status <= 299

    @property
    def headers(self) -> Headers:
        """The headers."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers.from_wire(self._wire)
        return headers

    @property
    def type(self) -> str:
        """``"default"``, ``"basic"`` for a fetched one, or ``"error"``."""
        return self._history[0]

    @property
    def url(self) -> str:
        """Where a fetched answer came from; ``""`` for one made here."""
        return self._history[1]

    @property
    def redirected(self) -> bool:
        """Whether a fetched answer came after a redirect."""
        return self._history[2]

    def clone(self) -> "Response":
        """The same answer with a body of its own; `TypeError` when the body was read already."""
        twin = _new(self.__class__)
        twin._source = self._tee()
        twin._used = False
        twin._status, twin._status_text, twin._history = self._status, self._status_text, self._history
        twin._wire = self._wire
        twin._headers = self._headers and self._headers.copy()
        return twin

    def wire_head(self) -> tuple[int, HeaderList]:
        """Status and headers as the guest sends them. Not a copy: for reading only."""
        status, headers = self._status, self._headers
        if not status:
            raise TypeError("Response.error() cannot be answered with: return a Response with status=502, say")
        if not 200 <= status <= 599:
            raise TypeError(f"a fetched answer with status {status} cannot be answered with: make a Response of it")
        return status, self._wire if headers is None else headers.wire

    def wire_body(self) -> bytes | BodyStream:
        """The body as the guest sends it, once; it counts as read from here on."""
        source = self._source
        if type(source) is bytes and not self._used:
            self._used = True
            return source
        if source is None:
            return b""
        self._refuse_second_reader()
        self._used = True
        return source

    def __repr__(self) -> str:
        return f"<Response {self._status}>"


def _checked_status(status: object) -> int:
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"a status is a whole number, not {status.__class__.__name__}")
    if not 200 <= status <= 599:
        raise ValueError(f"{int(status)} is not a status that can be answered with: use 200 to 599")
    return int(status)


_BASE = "http://base.invalid"


def _location(url: str | URL) -> str:
    text = str(url) if isinstance(url, URL) else url
    absolute = URL.parse(text)
    if absolute is not None:
        return absolute.href
    parsed = URL.parse(text, _BASE) if isinstance(text, str) and text.lstrip("\t\n\r ").startswith("/") else None
    if parsed is None or parsed.origin != _BASE:
        raise TypeError(
            f"{str(url)[:200]!r} is no place to redirect to: give an absolute URL, or a path that begins with one slash"
        )
    location = parsed.href.removeprefix(_BASE)
    # "/.//elsewhere.example" is a path here, but "//elsewhere.example" would be another site to a browser.
    return f"/.{location}" if location.startswith("//") else location
