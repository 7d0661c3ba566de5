"""Which function answers which method and path?

The router that a tenant fills in ``http.py``. It checks and it lists; the matching itself is done by the host, from the
list. Knows no request.

Rules
1. Every mistake is raised by the call that makes it, so that it fails the push and never a request.
2. A path is kept as it appears on the wire, percent-encoded; ``{name}`` is a whole segment.
3. Two patterns that match the same paths are the same route, whatever their parameters are called.
4. ``/.files`` and what is below it belong to the platform.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import quote

from runtime.protocol import declaration
from runtime.protocol.declaration import Kind, Shape
from runtime.sdk.cors import Cors

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY_METHOD = "*"
_RESERVED = "/.files"

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS = re.compile(r"(?:\.|%2e){1,2}\Z", re.IGNORECASE)
_REFUSED = {"?": "read request.url for the query", "#": "a fragment is never sent", "\\": "use '/'"}
# Written as they are in a path; what is not listed here and not a letter or digit is percent-encoded, as clients do.
_PLAIN = "!$&'()*+,-./:;=@_~%|[]"

Handler = TypeVar("Handler", bound=Callable[..., Any])


class RouteError(ValueError):
    """A route that cannot be; ``file`` and ``line`` say where it was written."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route. ``key`` names it: ``GET /users/{id}``, with a star after a prefix: ``GET /static/*``, ``* /app/*``."""

    method: str
    pattern: str
    shape: Shape
    handler: Any
    cors: declaration.Cors | None
    file: str
    line: int

    @property
    def key(self) -> str:
        """The route's name on both sides of the wall."""
        star = "*" if self.shape in (Shape.PREFIX, Shape.MOUNT) else ""
        return f"{self.method} {self.pattern}{star}"


class _Missing:
    """No handler was given: the call is used as a decorator."""


_MISSING = _Missing()


class HttpRouter:
    """The HTTP actions of a deployment: ``http = HttpRouter()`` in ``http.py``."""

    def __init__(self, *, cors: Cors | None = None) -> None:
        self.cors = _declared(cors)
        self._entries: list[RouteEntry] = []
        self._taken: dict[tuple[str, str], RouteEntry] = {}
        self._waiting: list[RouteEntry] = []

    @property
    def entries(self) -> list[RouteEntry]:
        """Every route in the order of its registration; `RouteError` when one never got its handler."""
        if self._waiting:
            route = self._waiting[0]
            raise RouteError(
                f"the route {route.key} has no handler: pass handler=…, or put @http.route(…) above the function",
                route.file,
                route.line,
            )
        return self._entries

    def route(
        self,
        *,
        path: str | None = None,
        path_prefix: str | None = None,
        method: str,
        handler: Any = _MISSING,
        cors: Cors | None = None,
    ) -> Any:
        """Answer this method on this path or below this prefix with an HTTP action; without one, a decorator."""
        where = sys._getframe(1)
        _check_method(method)
        pattern, shape = _pattern(path, path_prefix)
        entry = _entry(method, pattern, shape, _declared(cors), where)
        self._refuse_twice(entry)
        if handler is _MISSING:
            self._waiting.append(entry)
            return lambda function: self._decorate(entry, function)
        self._add(entry, _http_action(handler, entry.key))
        return handler

    def mount(self, path_prefix: str, app: Any) -> None:
        """Let an ASGI 3 application answer everything below a prefix, whatever the method."""
        pattern = _prefix(path_prefix)
        if not callable(app):
            raise TypeError(f"mount({pattern!r}) needs an ASGI application, which {type(app).__name__} is not")
        entry = _entry(ANY_METHOD, pattern, Shape.MOUNT, None, sys._getframe(1))
        self._refuse_twice(entry)
        self._add(entry, app)

    def _decorate(self, entry: RouteEntry, function: Handler) -> Handler:
        if entry not in self._waiting:
            raise RouteError(f"the route {entry.key} has a handler already: one @http.route for each", *_at(entry))
        handler = _http_action(function, entry.key)
        self._waiting.remove(entry)
        self._entries.append(_with_handler(entry, handler))
        return function

    def _add(self, entry: RouteEntry, handler: Any) -> None:
        self._entries.append(_with_handler(entry, handler))

    def _refuse_twice(self, entry: RouteEntry) -> None:
        for key in _identities(entry):
            earlier = self._taken.get(key)
            if earlier is not None:
                raise RouteError(
                    f"the route {entry.key} is taken: {earlier.key} in {_shown(earlier)}, line {earlier.line}, "
                    "matches the same requests",
                    *_at(entry),
                )
        for key in _identities(entry):
            self._taken[key] = entry


def _shown(entry: RouteEntry) -> str:
    # Code objects of a bundle carry a scheme before the file's name, by which the guest tells them from our own.
    return entry.file.removeprefix("bundle:")


def _at(entry: RouteEntry) -> tuple[str, int]:
    return entry.file, entry.line


