"""Which files are stored?

Rules
1. The latest come first. A URL that is shown here is the one that functions give out: whoever has it reads the file.
"""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from control_plane.auth import OwnDeployment, TheOffice
from control_plane.bodies import JsonRoute
from control_plane.problems import documented
from runtime.errors import BadRequest
from runtime.syscalls.storage.entries import file_url

router = APIRouter(prefix="/v1/deployments/{name}/files", tags=["files"], route_class=JsonRoute)


class FileModel(BaseModel):
    """One stored file; ``created_at`` in milliseconds since 1970, ``size`` in bytes."""

    id: str
    url: str
    created_at: float
    size: int
    sha256: str = Field(description="In base64, as documents of _storage have it.")
    content_type: str | None


class FilePage(BaseModel):
    """Some files; ``cursor`` asks for the next ones and is null at the end."""

    files: list[FileModel]
    cursor: str | None


@router.get("", responses=documented(400, 401, 403, 404))
async def list_files(
    office: TheOffice,
    deployment: OwnDeployment,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: str | None = None,
) -> FilePage:
    """One page of the stored files."""
    name = deployment.name
    files, after = await office.shelf.page(name, limit, None if cursor is None else _read(cursor))
    cloud_url = office.cloud_url(name)
    shown = [
        FileModel(
            id=file.id,
            url=file_url(cloud_url, file),
            created_at=file.created,
            size=file.size,
            sha256=base64.b64encode(file.sha256).decode(),
            content_type=file.content_type,
        )
        for file in files
    ]
    return FilePage(files=shown, cursor=None if after is None else base64.urlsafe_b64encode(after).decode())


def _read(cursor: str) -> bytes:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("this cursor is not one of files: leave it out to begin again") from None
