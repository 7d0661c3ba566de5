"""What does a push over HTTP look like?

Rules
1. The body is the archive itself, read in pieces up to `PUSH_BYTES`; its kind is seen from its first bytes.
2. 201 with what is active now; 400 for no archive or a broken one; 413 for one past a limit, whichever limit; 422 with
   diagnostics for content that cannot be deployed. On anything but 201 nothing has changed.
"""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from control_plane.auth import OwnDeployment
from control_plane.bodies import read_bounded
from control_plane.problems import DiagnosticModel, diagnostics_of, documented, request_id_of
from control_plane.push import Pushed, Pushing
from control_plane.routes.functions import FunctionModel, RouteModel, function_models, route_models
from runtime import limits
from runtime.names import RequestId

router = APIRouter(prefix="/v1/deployments/{name}/pushes", tags=["pushes"])

_ARCHIVE = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A .tar.gz or .zip with the bundle directory's content at its root.",
        "content": {"application/gzip": _ARCHIVE, "application/zip": _ARCHIVE},
    }
}


class PushAnswer(BaseModel):
    """The active version after a push; ``unchanged`` when this very content was active before."""

    version: int
    sha256: str
    unchanged: bool
    functions: list[FunctionModel]
    routes: list[RouteModel]
    warnings: list[DiagnosticModel]


@router.post("", status_code=201, responses=documented(400, 401, 403, 404, 408, 413, 429, 503), openapi_extra=_BODY)
async def push(request: Request, deployment: OwnDeployment) -> PushAnswer:
    """Analyse a bundle and make it the active version, or refuse it and change nothing."""
    pushing: Pushing = request.app.state.pushing
    with pushing.admitted(deployment.name):
        archive = await read_bounded(request, "PUSH_BYTES", limits.PUSH_BYTES)
        return _answer(await pushing.push(deployment.name, archive, RequestId(request_id_of(request))))


def _answer(pushed: Pushed) -> PushAnswer:
    warnings = diagnostics_of(pushed.declaration.warnings)
    if pushed.unchanged:
        message = f"unchanged: version {pushed.version} has this content already and stays active"
        warnings.append(DiagnosticModel(file="", line=0, message=message))
    return PushAnswer(
        version=pushed.version,
        sha256=pushed.sha256,
        unchanged=pushed.unchanged,
        functions=function_models(pushed.declaration),
        routes=route_models(pushed.declaration),
        warnings=warnings,
    )