def _entry(method: str, pattern: str, shape: Shape, cors: declaration.Cors | None, where: FrameType) -> RouteEntry:
    return RouteEntry(method, pattern, shape, None, cors, where.f_code.co_filename, where.f_lineno)


def _with_handler(entry: RouteEntry, handler: Any) -> RouteEntry:
    return RouteEntry(entry.method, entry.pattern, entry.shape, handler, entry.cors, entry.file, entry.line)


def _identities(entry: RouteEntry) -> list[tuple[str, str]]:
    """What no second route may have: what it matches, and its key."""
    kind = "prefix" if entry.shape in (Shape.PREFIX, Shape.MOUNT) else "path"
    matched = "/".join("{}" if _PARAMETER.match(segment) else segment for segment in entry.pattern.split("/"))
    methods = METHODS if entry.method == ANY_METHOD else (entry.method,)
    return [(f"{kind} {method}", matched) for method in methods] + [("key", entry.key)]


def _check_method(method: object) -> None:
    if method in METHODS:
        return
    if not isinstance(method, str):
        raise TypeError(f"a method is one of {', '.join(METHODS)}, not {type(method).__name__}")
    if method == "HEAD":
        raise ValueError("HEAD needs no route: it runs the GET handler and drops the body")
    if method.upper() in METHODS:
        raise ValueError(f"methods are upper case: write {method.upper()!r}")
    raise ValueError(f"{method[:40]!r} cannot be routed: a method is one of {', '.join(METHODS)}")


def _http_action(handler: Any, key: str) -> Any:
    kind = getattr(handler, "kind", None)
    if kind is Kind.HTTP_ACTION:
        return handler
    if handler is None:
        raise TypeError(f"the handler of {key} is None: pass an HTTP action")
    if isinstance(kind, Kind):
        raise TypeError(f"the handler of {key} is a {kind.value}: a route needs an HTTP action, which may call it")
    name = getattr(handler, "__name__", type(handler).__name__)
    raise TypeError(f"the handler of {key} is no HTTP action: put @http_action above {name}")


def _pattern(path: object, path_prefix: object) -> tuple[str, Shape]:
    if path is not None and path_prefix is not None:
        raise ValueError("a route has a path or a path_prefix, not both")
    if path_prefix is not None:
        return _prefix(path_prefix), Shape.PREFIX
    if path is None:
        raise ValueError("a route needs a path or a path_prefix")
    pattern, names = _read(path, "path")
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the path {path!r} has two parameters called {repeated!r}: name them apart")
    return pattern, Shape.PARAMETERS if names else Shape.EXACT


def _prefix(path_prefix: object) -> str:
    pattern, names = _read(path_prefix, "path_prefix")
    if not pattern.endswith("/"):
        raise ValueError(f"the path_prefix {path_prefix!r} must end with '/'")
    if names:
        raise ValueError(f"the path_prefix {path_prefix!r} cannot have parameters: only a path can")
    return pattern


def _read(text: object, what: str) -> tuple[str, list[str]]:
    """Check a path, percent-encode it, and find its parameters' names."""
    if not isinstance(text, str):
        raise TypeError(f"a {what} is a string, not {type(text).__name__}")
    if not text.startswith("/"):
        raise ValueError(f"the {what} {text[:200]!r} must begin with '/'")
    _check_characters(text, what)
    segments, names = [], []
    for segment in text.split("/"):
        parameter = _PARAMETER.match(segment)
        if parameter:
            names.append(parameter[1])
        elif "{" in segment or "}" in segment:
            raise ValueError(
                f"the {what} {text[:200]!r} has the segment {segment!r}: a parameter is a whole segment, {{name}}, "
                "and its name is letters, digits and underscores"
            )
        elif _DOTS.match(segment):
            raise ValueError(f"the {what} {text[:200]!r} has the segment {segment!r}, which clients resolve: drop it")
        segments.append(segment if parameter else quote(segment, safe=_PLAIN))
    pattern = "/".join(segments)
    if pattern == _RESERVED or pattern.startswith(_RESERVED + "/"):
        raise ValueError(f"the {what} {text[:200]!r} is reserved: {_RESERVED} serves the deployment's stored files")
    return pattern, names


def _check_characters(text: str, what: str) -> None:
    for character, advice in _REFUSED.items():
        if character in text:
            raise ValueError(f"the {what} {text[:200]!r} holds {character!r}: {advice}")
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError(f"the {what} {text[:200]!r} holds white space or a control character: write a space as %20")
    broken = _PERCENT.search(text)
    if broken:
        raise ValueError(f"the {what} {text[:200]!r} holds a '%' without two hexadecimal digits: write it as %25")


def _declared(cors: Cors | None) -> declaration.Cors | None:
    if cors is None:
        return None
    if not isinstance(cors, Cors):
        raise TypeError(f"cors= is a Cors(...), not {type(cors).__name__}")
    return cors.declaration
