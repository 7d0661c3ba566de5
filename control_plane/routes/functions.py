"""What does the active version contain?

Read from what the push declared; no isolate is asked.

Rules
1. Before the first push the lists are empty and the version is null.
"""

from typing import Any, assert_never

from fastapi import APIRouter
from pydantic import BaseModel, Field

from control_plane.auth import OwnDeployment, TheOffice
from control_plane.interface import openapi
from control_plane.office import Office
from control_plane.problems import documented
from runtime import limits
from runtime.invocation import Version
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Engine, FunctionDeclaration, Kind, Visibility

router = APIRouter(prefix="/v1/deployments/{name}", tags=["functions"])


class FunctionModel(BaseModel):
    """One function; ``args`` and ``returns`` are its validators as JSON, null where none was written."""

    path: str
    kind: Kind
    visibility: Visibility
    engine: Engine = Field(description="isolate, or python or node for a module that begins with 'use node'.")
    args: Any = None
    returns: Any = None
    file: str
    line: int
    time_limit: int = Field(description="Wall time of one call, in milliseconds.")


class RouteModel(BaseModel):
    """One route; ``pattern`` is the exact path, one with {parameters}, or a prefix that ends with a slash."""

    method: str = Field(description="'*' for a mounted application.")
    pattern: str
    shape: str = Field(description="exact, parameters, prefix or mount")
    handler: str
    file: str
    line: int


class FunctionList(BaseModel):
    """The functions of the active version, how many there are of each kind, and how many there may be."""

    version: int | None
    functions: list[FunctionModel]
    counts: dict[Kind, int]
    limit: int


class RouteList(BaseModel):
    """The routes of the active version, and how many there may be; ``has_router`` is false without an http.py."""

    version: int | None
    has_router: bool
    routes: list[RouteModel]
    count: int
    limit: int


@router.get("/functions", responses=documented(401, 403, 404))
async def list_functions(office: TheOffice, deployment: OwnDeployment) -> FunctionList:
    """Every function that the active version declares."""
    version = await _active(office, deployment.name)
    functions = function_models(version.declaration) if version else []
    counts = {kind: sum(each.kind is kind for each in functions) for kind in Kind}
    number = version.number if version else None
    return FunctionList(version=number, functions=functions, counts=counts, limit=limits.DECLARATION_ITEMS)


@router.get("/routes", responses=documented(401, 403, 404))
async def list_routes(office: TheOffice, deployment: OwnDeployment) -> RouteList:
    """Every route that the active version declares."""
    version = await _active(office, deployment.name)
    routes = route_models(version.declaration) if version else []
    return RouteList(
        version=version.number if version else None,
        has_router=version is not None and version.declaration.routes is not None,
        routes=routes,
        count=len(routes),
        limit=limits.DECLARATION_ITEMS,
    )


@router.get("/openapi.json", responses=documented(401, 403, 404))
async def describe_interface(office: TheOffice, deployment: OwnDeployment) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the public functions and the routes of the active version."""
    name, version = deployment.name, await _active(office, deployment.name)
    number, declaration = (version.number, version.declaration) if version else (None, Declaration())
    return openapi.document(name, number, declaration, office.cloud_url(name), office.site_url(name))


def function_models(declaration: Declaration) -> list[FunctionModel]:
    """The functions of a declaration as clients see them."""
    return [
        FunctionModel(
            path=each.path,
            kind=each.kind,
            visibility=each.visibility,
            engine=each.engine,
            args=each.args,
            returns=each.returns,
            file=each.file,
            line=each.line,
            time_limit=_time_limit(each),
        )
        for each in declaration.functions
    ]


def route_models(declaration: Declaration) -> list[RouteModel]:
    """The routes of a declaration as clients see them."""
    return [
        RouteModel(
            method=each.method,
            pattern=each.pattern,
            shape=each.shape.value,
            handler=each.handler,
            file=each.file,
            line=each.line,
        )
        for each in declaration.routes or ()
    ]


async def _active(office: Office, name: DeploymentName) -> Version | None:
    deployment = await office.deployments.load(name)
    return deployment.version if deployment else None


def _time_limit(function: FunctionDeclaration) -> int:
    if function.engine is not Engine.ISOLATE:
        return int(limits.NODE_ACTION_TIME)
    match function.kind:
        case Kind.QUERY | Kind.MUTATION:
            return int(limits.QUERY_TIME)
        case Kind.ACTION | Kind.HTTP_ACTION:
            return int(limits.ACTION_TIME)
        case _:
            assert_never(function.kind)
