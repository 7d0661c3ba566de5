"""Which versions are kept, and how does one go back?

Rules
1. Going back makes an older version active as it was analysed then: its code is not built or loaded for it. Its indexes
   are there when it is live: those of the version before are kept, those of earlier ones are built again.
2. Numbers are never used twice, also when their version is no longer kept.
"""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from control_plane.auth import OwnDeployment, TheChanges, TheOffice
from control_plane.bodies import JsonRoute
from control_plane.problems import documented, request_id_of
from runtime import limits
from runtime.errors import NotFound
from runtime.names import RequestId, VersionNumber
from runtime.ports import LogEntry
from runtime.protocol.messages import Level
from runtime.syscalls.schemas.keeper import Look

router = APIRouter(prefix="/v1/deployments/{name}", tags=["versions"], route_class=JsonRoute)


class VersionModel(BaseModel):
    """One pushed bundle; ``created_at`` in milliseconds since 1970."""

    version: int
    sha256: str
    created_at: float
    files: int
    bytes: int
    active: bool


class VersionList(BaseModel):
    """The versions that are kept, newest first; ``limit`` of them at most."""

    active: int | None
    limit: int
    versions: list[VersionModel]


class Rollback(BaseModel):
    """Which version to go back (or forward again) to."""

    model_config = ConfigDict(extra="forbid")
    version: Annotated[int, Field(ge=1, le=2**53)]


class RolledBack(BaseModel):
    """What is active now, and what was before."""

    version: int
    previous: int | None


@router.get("/versions", responses=documented(401, 403, 404))
async def list_versions(office: TheOffice, deployment: OwnDeployment) -> VersionList:
    """The versions that can be rolled back to."""
    kept = [
        VersionModel(
            version=each.number,
            sha256=each.sha256,
            created_at=each.created_at,
            files=each.files,
            bytes=each.bytes,
            active=each.number == deployment.active,
        )
        for each in await office.versions.summaries(deployment.name)
    ]
    return VersionList(active=deployment.active, limit=limits.VERSIONS_KEPT, versions=kept)


@router.post("/rollback", responses=documented(400, 401, 403, 404, 413))
async def rollback(
    request: Request, office: TheOffice, changes: TheChanges, deployment: OwnDeployment, body: Rollback
) -> RolledBack:
    """Make another version the active one, at once."""
    number = VersionNumber(body.version)

    async def change() -> int | None:
        now = await office.deployments.summary(deployment.name)
        live = now.active if now else None
        new = await office.versions.declaration(deployment.name, number)
        if new is None:
            raise NotFound(f"there is no version {number} of {deployment.name!r}, or it is no longer kept")
        old = await office.versions.declaration(deployment.name, live) if live is not None else None
        schemas = (new.schema, old.schema if old else None)
        async with office.schemas.changing(deployment.name, *schemas, Look.LEFT):
            await office.versions.activate(deployment.name, number)
        await office.settle_crons(deployment.name)
        return live

    previous = await changes.make(deployment.name, change)
    text = f"version {number} is active again, before it was {previous}"
    request_id = RequestId(request_id_of(request))
    office.logs.write(deployment.name, LogEntry(office.clock.now(), Level.INFO, text, request_id=request_id))
    return RolledBack(version=number, previous=previous)
