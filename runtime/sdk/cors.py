"""Which other sites' scripts may call this?

The rules a tenant writes once for a router or a route; the host answers pre-flights by them and adds the headers. Knows
no route and no request.

Rules
1. An origin is written as a browser sends it: scheme, host and port, nothing behind. A wrong one is refused here, not
   by a browser a week later.
2. ``"*"`` and credentials exclude each other (Fetch standard §3.3.5).
"""

import re
from collections.abc import Iterable

from runtime.protocol import declaration
from runtime.sdk.fetch.headers import header_name
from runtime.sdk.fetch.url import URL

_OTHER_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s\\]+\Z")
_METHOD = re.compile(r"[A-Z]+\Z")


class Cors:
    """``Cors(allow_origins=["https://example.org"])``; ``allow_methods`` defaults to those that have a route."""

    __slots__ = ("_declaration",)

    def __init__(
        self,
        *,
        allow_origins: str | Iterable[str],
        allow_methods: str | Iterable[str] = (),
        allow_headers: str | Iterable[str] = (),
        expose_headers: str | Iterable[str] = (),
        allow_credentials: bool = False,
        max_age: int | None = None,
    ) -> None:
        origins = tuple(_origin(origin) for origin in _texts(allow_origins, "allow_origins"))
        if not origins:
            raise ValueError("allow_origins is empty: name an origin, or '*' for every site")
        exposed = tuple(_header(name) for name in _texts(expose_headers, "expose_headers"))
        if not isinstance(allow_credentials, bool):
            raise TypeError(f"allow_credentials is True or False, not {type(allow_credentials).__name__}")
        if allow_credentials and "*" in origins:
            raise ValueError("allow_credentials needs named origins: browsers refuse '*' together with credentials")
        if allow_credentials and "*" in exposed:
            raise ValueError("allow_credentials needs named expose_headers: with credentials '*' exposes none")
        self._declaration = declaration.Cors(
            allow_origins=origins,
            allow_methods=tuple(_method(method) for method in _texts(allow_methods, "allow_methods")),
            allow_headers=tuple(_header(name) for name in _texts(allow_headers, "allow_headers")),
            expose_headers=exposed,
            allow_credentials=allow_credentials,
            max_age=_seconds(max_age),
        )

    @property
    def declaration(self) -> declaration.Cors:
        """The same, as the bundle declares it."""
        return self._declaration

    def __repr__(self) -> str:
        return repr(self._declaration)


def _texts(given: object, what: str) -> list[str]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable):
        raise TypeError(f"{what} is a list of strings, not {type(given).__name__}")
    texts = list(given)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{what} is a list of strings, and {repr(text)[:80]} is none")
    return list(dict.fromkeys(texts))


def _origin(text: str) -> str:
    if text == "*":
        return text
    url = URL.parse(text)
    if url is not None and url.origin == text and text != "null":
        return text
    if url is not None and url.origin == "null" and _OTHER_ORIGIN.match(text):
        return text  # an application's own scheme, capacitor://localhost: the standard gives it no origin, clients do
    hint = f"; write {url.origin!r}" if url is not None and url.origin != "null" else ""
    raise ValueError(f"{text[:200]!r} in allow_origins is no origin such as 'https://example.org:8443'{hint}")


def _method(text: str) -> str:
    if text == "*" or _METHOD.match(text):
        return text
    raise ValueError(f"{text[:40]!r} in allow_methods is no method: methods are upper case")


def _header(text: str) -> str:
    try:
        header_name(text)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return text


def _seconds(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"max_age is a whole number of seconds, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"max_age is {value}: use 0 or more seconds")
    return int(value)
