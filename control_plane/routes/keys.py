"""Which deploy keys does a deployment have?

Rules
1. A key is shown when it is made and never again; what is kept cannot be turned back into it.
2. A removed key is refused from the next request on.
"""

from typing import Annotated

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, StringConstraints

from control_plane.auth import OwnDeployment, TheChanges, TheOffice, issue_key
from control_plane.bodies import JsonRoute
from control_plane.problems import documented
from control_plane.refusals import InvalidField, LimitPassed
from runtime import limits
from runtime.ports import KeySummary

router = APIRouter(prefix="/v1/deployments/{name}/keys", tags=["keys"], route_class=JsonRoute)


class KeyModel(BaseModel):
    """A deploy key without its secret; ``created_at`` in milliseconds since 1970."""

    id: str
    name: str
    created_at: float


class KeyList(BaseModel):
    """Every deploy key, oldest first."""

    keys: list[KeyModel]


class NewKey(BaseModel):
    """What a new key is for, in words."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, StringConstraints(max_length=100)] = ""


class CreatedKey(BaseModel):
    """A new deploy key. ``deploy_key`` is shown this once."""

    id: str
    name: str
    deploy_key: str


@router.get("", responses=documented(401, 403, 404))
async def list_keys(office: TheOffice, deployment: OwnDeployment) -> KeyList:
    """Every deploy key, without secrets."""
    kept = await office.keys.all(deployment.name)
    return KeyList(keys=[KeyModel(id=key.id, name=key.name, created_at=key.created_at) for key in kept])


@router.post("", status_code=201, responses=documented(400, 401, 403, 404, 413))
async def create_key(
    office: TheOffice,
    changes: TheChanges,
    deployment: OwnDeployment,
    body: Annotated[NewKey | None, Body()] = None,
) -> CreatedKey:
    """Make another deploy key."""
    label = body.name if body else ""
    if not (label.isprintable() or label == ""):
        raise InvalidField("name", "the name has a control or other unprintable character")

    async def change() -> tuple[KeySummary, str]:
        kept = len(await office.keys.all(deployment.name))
        if kept >= limits.DEPLOYMENT_KEYS:
            raise LimitPassed("too many keys", "DEPLOYMENT_KEYS", limits.DEPLOYMENT_KEYS, kept + 1, "name")
        return await issue_key(office.keys, deployment.name, label, office.clock.now())

    key, deploy_key = await changes.make(deployment.name, change)
    return CreatedKey(id=key.id, name=key.name, deploy_key=deploy_key)


@router.delete("/{id}", status_code=204, responses=documented(401, 403, 404))
async def delete_key(
    office: TheOffice, deployment: OwnDeployment, id: Annotated[str, Path(description="The key's id.")]
) -> None:
    """Forget a key: it is refused from now on."""
    await office.keys.remove(deployment.name, id)
