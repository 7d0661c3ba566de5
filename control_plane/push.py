"""How does a bundle become the active version?

Unpack, analyse in an isolate, look the claim over, bring its schema into force, keep, switch, settle its crons: in this
order, one push of a deployment at a time. Knows ports and archives, no HTTP.

Rules
1. Until the registry has kept the version, whole, nothing has changed: the running version answers on.
2. What the analysis hands back is a stranger's claim. It is counted and looked over before anything is kept of it.
3. The same content that declares the same things as the active version makes no new version.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from control_plane.archives import content_hash, unpack
from control_plane.office import Changes, Office
from runtime import limits
from runtime.errors import NotFound, PushRefused, TooManyRequests
from runtime.execution.crons import claims
from runtime.invocation import Version
from runtime.limits import Limit
from runtime.names import DeploymentName, InvalidName, RequestId, VersionNumber, parse_function_path
from runtime.ports import LogEntry
from runtime.protocol.declaration import (
    Cors,
    Declaration,
    Diagnostic,
    Engine,
    FunctionDeclaration,
    Kind,
    RouteDeclaration,
    Shape,
)
from runtime.protocol.messages import Level
from runtime.protocol.node_style import engine_of, module_of
from runtime.syscalls.schemas.claims import objection_to
from runtime.syscalls.schemas.keeper import Look

# Unpacked bundles are large: so many are held at once, by all pushes together. Those that a worker is asked about may
# have packages to install; the others do not wait for them.
_UNPACKED_AT_ONCE = 4
_WITH_WORKERS_AT_ONCE = 8
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*"})
_CORS_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Pushed:
    """The active version after a push; ``unchanged`` when it was active before."""

    version: VersionNumber
    sha256: str
    declaration: Declaration
    unchanged: bool


class Pushing:
    """Takes archives in."""

    def __init__(self, office: Office, changes: Changes) -> None:
        self._office = office
        self._changes = changes
        self._room = asyncio.Semaphore(_UNPACKED_AT_ONCE)
        self._patient_room = asyncio.Semaphore(_WITH_WORKERS_AT_ONCE)
        self._under_way: Counter[DeploymentName] = Counter()

    @contextmanager
    def admitted(self, name: DeploymentName) -> Iterator[None]:
        """Hold a place for a push while its archive is read and handled; raise `TooManyRequests` when none is free."""
        under_way, limit = self._under_way[name], int(limits.PUSHES_AT_ONCE)
        if under_way >= limit:
            message = f"{under_way} pushes of {name!r} are under way, the limit PUSHES_AT_ONCE is {limit}: try again"
            raise TooManyRequests(message)
        self._under_way[name] += 1
        try:
            yield
        finally:
            self._under_way[name] -= 1
            self._under_way += Counter()  # drops the zeros

    async def push(self, name: DeploymentName, archive: bytes | bytearray, request_id: RequestId) -> Pushed:
        """Make this archive the active version; raise `BadArchive`, `TooLarge` or `PushRefused` and change nothing."""
        pushed = await self._changes.make(name, lambda: self._deploy(name, archive))
        verb = "pushed again, unchanged" if pushed.unchanged else "pushed"
        text = f"version {pushed.version} {verb}: sha256 {pushed.sha256[:12]}"
        self._office.logs.write(
            name, LogEntry(at=self._office.clock.now(), level=Level.INFO, text=text, request_id=request_id)
        )
        return pushed

    async def _deploy(self, name: DeploymentName, archive: bytes | bytearray) -> Pushed:
        # Its own turn first, then the room: one deployment's pushes never keep all the room from the others.
        async with self._room:
            bundle, sha256 = await asyncio.to_thread(_open, archive)
            if all(engine_of(path, content) is Engine.ISOLATE for path, content in bundle.items()):
                return await self._analyse_and_keep(name, bundle, sha256)
            del bundle
        async with self._patient_room:
            bundle, sha256 = await asyncio.to_thread(_open, archive)
            return await self._analyse_and_keep(name, bundle, sha256)

    async def _analyse_and_keep(self, name: DeploymentName, bundle: dict[str, bytes], sha256: str) -> Pushed:
        office = self._office
        declaration = await office.analyse(name, bundle, await office.environment(name))
        await asyncio.to_thread(look_over, declaration, bundle)
        deployment = await office.deployments.load(name)
        if deployment is None:
            raise NotFound(f"there is no deployment {name!r} any more")
        live = deployment.version
        old = live.declaration.schema if live is not None else None
        if live is not None and _is_same(live, sha256, declaration):
            # What a crash has left half done is done here.
            await office.schemas.prepare(name, declaration.schema, old, Look.COMPARED)
            await office.settle_crons(name)
            return Pushed(live.number, sha256, declaration, unchanged=True)
        async with office.schemas.changing(name, declaration.schema, old):
            number = await office.versions.add(name, sha256, bundle, declaration, office.clock.now())
        await office.settle_crons(name)
        return Pushed(number, sha256, declaration, unchanged=False)


def _open(archive: bytes | bytearray) -> tuple[dict[str, bytes], str]:
    bundle = unpack(archive)
    return bundle, content_hash(bundle)


def _is_same(version: Version, sha256: str, declaration: Declaration) -> bool:
    # The same source may declare other things when it reads its environment while it is imported.
    encode = msgspec.msgpack.encode
    return version.sha256 == sha256 and encode(version.declaration) == encode(declaration)


# --- the look over a stranger's claim ---------------------------------------------------------------------------------


def look_over(declaration: Declaration, bundle: dict[str, bytes]) -> None:
    """Raise `PushRefused` unless everything declared is something that could have been meant."""
    routes = declaration.routes or ()
    _count("functions", len(declaration.functions), "DECLARATION_ITEMS", limits.DECLARATION_ITEMS)
    _count("routes", len(routes), "DECLARATION_ITEMS", limits.DECLARATION_ITEMS)
    _count("crons", len(declaration.crons), "CRONS", limits.CRONS)
    _look_over_schema(declaration)
    _count("warnings", len(declaration.warnings), "DIAGNOSTICS", limits.DIAGNOSTICS)
    _look_over_packages(declaration)
    found = next(_objections(declaration, bundle), None)
    if found is not None:
        raise PushRefused([found])
    # Their developer learns of these here and nowhere else: all of them at once.
    if wrong := list(claims.objections(declaration.crons, declaration.functions)):
        raise PushRefused(wrong)


def _look_over_schema(declaration: Declaration) -> None:
    if declaration.schema is None:
        return
    limit = int(limits.VALIDATOR_BYTES)
    if all(_is_validator(table.document) for table in declaration.schema.tables):
        problem = objection_to(declaration.schema)
    else:
        problem = f"a table has a validator that is not JSON of at most {limit} bytes (limit VALIDATOR_BYTES)"
    if problem is not None:
        raise PushRefused([Diagnostic(file="schema.py", line=1, message=problem)])


def _look_over_packages(declaration: Declaration) -> None:
    packages = declaration.packages
    limit = int(limits.PACKAGE_LOCK)
    for lock in (packages.python, packages.node) if packages is not None else ():
        if lock is not None and len(lock.encode()) > limit:
            message = f"a lock of {len(lock.encode())} bytes, the limit PACKAGE_LOCK is {limit}"
            raise PushRefused([Diagnostic(file="", line=0, message=message)])


def _count(what: str, observed: int, name: str, limit: Limit) -> None:
    if observed > limit:
        message = f"the bundle declares {observed} {what}, the limit {name} is {int(limit)}"
        raise PushRefused([Diagnostic(file="", line=0, message=message)])


def _objections(declaration: Declaration, bundle: dict[str, bytes]) -> Iterator[Diagnostic]:
    # Which files are left to workers is seen from here as well: no claim sends a function elsewhere.
    engines = {path: engine for path in bundle if (engine := engine_of(path, bundle[path])) is not Engine.ISOLATE}
    named = set(declaration.node_style)
    if not named <= engines.keys() or len(named) != len(declaration.node_style):
        yield Diagnostic(file="", line=0, message="the bundle declares Node-style modules that are none, or one twice")
    paths: set[str] = set()
    for function in declaration.functions:
        yield from _place(function.file, function.line, bundle)
        if reason := _engine_objection(function, engines.get(function.file, Engine.ISOLATE)):
            yield Diagnostic(file=function.file, line=function.line, message=reason)
        if reason := _function_objection(function, paths):
            yield Diagnostic(file=function.file, line=function.line, message=reason)
        paths.add(function.path)
    keys: set[str] = set()
    for route in declaration.routes or ():
        yield from _place(route.file, route.line, bundle)
        if reason := _route_objection(route, keys):
            yield Diagnostic(file=route.file, line=route.line, message=reason)
        keys.add(route.key)
    for cron in declaration.crons:
        yield from _place(cron.file, cron.line, bundle)
    for cors in (declaration.cors, *(route.cors for route in declaration.routes or ())):
        if cors is not None and not _is_sane_cors(cors):
            message = "a Cors has too many entries, or one that is no header text"
            yield Diagnostic(file="http.py", line=0, message=message)
    for warning in declaration.warnings:
        if len(warning.message) > limits.LOG_LINE_BYTES or len(warning.file) > limits.DECLARATION_TEXT:
            yield Diagnostic(file="", line=0, message="a warning of the bundle is too long")


def _place(file: str, line: int, bundle: dict[str, bytes]) -> Iterator[Diagnostic]:
    if file not in bundle or not 0 <= line <= len(bundle[file]) + 1:
        message = "the bundle declares something in a file or line that it does not have"
        yield Diagnostic(file="", line=0, message=message)


def _function_objection(function: FunctionDeclaration, earlier: set[str]) -> str | None:
    try:
        sane = _is_text(function.path) and str(parse_function_path(function.path)) == function.path
    except InvalidName:
        sane = False
    if not sane:
        return "a declared function has a path that is not of the form 'dir/module:name'"
    if function.path in earlier:
        return f"{function.path} is declared twice"
    if not (_is_validator(function.args) and _is_validator(function.returns)):
        limit = int(limits.VALIDATOR_BYTES)
        return f"{function.path} has a validator that is not JSON of at most {limit} bytes (limit VALIDATOR_BYTES)"
    return None


def _engine_objection(function: FunctionDeclaration, engine: Engine) -> str | None:
    if function.engine is not engine:
        return f"{function.path} is declared to run where its file does not"
    if engine is Engine.ISOLATE:
        return None
    if function.kind is not Kind.ACTION:
        kind = function.kind.value.replace("_", " ")
        return f'{function.path} is a {kind}: a module that begins with "use node" holds actions only'
    if function.path.partition(":")[0] != module_of(function.file):
        return f"{function.path} is declared in {function.file}, whose functions have other paths"
    return None


def _route_objection(route: RouteDeclaration, earlier: set[str]) -> str | None:
    if not (_is_text(route.pattern) and _is_text(route.handler) and route.pattern.startswith("/")):
        return "a declared route has a path or handler that is empty, too long, or has control characters"
    star = "*" if route.shape in (Shape.PREFIX, Shape.MOUNT) else ""
    if route.method not in _METHODS or route.key != f"{route.method} {route.pattern}{star}":
        return "a declared route has a method that does not exist, or a key that is not its method and path"
    if route.key in earlier:
        return f"the route {route.key} is declared twice"
    return None


def _is_text(text: str) -> bool:
    return 0 < len(text) <= limits.DECLARATION_TEXT and text.isprintable()


def _is_sane_cors(cors: Cors) -> bool:
    lists = (cors.allow_origins, cors.allow_methods, cors.allow_headers, cors.expose_headers)
    if sum(map(len, lists)) > _CORS_ITEMS or not -1 <= (cors.max_age or 0) <= 2**31:
        return False
    # They become header values: visible ASCII cannot end one and begin another.
    return all(_is_text(text) and text.isascii() for texts in lists for text in texts)


def _is_validator(value: Any) -> bool:
    return _is_json(value, limits.VALUE_DEPTH) and len(msgspec.json.encode(value)) <= limits.VALIDATOR_BYTES


def _is_json(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is dict:
        return depth > 0 and all(type(key) is str and _is_json(item, depth - 1) for key, item in value.items())
    if kind is list:
        return depth > 0 and all(_is_json(item, depth - 1) for item in value)
    return value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value))
