"""Which functions are scheduled, and what may be done about them?

Rules
1. Those that have not ended come in the order in which they are due; those that have, the latest first. Without a state
   all come, those first that were scheduled last.
2. Cancelling what has ended changes nothing and says so: ``canceled`` is 0.
3. Arguments travel in Convex's encoding, as documents do.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from control_plane.auth import OwnDeployment, TheOffice
from control_plane.bodies import JsonRoute
from control_plane.problems import documented
from control_plane.refusals import InvalidField, invalid_name
from runtime.errors import Conflict, NotFound
from runtime.names import InvalidName, parse_function_path
from runtime.protocol import values
from runtime.syscalls.scheduling.overseeing import Wanted
from runtime.syscalls.scheduling.records import STATES

router = APIRouter(prefix="/v1/deployments/{name}/schedules", tags=["schedules"], route_class=JsonRoute)

_DESCRIBED_ID = "The id that the scheduler gave it."
ScheduleId = Annotated[str, Path(description=_DESCRIBED_ID)]


class ScheduleModel(BaseModel):
    """One scheduled function. Times are milliseconds since 1970; ``attempts`` are counted where it is retried."""

    id: str
    function: str
    args: dict[str, Any]
    state: str = Field(description=", ".join(STATES))
    error: str | None
    created_at: float
    scheduled_at: float
    completed_at: float | None
    attempts: int | None
    max_attempts: int | None


class SchedulePage(BaseModel):
    """Some scheduled functions; ``cursor`` asks for the next ones and is null at the end."""

    schedules: list[ScheduleModel]
    cursor: str | None


class Canceled(BaseModel):
    """How many had not ended, and will not run now."""

    canceled: int


@router.get("", responses=documented(400, 401, 403, 404))
async def list_schedules(
    office: TheOffice,
    deployment: OwnDeployment,
    state: Annotated[list[str] | None, Query(description="Only those in one of these states.")] = None,
    function: Annotated[str | None, Query(description="Only those of this function.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: str | None = None,
) -> SchedulePage:
    """One page of the scheduled functions. It may be short, or empty, and still not be the last."""
    for each in state or ():
        if each not in STATES:
            raise InvalidField("state", f"a state is one of {', '.join(STATES)}", value=each[:40])
    wanted = Wanted(tuple(state or ()), None if function is None else _path(function))
    page = await office.overseer.page(deployment.name, wanted, limit, cursor)
    return SchedulePage(schedules=[schedule_model(each) for each in page.jobs], cursor=page.cursor)


@router.delete("", responses=documented(400, 401, 403, 404))
async def cancel_schedules(
    office: TheOffice,
    deployment: OwnDeployment,
    function: Annotated[str, Query(description="The function of which nothing is to run any more.")],
) -> Canceled:
    """Cancel everything that is scheduled of one function."""
    return Canceled(canceled=await office.overseer.cancel_all(deployment.name, _path(function)))


@router.get("/{id}", responses=documented(401, 403, 404))
async def show_schedule(office: TheOffice, deployment: OwnDeployment, id: ScheduleId) -> ScheduleModel:
    """One scheduled function; it is kept for a week after its end."""
    return schedule_model(await office.overseer.find(deployment.name, id))


@router.delete("/{id}", responses=documented(401, 403, 404))
async def cancel_schedule(office: TheOffice, deployment: OwnDeployment, id: ScheduleId) -> Canceled:
    """Let it never run. An action that runs already goes on, but what it schedules from now on is cancelled too."""
    return Canceled(canceled=int(await office.overseer.cancel(deployment.name, id)))


@router.post("/{id}/rerun", responses=documented(401, 403, 404, 409))
async def rerun_schedule(office: TheOffice, deployment: OwnDeployment, id: ScheduleId) -> ScheduleModel:
    """Run one that has failed once more, now, with the attempts that it had at first."""
    loaded = await office.deployments.load(deployment.name)
    if loaded is None:
        raise NotFound(f"there is no deployment {deployment.name!r} any more")
    if loaded.version is None:
        raise Conflict("nothing is deployed that could be run: push first")
    await office.overseer.run_again(deployment.name, loaded.version, id)
    return schedule_model(await office.overseer.find(deployment.name, id))


def schedule_model(document: dict[str, Any]) -> ScheduleModel:
    """A document of ``_scheduled_functions`` as clients of this API see it."""
    return ScheduleModel(
        id=document["_id"],
        function=document["name"],
        args=values.to_json(document["args"][0]),
        state=document["state"]["kind"],
        error=document["state"].get("error"),
        created_at=document["_creationTime"],
        scheduled_at=document["scheduledTime"],
        completed_at=document.get("completedTime"),
        attempts=document.get("attempts"),
        max_attempts=document["retry"]["maxAttempts"] if "retry" in document else None,
    )


def _path(text: str) -> str:
    try:
        return str(parse_function_path(text))
    except InvalidName as error:
        raise invalid_name("function", error) from None
