"""Which function answers this method and path?

Pure: a table made once from the routes a version declared, asked once per request. Paths and patterns are compared
percent-encoded, as they stand; only parameters are decoded.

Rules
1. Exact path, then path with parameters, then the longest prefix or mount. Of two parameterised paths, the one that
   has text where the other has a parameter, read from the left. Of a prefix and a mount of equal length, the mount.
2. A parameter matches one segment that is not empty. Nothing is rewritten: ``/a`` is not ``/a/``.
3. HEAD is answered by the routes of GET.
4. The table was claimed by a guest: looking something up takes time by the path's length, never by its cleverness.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote
from weakref import WeakKeyDictionary

from runtime.invocation import Version
from runtime.protocol.declaration import RouteDeclaration, Shape

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY_METHOD = "*"

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")
_TO_ENCODE = re.compile(r"[^A-Za-z0-9/!$%&'()*+,.:;=@_~|\[\]-]")


@dataclass(frozen=True, slots=True)
class Match:
    """The route that answers, and the decoded parameters of the path. Read-only: shared between requests."""

    route: RouteDeclaration
    parameters: dict[str, str]


@dataclass(slots=True)
class _Node:
    """The parameterised routes that begin with the same segments."""

    literal: "dict[str, _Node]" = field(default_factory=dict)
    parameter: "_Node | None" = None
    route: RouteDeclaration | None = None
    names: tuple[str, ...] = ()


class _MethodTable:
    """The routes of one method."""

    __slots__ = ("exact", "lengths", "parameters", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, Match] = {}
        self.parameters: dict[int, _Node] = {}  # by number of segments
        self.prefixes: dict[str, Match] = {}
        self.lengths: list[int] = []  # of the prefixes, longest first

    def add(self, route: RouteDeclaration) -> None:
        match route.shape:
            case Shape.EXACT:
                self.exact.setdefault(encode_path(route.pattern), Match(route, {}))
            case Shape.PARAMETERS:
                self._add_parameters(route)
            case Shape.PREFIX | Shape.MOUNT:
                prefix = encode_path(route.pattern)
                self.prefixes.setdefault(prefix, Match(route, {}))
                self.lengths = sorted({*self.lengths, len(prefix)}, reverse=True)

    def _add_parameters(self, route: RouteDeclaration) -> None:
        segments = route.pattern.split("/")
        node = self.parameters.setdefault(len(segments), _Node())
        names = []
        for segment in segments:
            parameter = _PARAMETER.match(segment)
            if parameter is None:
                node = node.literal.setdefault(encode_path(segment), _Node())
                continue
            names.append(parameter[1])
            node.parameter = node.parameter or _Node()
            node = node.parameter
        if node.route is None:
            node.route, node.names = route, tuple(names)

    def find_with_parameters(self, path: str) -> Match | None:
        """The parameterised route that this path fits best."""
        segments = path.split("/")
        root = self.parameters.get(len(segments))
        if root is None:
            return None
        # Depth first, text before parameter. At most as many steps as there are nodes: routes times segments.
        open_paths: list[tuple[_Node, int, tuple[str, ...]]] = [(root, 0, ())]
        while open_paths:
            node, at, values = open_paths.pop()
            if at == len(segments):
                if node.route is not None:
                    decoded = (unquote(value, errors="replace") for value in values)
                    return Match(node.route, dict(zip(node.names, decoded, strict=True)))
                continue
            segment = segments[at]
            if node.parameter is not None and segment:
                open_paths.append((node.parameter, at + 1, (*values, segment)))
            literal = node.literal.get(segment)
            if literal is not None:
                open_paths.append((literal, at + 1, values))
        return None

    def find_prefix(self, path: str) -> Match | None:
        """The longest prefix that this path begins with."""
        for length in self.lengths:
            found = self.prefixes.get(path[:length])
            if found is not None:
                return found
        return None


class RouteTable:
    """All routes of one version."""

    def __init__(self, routes: Iterable[RouteDeclaration]) -> None:
        self._methods: dict[str, _MethodTable] = {}
        for route in routes:
            self._methods.setdefault(route.method, _MethodTable()).add(route)
        self._mounts = self._methods.pop(ANY_METHOD, _MethodTable())
        self._get = self._methods.get("GET")
        if self._get is not None:
            self._methods["HEAD"] = self._get

    def find(self, method: str, path: str) -> Match | None:
        """What answers this request, or ``None``."""
        table = self._methods.get(method)
        if table is None:
            return self._mounts.find_prefix(path) if self._mounts.prefixes and method in METHODS else None
        found = table.exact.get(path)
        if found is not None:
            return found
        if table.parameters:
            found = table.find_with_parameters(path)
            if found is not None:
                return found
        return self._find_prefix(table, path)

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods that this path exists for."""
        return tuple(method for method in METHODS if self.find(method, path) is not None)

    def _find_prefix(self, table: _MethodTable, path: str) -> Match | None:
        prefix = table.find_prefix(path) if table.prefixes else None
        mount = self._mounts.find_prefix(path) if self._mounts.prefixes else None
        if prefix is None or mount is None:
            return prefix or mount
        return prefix if len(prefix.route.pattern) > len(mount.route.pattern) else mount


class RouteTables:
    """The table of every version that is in use."""

    def __init__(self) -> None:
        self._tables: WeakKeyDictionary[Version, RouteTable] = WeakKeyDictionary()

    def of(self, version: Version) -> RouteTable:
        """The table of this version, made at its first request."""
        table = self._tables.get(version)
        if table is None:
            table = self._tables[version] = RouteTable(version.declaration.routes or ())
        return table


def encode_path(text: str) -> str:
    """Percent-encode what a URL parser would encode in a path, so that patterns compare with what clients send."""
    return _TO_ENCODE.sub(lambda found: quote(found[0], safe="", errors="replace"), text)
