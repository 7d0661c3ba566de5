"""What does a deployment answer, as an OpenAPI 3.1 document?

Made from what the active version declared: its public functions on the cloud host (``POST /api/run/…``), its routes on
the site host. Nothing is loaded or asked for it.

Rules
1. An internal function is not in it: to a client there is none.
2. Two hosts share one list of paths, so every operation names its own server. Where OpenAPI cannot tell two routes
   apart, the one that answers first is described, and the others are listed under ``x-warren-routes`` like all.
3. Every operation has an id of its own, made from its path.
"""

import re
from collections.abc import Iterator
from typing import Any

from control_plane.interface.schemas import COMPONENTS, arguments_schema, schema_of
from runtime.names import FunctionPath, InvalidName, parse_function_path
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, RouteDeclaration, Shape, Visibility

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PARAMETER = re.compile(r"\{([^{}/]+)\}")
_JSON = "application/json"
_WORDS = {Kind.QUERY: "Read", Kind.MUTATION: "Change", Kind.ACTION: "Act", Kind.HTTP_ACTION: "Answer"}
# Which of two routes with the same method answers, as the router has it.
_PRECEDENCE = {Shape.EXACT: 0, Shape.PARAMETERS: 1, Shape.PREFIX: 2, Shape.MOUNT: 3}


def document(name: str, version: int | None, declaration: Declaration, cloud_url: str, site_url: str) -> dict[str, Any]:
    """The OpenAPI document of a deployment that runs this; ``version`` is null before the first push."""
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for path, function in _public(declaration):
        operation = {**_function_operation(path, function, ids), "servers": [{"url": cloud_url}]}
        paths[f"/api/run/{path.module}/{path.name}"] = {"post": operation}
    for route in sorted(declaration.routes or (), key=lambda route: _PRECEDENCE[route.shape]):
        _add_route(paths, ids, route, site_url)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": str(version or 0),
            "description": (
                f"The public functions and the routes of the deployment {name}. A function that fails answers 200 with "
                '`"status": "error"`; a call that could not be made has another status.'
            ),
        },
        "servers": [{"url": cloud_url, "description": "functions"}, {"url": site_url, "description": "HTTP actions"}],
        "paths": paths,
        "components": {
            "schemas": {**COMPONENTS, "Failed": _FAILED, "Refused": _REFUSED},
            "securitySchemes": {
                "user": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Who is calling."}
            },
        },
        "x-warren-routes": [
            {"method": each.method, "pattern": each.pattern, "shape": each.shape.value, "handler": each.handler}
            for each in declaration.routes or ()
        ],
    }


_FAILED: dict[str, Any] = {
    "title": "Failed",
    "type": "object",
    "description": "The function failed. `errorData` is what an ApplicationError carried.",
    "properties": {
        "status": {"const": "error"},
        "errorMessage": {"type": "string"},
        "errorData": {},
        "logLines": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["status", "errorMessage"],
}
_REFUSED: dict[str, Any] = {
    "title": "Refused",
    "type": "object",
    "description": "The call was not made.",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}


def _public(declaration: Declaration) -> Iterator[tuple[FunctionPath, FunctionDeclaration]]:
    for function in sorted(declaration.functions, key=lambda each: each.path):
        if function.visibility is Visibility.PUBLIC and function.kind is not Kind.HTTP_ACTION:
            try:
                yield parse_function_path(function.path), function
            except InvalidName:
                continue  # nobody can call it


def _function_operation(path: FunctionPath, function: FunctionDeclaration, ids: set[str]) -> dict[str, Any]:
    arguments = arguments_schema(function.args)
    call = {
        "type": "object",
        "properties": {"args": arguments, "format": {"const": "convex_encoded_json"}},
        "required": ["args", "format"] if arguments.get("required") else ["format"],
    }
    done = {
        "title": "Done",
        "type": "object",
        "properties": {
            "status": {"const": "success"},
            "value": schema_of(function.returns),
            "logLines": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["status", "value"],
    }
    failed = {"$ref": "#/components/schemas/Failed"}
    return {
        "operationId": _operation_id(f"{path.module}/{path.name}", ids),
        "summary": f"{_WORDS[function.kind]}: {path}",
        "tags": [path.module],
        "x-warren-function": {"path": str(path), "kind": function.kind.value},
        "security": [{}, {"user": []}],
        "requestBody": {"required": True, "content": {_JSON: {"schema": call}}},
        "responses": {
            "200": {
                "description": "The function ran: its result, or how it failed.",
                "content": {_JSON: {"schema": {"oneOf": [done, failed]}}},
            },
            "default": {
                "description": "The call was not made: arguments that are none, no such function, too many calls.",
                "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Refused"}}},
            },
        },
    }


def _add_route(paths: dict[str, dict[str, Any]], ids: set[str], route: RouteDeclaration, site_url: str) -> None:
    template, parameters = _template(route)
    # Templates that differ only in the names of their parameters are one path to OpenAPI.
    skeleton = _PARAMETER.sub("{}", template)
    known = next((path for path in paths if _PARAMETER.sub("{}", path) == skeleton), template)
    if known != template:
        template, parameters = known, _PARAMETER.findall(known)
    item = paths.setdefault(template, {})
    for method in _METHODS if route.method == "*" else (route.method,):
        if method in _METHODS and method.lower() not in item:
            operation = _route_operation(route, method, template, parameters, ids)
            item[method.lower()] = {**operation, "servers": [{"url": site_url}]}


def _template(route: RouteDeclaration) -> tuple[str, list[str]]:
    match route.shape:
        case Shape.PARAMETERS:
            return route.pattern, _PARAMETER.findall(route.pattern)
        case Shape.PREFIX | Shape.MOUNT:
            return route.pattern.rstrip("/") + "/{rest}", ["rest"]
        case Shape.EXACT:
            # A brace in an exact path is a character of it.
            return route.pattern.replace("{", "%7B").replace("}", "%7D"), []


def _route_operation(
    route: RouteDeclaration, method: str, template: str, parameters: list[str], ids: set[str]
) -> dict[str, Any]:
    rest = route.shape in (Shape.PREFIX, Shape.MOUNT)
    described = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            **({"description": "Everything after the prefix, slashes too."} if rest and name == "rest" else {}),
        }
        for name in parameters
    ]
    operation: dict[str, Any] = {
        "operationId": _operation_id(f"{method.lower()}{template}", ids),
        "summary": f"{method} {route.pattern}{'*' if rest else ''}: {route.handler}",
        "tags": ["routes"],
        "x-warren-route": {"pattern": route.pattern, "shape": route.shape.value, "handler": route.handler},
        "responses": {"default": {"description": "Whatever the HTTP action answers.", "content": {"*/*": {}}}},
    }
    if described:
        operation["parameters"] = described
    if method in ("POST", "PUT", "PATCH"):
        operation["requestBody"] = {"content": {"*/*": {}}}
    return operation


def _operation_id(path: str, ids: set[str]) -> str:
    wanted = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_") or "root"
    free = next(each for each in (wanted, *(f"{wanted}_{n}" for n in range(2, len(ids) + 3))) if each not in ids)
    ids.add(free)
    return free
