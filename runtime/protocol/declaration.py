"""What does a bundle say it contains?

A guest makes a `Declaration` when it loads a bundle; the host keeps it with the version and routes by it. To the host
it is a claim by a stranger: typed by the decoder, counted against limits, never a path to open or a name to import.
"""

from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What sort of function it is; it decides what the function may ask for."""

    QUERY = "query"
    MUTATION = "mutation"
    ACTION = "action"
    HTTP_ACTION = "http_action"


class Visibility(StrEnum):
    """Who may call it: clients too, or only functions of the same deployment and administrators."""

    PUBLIC = "public"
    INTERNAL = "internal"


class Engine(StrEnum):
    """What runs it: an isolate, or a worker's process with all of Python or Node.js (modules with "use node")."""

    ISOLATE = "isolate"
    PYTHON = "python"
    NODE = "node"


class Shape(StrEnum):
    """How a route's pattern is compared with a path."""

    EXACT = "exact"
    PARAMETERS = "parameters"
    PREFIX = "prefix"
    MOUNT = "mount"


class Diagnostic(msgspec.Struct, frozen=True):
    """One reason why a bundle is refused, or a warning: where, and a sentence that says what to do."""

    file: str
    line: int
    message: str


class Cors(msgspec.Struct, frozen=True):
    """What the host answers to a pre-flight, and adds to every answer, for one route or a whole router.

    ``allow_origins`` holds origins or ``"*"``; ``max_age`` is in seconds.
    """

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int | None = None


class FunctionDeclaration(msgspec.Struct, frozen=True):
    """One function: its path, what may call it, and its validators as JSON (``None`` where none was written)."""

    path: str
    kind: Kind
    visibility: Visibility
    file: str
    line: int
    args: Any = None
    returns: Any = None
    engine: Engine = Engine.ISOLATE


class RouteDeclaration(msgspec.Struct, frozen=True):
    """One route. ``key`` names it on both sides of the wall, e.g. ``GET /users/{id}``; a mount's method is ``*``.

    ``pattern`` is the exact path, the path with ``{name}`` segments, or a prefix that ends with a slash.
    """

    key: str
    method: str
    pattern: str
    shape: Shape
    handler: str
    file: str
    line: int
    cors: Cors | None = None


class OidcProvider(msgspec.Struct, frozen=True, tag="oidc"):
    """An OpenID Connect provider: it publishes at ``domain`` where its keys are. ``application_id`` is the audience."""

    domain: str
    application_id: str


class JwtProvider(msgspec.Struct, frozen=True, tag="jwt"):
    """Somebody who signs tokens. ``jwks`` is a URL or a ``data:`` URI; without ``application_id`` any audience does."""

    issuer: str
    jwks: str
    algorithm: str
    application_id: str | None = None


Provider = OidcProvider | JwtProvider


class IndexDeclaration(msgspec.Struct, frozen=True):
    """One index of a table: its name, and the (dotted) fields that it is ordered by."""

    name: str
    fields: tuple[str, ...]


class TableDeclaration(msgspec.Struct, frozen=True):
    """One table of a schema: what its documents look like (a validator as JSON), and its indexes."""

    name: str
    document: Any
    indexes: tuple[IndexDeclaration, ...] = ()


class SchemaDeclaration(msgspec.Struct, frozen=True):
    """The tables that a bundle describes. Without ``validation`` its documents are not compared with it."""

    tables: tuple[TableDeclaration, ...] = ()
    validation: bool = True


class Interval(msgspec.Struct, frozen=True, tag="interval"):
    """Every so many seconds, first when it is deployed."""

    seconds: int


class Calendar(msgspec.Struct, frozen=True, tag="calendar"):
    """Whenever a line of cron syntax (five fields) says so, by the clocks of an IANA time zone."""

    expression: str
    timezone: str = "UTC"


class CronDeclaration(msgspec.Struct, frozen=True):
    """One cron: when it runs what. ``args`` is an encoded dict."""

    name: str
    schedule: Interval | Calendar
    function: str
    args: bytes
    file: str
    line: int


class Packages(msgspec.Struct, frozen=True):
    """What Node-style modules import beside their bundle, as it was resolved when it was pushed: lock files."""

    python: str | None = None
    node: str | None = None


class Declaration(msgspec.Struct, frozen=True):
    """Everything a bundle contains. ``routes`` is ``None`` without an ``http.py``, ``auth`` without an
    ``auth_config.py``. ``node_style`` are the files that isolates leave to the workers."""

    functions: tuple[FunctionDeclaration, ...] = ()
    routes: tuple[RouteDeclaration, ...] | None = None
    cors: Cors | None = None
    warnings: tuple[Diagnostic, ...] = ()
    auth: tuple[Provider, ...] | None = None
    schema: SchemaDeclaration | None = None
    crons: tuple[CronDeclaration, ...] = ()
    node_style: tuple[str, ...] = ()
    packages: Packages | None = None
