"""Which crons are there, when do they run, and how did they end?

They are written in ``crons.py`` and changed by a push; here they are looked at, and run out of turn.

Rules
1. A cron runs once at a time, also when somebody asks for a run: while one has not ended the answer is a 409.
"""

from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from control_plane.auth import OwnDeployment, TheOffice
from control_plane.bodies import JsonRoute
from control_plane.problems import documented
from runtime import limits
from runtime.errors import Conflict, NotFound
from runtime.execution.crons.crons import CronView
from runtime.protocol import values
from runtime.protocol.declaration import Calendar, Interval
from runtime.syscalls.scheduling.cron_records import CronRun
from runtime.syscalls.scheduling.records import Job

router = APIRouter(prefix="/v1/deployments/{name}/crons", tags=["crons"], route_class=JsonRoute)


class ScheduleOfCron(BaseModel):
    """When it runs: every so many seconds, or whenever a cron line says so in a time zone."""

    seconds: int | None = None
    line: str | None = None
    timezone: str | None = None


class CronRunModel(BaseModel):
    """One run that has ended. Times are milliseconds since 1970, ``duration`` is in milliseconds."""

    id: str
    request_id: str = Field(description="Under which its lines are in the log.")
    started_at: float
    duration: float
    state: str = Field(description="success or failed")
    error: str | None


class RunningModel(BaseModel):
    """A run that has not ended; one that waits for its turn has not begun."""

    id: str
    request_id: str
    state: str
    scheduled_at: float
    started_at: float | None


class CronModel(BaseModel):
    """One cron with its last runs, the newest first."""

    name: str
    function: str
    args: dict[str, Any]
    schedule: ScheduleOfCron
    next_run_at: float = Field(description="Milliseconds since 1970.")
    running: RunningModel | None
    last_runs: list[CronRunModel]


class CronList(BaseModel):
    """The crons of the active version, by name, and how many there may be."""

    crons: list[CronModel]
    limit: int


@router.get("", responses=documented(401, 403, 404))
async def list_crons(office: TheOffice, deployment: OwnDeployment) -> CronList:
    """Every cron of the active version."""
    views = await office.crons.look(deployment.name)
    return CronList(crons=[_cron(view) for view in views], limit=limits.CRONS)


@router.post("/{cron:path}/run", status_code=202, responses=documented(401, 403, 404, 409))
async def run_cron(
    office: TheOffice, deployment: OwnDeployment, cron: Annotated[str, Path(description="The cron's name.")]
) -> RunningModel:
    """Run it now, whenever its next run is."""
    loaded = await office.deployments.load(deployment.name)
    if loaded is None:
        raise NotFound(f"there is no deployment {deployment.name!r} any more")
    if loaded.paused:
        raise Conflict(f"{deployment.name!r} is paused: nothing runs there until it goes on")
    return _running(await office.crons.run_now(loaded, cron))


def _cron(view: CronView) -> CronModel:
    cron = view.cron
    return CronModel(
        name=cron.name,
        function=cron.function,
        args=values.to_json(values.decode_own(cron.args)),
        schedule=_schedule(cron.schedule),
        next_run_at=cron.next,
        running=_running(view.running) if view.running is not None else None,
        last_runs=[_run(run) for run in view.runs],
    )


def _schedule(schedule: Interval | Calendar) -> ScheduleOfCron:
    match schedule:
        case Interval():
            return ScheduleOfCron(seconds=schedule.seconds)
        case Calendar():
            return ScheduleOfCron(line=schedule.expression, timezone=schedule.timezone)
        case _:
            assert_never(schedule)


def _running(job: Job) -> RunningModel:
    return RunningModel(
        id=job.id,
        request_id=job.request or "",
        state=job.state.kind,
        scheduled_at=job.scheduled_time,
        started_at=job.started,
    )


def _run(run: CronRun) -> CronRunModel:
    return CronRunModel(
        id=run.id,
        request_id=run.request_id,
        started_at=run.started,
        duration=run.ended - run.started,
        state=run.state,
        error=run.error,
    )
