"""What is in the environment of a deployment, and how is it changed?

Rules
1. A change is live from the next call: nothing is pushed again for it.
2. Values are shown to whoever holds a key of the deployment, and to nobody in an error or a log.
3. The two variables that every deployment has are nobody's to set.
4. A change with which ``auth_config.py`` cannot be read is refused, and changes nothing (`providers`).
"""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from control_plane.auth import OwnDeployment, TheChanges, TheOffice
from control_plane.bodies import JsonRoute
from control_plane.office import CLOUD_URL, SITE_URL, Changes, Office
from control_plane.problems import documented
from control_plane.providers import reread
from control_plane.refusals import InvalidField, LimitPassed, invalid_name
from runtime import limits
from runtime.errors import NotFound
from runtime.names import DeploymentName, InvalidName, parse_variable_name

router = APIRouter(prefix="/v1/deployments/{name}/env", tags=["environment"], route_class=JsonRoute)

Key = Annotated[str, Path(description="A letter or underscore, then letters, digits and underscores; at most 64.")]


class VariableList(BaseModel):
    """Every variable that was set, by name."""

    variables: dict[str, str]


class VariableValue(BaseModel):
    """The value of one variable; it may have several lines."""

    model_config = ConfigDict(extra="forbid")
    value: str


class VariableSet(BaseModel):
    """One variable was set; ``created`` when it was not there before."""

    key: str
    created: bool


@router.get("", responses=documented(401, 403, 404))
async def list_variables(office: TheOffice, deployment: OwnDeployment) -> VariableList:
    """Every variable with its value."""
    return VariableList(variables=dict(sorted((await office.variables.all(deployment.name)).items())))


@router.put("/{key}", responses=documented(400, 401, 403, 404, 413, 422))
async def set_variable(
    office: TheOffice, changes: TheChanges, deployment: OwnDeployment, key: Key, body: VariableValue
) -> VariableSet:
    """Set one variable, from the next call on."""
    before = await Environments(office, changes).change_variables(deployment.name, {key: body.value})
    return VariableSet(key=key, created=key not in before)


@router.delete("/{key}", status_code=204, responses=documented(401, 403, 404, 422))
async def delete_variable(office: TheOffice, changes: TheChanges, deployment: OwnDeployment, key: Key) -> None:
    """Remove one variable, from the next call on."""
    name = _settable(key)

    async def change() -> None:
        if name not in await office.variables.all(deployment.name):
            raise NotFound(f"there is no variable {name!r}")
        await _set(office, deployment.name, {name: None})

    await changes.make(deployment.name, change)


class Environments:
    """Changes variables of deployments, for every door that may."""

    def __init__(self, office: Office, changes: Changes) -> None:
        self._office = office
        self._changes = changes

    async def change_variables(self, name: DeploymentName, wanted: Mapping[str, str | None]) -> Mapping[str, str]:
        """Set some variables and remove those with ``None``, all or none; how it was before."""
        for key, value in wanted.items():
            _settable(key)
            if value is not None:
                _check_value(value)

        async def change() -> Mapping[str, str]:
            before = dict(await self._office.variables.all(name))
            _check_size({key: value for key, value in {**before, **wanted}.items() if value is not None})
            await _set(self._office, name, wanted)
            return before

        return await self._changes.make(name, change)


async def _set(office: Office, deployment: DeploymentName, wanted: Mapping[str, str | None]) -> None:
    providers = await reread(office, deployment, wanted)
    await office.variables.set(deployment, wanted)
    if providers is not None:
        await providers.keep()


def _check_size(environment: Mapping[str, str]) -> None:
    if len(environment) > limits.VARIABLES:
        raise LimitPassed("too many variables", "VARIABLES", limits.VARIABLES, len(environment), "key")
    total = sum(len(key) + len(text.encode()) for key, text in environment.items())
    if total > limits.ENVIRONMENT_BYTES:
        limit = limits.ENVIRONMENT_BYTES
        raise LimitPassed("the environment is too large", "ENVIRONMENT_BYTES", limit, total, "value")


def _settable(text: str) -> str:
    try:
        name = parse_variable_name(text)
    except InvalidName as error:
        raise invalid_name("key", error) from None
    if name in (SITE_URL, CLOUD_URL):
        raise InvalidField("key", f"{name} is the deployment's own address: only Warren sets it", value=name)
    return name


def _check_value(value: str) -> None:
    if "\0" in value:
        raise InvalidField("value", "the value has a NUL character, which no environment can hold")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidField("value", "the value has half of a surrogate pair: it cannot be written as UTF-8") from None
    if size > limits.VARIABLE_BYTES:
        raise LimitPassed("the value is too large", "VARIABLE_BYTES", limits.VARIABLE_BYTES, size, "value")
