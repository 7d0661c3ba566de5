"""Is this server alive, ready, and which one is it? No key is needed, and no deployment is named.

Rules
1. `/livez` asks nothing: it answers when the event loop turns.
2. `/readyz` asks the parts; a part that is not ready says why in one sentence.
"""

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from control_plane.auth import TheOffice
from control_plane.problems import document, documented, request_id_of

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The event loop turns."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Every part is ready; ``checks`` names them."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Literal["ok"]]


class VersionAnswer(BaseModel):
    """Which program this is."""

    name: Literal["warren"] = "warren"
    version: str


@router.get("/livez", responses=documented())
async def livez() -> Alive:
    """Whether the process answers at all."""
    return Alive()


@router.get("/readyz", responses=documented(503), response_model=Readiness)
async def readyz(request: Request, office: TheOffice) -> Readiness | Response:
    """Whether requests would be served; 503 names the parts that are not ready."""
    checks = await office.ready()
    failing = {name: reason for name, reason in checks.items() if reason is not None}
    if not failing:
        return Readiness(checks=dict.fromkeys(checks, "ok"))
    detail = "; ".join(f"{name}: {reason}" for name, reason in failing.items())
    return document(503, "NotReady", detail, request_id_of(request), {"retry-after": "1"})


@router.get("/version", responses=documented())
async def version(office: TheOffice) -> VersionAnswer:
    """Which version of Warren this is."""
    return VersionAnswer(version=office.version)


@router.get("/metrics", responses=documented(), response_class=PlainTextResponse)
async def metrics(office: TheOffice) -> Response:
    """Counters and gauges in Prometheus's text format."""
    return Response(office.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
