"""What do these modules declare?

Looks through the executed modules of a bundle for registered functions and for the router, gives every function its
path, and makes the declaration that the host routes by.

Rules
1. A function belongs to the module that defined it; a name that another module imported does not register it again.
2. A name that begins with an underscore is not registered.
3. An annotation that is no validator is found here, at push, with file and line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from runtime import limits
from runtime.protocol.declaration import (
    Cors,
    CronDeclaration,
    Diagnostic,
    FunctionDeclaration,
    Kind,
    Provider,
    RouteDeclaration,
    SchemaDeclaration,
    Shape,
)
from runtime.sandbox.guest import asgi
from runtime.sandbox.guest.http_calls import Route
from runtime.sandbox.guest.tracebacks import MARK
from runtime.sdk.auth.providers import AuthConfig
from runtime.sdk.crons import CronError, Crons
from runtime.sdk.data.schema import Schema
from runtime.sdk.functions import RegisteredFunction
from runtime.sdk.router import HttpRouter, RouteEntry, RouteError

_ASSIGNMENT = re.compile(r"http\s*[:=]")


@dataclass(slots=True)
class Collected:
    """Everything that was found, or what is wrong with it."""

    functions: list[FunctionDeclaration] = field(default_factory=list)
    callables: dict[str, RegisteredFunction] = field(default_factory=dict)
    routes: tuple[RouteDeclaration, ...] | None = None
    handlers: dict[str, Route] = field(default_factory=dict)
    cors: Cors | None = None
    auth: tuple[Provider, ...] | None = None
    schema: SchemaDeclaration | None = None
    crons: tuple[CronDeclaration, ...] = ()
    wrong: list[Diagnostic] = field(default_factory=list)


def collect(
    modules: Mapping[str, ModuleType], files: Mapping[str, str], sources: Mapping[str, Sequence[str]]
) -> Collected:
    """Find what the executed modules (dotted name → module) declare; ``files`` says where each came from,
    ``sources`` what stands there."""
    found = Collected()
    for function, name, path in _registered(modules, files):
        function.path = name
        _declare(function, path, found)
    for dotted, path in files.items():
        if path == "http.py":
            _collect_routes(getattr(modules[dotted], "http", None), found, sources.get(path, ()))
        elif path == "auth_config.py":
            _collect_providers(getattr(modules[dotted], "auth_config", None), found)
        elif path == "schema.py":
            _collect_schema(getattr(modules[dotted], "schema", None), found)
        elif path == "crons.py":
            _collect_crons(getattr(modules[dotted], "crons", None), found)
    _count(found)
    return found


def _registered(
    modules: Mapping[str, ModuleType], files: Mapping[str, str]
) -> Iterator[tuple[RegisteredFunction, str, str]]:
    """Every function once, with its path and its file: first where it was defined, else where it was found first."""
    seen: set[int] = set()
    for own in (True, False):
        for dotted, module in modules.items():
            for name, value in list(vars(module).items()):
                if not isinstance(value, RegisteredFunction) or name.startswith("_") or id(value) in seen:
                    continue
                if not own or value.__module__ == dotted:
                    seen.add(id(value))
                    yield value, f"{files[dotted].removesuffix('.py')}:{name}", files[dotted]


def _declare(function: RegisteredFunction, path: str, found: Collected) -> None:
    file, line = _place(function, path)
    try:
        http = function.kind is Kind.HTTP_ACTION
        args = None if http else function.args.json()
        returns = None if http or function.returns is None else function.returns.json()
    except (TypeError, ValueError) as error:
        found.wrong.append(Diagnostic(file, line, str(error)))
        return
    found.callables[function.path] = function
    found.functions.append(
        FunctionDeclaration(function.path, function.kind, function.visibility, file, line, args, returns)
    )


def _place(function: RegisteredFunction, path: str) -> tuple[str, int]:
    code = function.handler.__code__
    if code.co_filename.startswith(MARK):
        return code.co_filename[len(MARK) :], code.co_firstlineno
    return path, 1


# --- routes -----------------------------------------------------------------------------------------------------------


def _collect_routes(router: Any, found: Collected, source: Sequence[str]) -> None:
    if not isinstance(router, HttpRouter):
        text = "http.py must define `http`, an HttpRouter: http = HttpRouter()"
        if router is not None:
            text += f"; it is of type {type(router).__name__}"
        assigned = [number for number, line in enumerate(source, 1) if _ASSIGNMENT.match(line)]
        found.wrong.append(Diagnostic("http.py", assigned[-1] if assigned else 1, text))
        return
    found.cors = router.cors
    try:
        entries = router.entries
    except RouteError as error:
        found.wrong.append(Diagnostic(error.file.removeprefix(MARK), error.line, str(error)))
        return
    routes = []
    for entry in entries:
        name = _handler_name(entry)
        found.handlers[entry.key] = Route(_handler(entry), name)
        routes.append(_declared(entry, name))
    found.routes = tuple(routes)


def _declared(entry: RouteEntry, name: str) -> RouteDeclaration:
    return RouteDeclaration(
        key=entry.key,
        method=entry.method,
        pattern=entry.pattern,
        shape=entry.shape,
        handler=name,
        file=entry.file.removeprefix(MARK),
        line=entry.line,
        cors=entry.cors,
    )


def _handler_name(entry: RouteEntry) -> str:
    path = getattr(entry.handler, "path", "")
    return path if isinstance(path, str) and path else f"<{entry.file.removeprefix(MARK)}:{entry.line}>"


def _handler(entry: RouteEntry) -> Callable[[Any, Any], Any]:
    if entry.shape is Shape.MOUNT:
        return lambda ctx, request: asgi.respond(entry.handler, request, entry.pattern)
    # The plain function: one call less for every request.
    handler = entry.handler
    return handler.handler if isinstance(handler, RegisteredFunction) else handler


def _collect_providers(config: Any, found: Collected) -> None:
    if isinstance(config, AuthConfig):
        found.auth = config.declaration
        return
    text = "auth_config.py must define `auth_config`, an AuthConfig: auth_config = AuthConfig(providers=[…])"
    if config is not None:
        text += f"; it is of type {type(config).__name__}"
    found.wrong.append(Diagnostic("auth_config.py", 1, text))


def _collect_schema(schema: Any, found: Collected) -> None:
    if isinstance(schema, Schema):
        found.schema = schema.declare()
        return
    text = "schema.py must define `schema`: schema = define_schema({…})"
    if schema is not None:
        text += f"; it is of type {type(schema).__name__}"
    found.wrong.append(Diagnostic("schema.py", 1, text))


def _collect_crons(crons: Any, found: Collected) -> None:
    if not isinstance(crons, Crons):
        text = "crons.py must define `crons`: crons = Crons()"
        if crons is not None:
            text += f"; it is of type {type(crons).__name__}"
        found.wrong.append(Diagnostic("crons.py", 1, text))
        return
    declared = []
    for entry in crons.entries:
        file = entry.file.removeprefix(MARK)
        try:
            path = entry.path
        except CronError as error:
            found.wrong.append(Diagnostic(file, error.line, str(error)))
            continue
        declared.append(CronDeclaration(entry.name, entry.schedule, path, entry.args, file, entry.line))
    found.crons = tuple(declared)


def _count(found: Collected) -> None:
    for what, number in (("functions", len(found.functions)), ("routes", len(found.routes or ()))):
        if number > limits.DECLARATION_ITEMS:
            text = f"{number} {what} in this bundle, limit {limits.DECLARATION_ITEMS}"
            found.wrong.append(Diagnostic("http.py" if what == "routes" else "", 1, text))
