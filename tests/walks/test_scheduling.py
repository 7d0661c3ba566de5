"""A tenant's functions schedule each other, behind the wall, and what is due is done."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.invocation import Invocation, Succeeded
from runtime.main import Router, SystemClock, open_cellar, run_router
from runtime.names import DeploymentName, RequestIds, parse_function_path
from runtime.ports import LogQuery
from runtime.protocol import values
from runtime.settings import read_settings
from runtime.syscalls.scheduling.overseeing import Overseer, Wanted

NAME = DeploymentName("happy-otter-123")
BUNDLE = {
    "jobs.py": b"""
from datetime import UTC, datetime, timedelta
from runtime import Retry, action, internal, internal_mutation, mutation, query

@mutation
async def begin(ctx, text: str):
    await ctx.scheduler.run_after(0, internal.jobs.note, text=text)
    await ctx.scheduler.run_at(datetime.now(UTC), fetch_it, {"text": text}, retry=Retry(max_attempts=2, backoff=0))
    later = await ctx.scheduler.run_after(timedelta(hours=1), "jobs:note", {"text": "never"})
    await ctx.scheduler.cancel(later)
    return later

@internal_mutation
async def note(ctx, text: str) -> None:
    print("noting", text)
    await ctx.db.insert("notes", {"text": text})

@action
async def fetch_it(ctx, text: str):
    if await ctx.run_mutation(count) == 1:
        await ctx.scheduler.run_after(0, note, text=text + " by an action")
        raise ValueError("not yet")

@internal_mutation
async def count(ctx) -> int:
    await ctx.db.insert("attempts", {})
    return await ctx.db.query("attempts").count()

@query
async def seen(ctx):
    return sorted([note["text"] async for note in ctx.db.query("notes")])

@query
async def state(ctx, id: str):
    return (await ctx.db.system.get(id))["state"]

@mutation
async def ignite(ctx):
    return await ctx.scheduler.run_after(0, burn)

@internal_mutation
async def burn(ctx):
    await ctx.db.insert("notes", {"text": "burnt"})
    while True:
        pass
""",
}


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Router]:
    settings = read_settings(None, {"WARREN_ADMIN_KEY": "k" * 32, "WARREN_DATA": str(tmp_path)})
    clock = SystemClock()
    async with open_cellar(settings, clock) as cellar, run_router(settings, cellar, clock, 1) as router:
        await cellar.registry.deployments.create(NAME, clock.now())
        declaration = await router.analyst.analyse(NAME, BUNDLE, {})
        await cellar.registry.versions.add(NAME, "0" * 64, BUNDLE, declaration, clock.now())
        router.directory.forget(NAME)
        yield router


async def call(router: Router, path: str, args: Mapping[str, Any] | None = None) -> Any:
    deployment = await router.directory.find(NAME)
    assert deployment is not None and deployment.version is not None
    kind = deployment.version.functions[path].kind
    encoded, request_id = values.encode(dict(args or {})), RequestIds().next()
    outcome = await router.conductor.run(
        Invocation(deployment, deployment.version, parse_function_path(path), kind, encoded, request_id)
    )
    assert isinstance(outcome, Succeeded), outcome
    return values.decode(outcome.value)


async def until_done(router: Router) -> None:
    overseer = Overseer(router.transactions)
    while (await overseer.page(NAME, Wanted(("pending", "inProgress")), 1)).jobs:
        await router.jobs.shift(NAME)
        await router.jobs.actions.idle()


async def test_functions_schedule_and_cancel_each_other_and_each_is_run_once(router: Router) -> None:
    canceled = await call(router, "jobs:begin", {"text": "a"})
    await until_done(router)
    assert await call(router, "jobs:seen") == ["a", "a by an action"]
    assert await call(router, "jobs:state", {"id": canceled}) == {"kind": "canceled"}
    said = await router.cellar.logs.read(NAME, LogQuery())
    (noted,) = [entry for entry in said if "noting a by" in entry.text]
    ends = [entry for entry in said if entry.kind == "request" and entry.request_id == noted.request_id]
    assert [entry.text.partition(" in ")[0] for entry in ends] == ["scheduled mutation jobs:note done"]
    failures = [entry for entry in said if entry.kind == "request" and "fetch_it failed" in entry.text]
    assert [entry.text.rpartition(": ")[2] for entry in failures] == ["ValueError"]


async def test_a_scheduled_mutation_that_burns_its_time_has_failed_and_left_nothing(router: Router) -> None:
    id = await call(router, "jobs:ignite")
    await until_done(router)
    state = await call(router, "jobs:state", {"id": id})
    assert state["kind"] == "failed"
    assert "TimeLimit" in state["error"]
    assert await call(router, "jobs:seen") == []
