"""Crons on a whole server: they run, a push changes them, a rollback brings them back, and a terminal shows them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from click.testing import CliRunner, Result

from control_plane.cli.main import main
from tests.conftest import LiveServer, Tenant
from tests.postgres_server import PostgresServer
from tests.walks.test_parts import Parts, wait_until

Warren = Callable[..., Result]
Found = TypeVar("Found")

JOBS = """
from runtime import ApplicationError, action, internal, internal_action, internal_mutation, mutation, query

@internal_mutation
async def beat(ctx, name: str) -> None:
    await ctx.db.insert("beats", {"name": name})
    print("beat", name)

@internal_action
async def work(ctx, name: str) -> None:
    await ctx.run_mutation(internal.jobs.beat, {"name": name})

@internal_action
async def refuse(ctx) -> None:
    print("I would rather not")
    raise ApplicationError("closed")

@mutation
async def later(ctx, seconds: float) -> str:
    return await ctx.scheduler.run_after(seconds, internal.jobs.beat, {"name": "later"})

@mutation
async def soon_fails(ctx) -> str:
    return await ctx.scheduler.run_after(0, internal.jobs.refuse)

@query
async def beats(ctx, name: str) -> int:
    return len([one for one in await ctx.db.query("beats").collect() if one["name"] == name])
"""
START = "from runtime import Crons, internal\ncrons = Crons()\n"
BEAT = "internal.jobs.beat, {'name': 'a'}"


def bundle(*lines: str) -> dict[str, str]:
    """The functions, and these crons."""
    return {"jobs.py": JOBS, "crons.py": START + "\n".join(lines) + "\n"}


def every_second(name: str, function: str = "beat") -> str:
    return f"crons.interval('{name}', internal.jobs.{function}, {{'name': '{name}'}}, seconds=1)"


@contextmanager
def listening(tenant: Tenant) -> Iterator[Iterator[dict[str, Any]]]:
    """What its log says from now on."""
    path, headers = f"/v1/deployments/{tenant.name}/logs", {"Authorization": f"Bearer {tenant.key}"}
    address = f"http://127.0.0.1:{tenant.server.port}"
    with (
        httpx.Client(base_url=address, timeout=30, trust_env=False) as http,
        http.stream("GET", path, params={"follow": "true"}, headers=headers) as lines,
    ):
        yield (json.loads(line) for line in lines.iter_lines() if line)


def hear(log: Iterator[dict[str, Any]], text: str, times: int = 1) -> dict[str, Any]:
    """Wait until the log has said this so often; the last entry."""
    for entry in log:
        times -= text in entry["text"]
        if times == 0:
            return entry
    raise AssertionError(f"the log ended before it said {text!r}")


def until(look: Callable[[], Found]) -> Found:
    """Look until there is something; fail when there never is."""
    for _ in range(1_000):
        if found := look():
            return found
    raise AssertionError("there is still nothing")


def beats(tenant: Tenant, name: str) -> int:
    """How often this cron has written."""
    return int(tenant.run("jobs:beats", {"name": name})["value"])


def crons(tenant: Tenant) -> dict[str, dict[str, Any]]:
    """Every cron, by its name."""
    answer = tenant.control("GET", "crons")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["crons"]}


def commands(tenant: Tenant) -> Warren:
    """The command, with this tenant's key."""
    address = f"http://127.0.0.1:{tenant.server.port}"
    environment = {"WARREN_URL": address, "WARREN_DEPLOY_KEY": tenant.key, "COLUMNS": "200"}
    return lambda *arguments: CliRunner().invoke(main, list(arguments), env=environment)


def test_a_cron_runs_until_a_push_removes_it_and_again_after_a_rollback(server: LiveServer) -> None:
    tenant = server.tenant()
    with listening(tenant) as log:
        assert tenant.push(bundle(every_second("mutation"), every_second("action", "work"))).status_code == 201
        hear(log, "beat mutation", 2)
        assert tenant.push(bundle(every_second("witness"))).status_code == 201
        # What had begun may end after the push.
        hear(log, "beat witness", 2)
        gone = beats(tenant, "mutation"), beats(tenant, "action")
        assert min(gone) >= 1
        hear(log, "beat witness", 3)
        assert (beats(tenant, "mutation"), beats(tenant, "action")) == gone
        assert list(crons(tenant)) == ["witness"]
        assert tenant.control("POST", "rollback", json={"version": 1}).status_code == 200
        hear(log, "beat mutation", 2)
        assert sorted(crons(tenant)) == ["action", "mutation"]


def test_the_lines_of_a_run_are_found_by_its_request(server: LiveServer) -> None:
    tenant = server.tenant()
    with listening(tenant) as log:
        tenant.push(bundle("crons.interval('refused', internal.jobs.refuse, hours=1)"))
        ended = hear(log, "failed")
    # The end of an action is written down after it was told.
    (run,) = until(lambda: crons(tenant)["refused"]["last_runs"])
    assert (run["state"], run["request_id"]) == ("failed", ended["request_id"])
    assert "closed" in run["error"]
    assert 0 <= run["duration"] < 60_000
    assert "I would rather not" in tenant.log(request_id=run["request_id"])


def test_a_cron_runs_on_after_the_server_was_killed(own_server: LiveServer) -> None:
    tenant = own_server.tenant(bundle(every_second("beat")))
    with listening(tenant) as log:
        hear(log, "beat beat", 2)
    own_server.kill()
    own_server.start()
    with listening(tenant) as log:
        hear(log, "beat beat", 2)
    states = {run["state"] for run in crons(tenant)["beat"]["last_runs"]}
    assert states == {"success"}


@pytest.mark.parametrize(
    "line, words",
    [
        (f"crons.interval('a', {BEAT}, seconds=0)", "seconds is 0"),
        (f"crons.cron('a', '0 0 30 2 *', {BEAT})", "no day of the month '30' in these months"),
        (f"crons.daily('a', {BEAT}, hour=1, timezone='Mars/Base')", "no time zone 'Mars/Base'"),
        ("crons.daily('a', internal.jobs.nothing, hour=1)", "there is no such function"),
        ("crons.daily('a', internal.jobs.beats, {'name': 'a'}, hour=1)", "which is a query"),
    ],
)
def test_a_cron_that_cannot_be_is_refused_with_its_line(server: LiveServer, line: str, words: str) -> None:
    tenant = server.tenant(bundle("crons.daily('kept', internal.jobs.beat, {'name': 'kept'}, hour=1)"))
    answer = tenant.push(bundle("", line))
    assert answer.status_code == 422
    (found,) = answer.json()["diagnostics"]
    assert (found["file"], found["line"]) == ("crons.py", 4)
    assert words in found["message"]
    assert list(crons(tenant)) == ["kept"]


def test_the_terminal_shows_crons_and_runs_one(server: LiveServer) -> None:
    tenant = server.tenant()
    warren = commands(tenant)
    assert "has no crons" in warren("crons", "list").output
    tenant.push(
        bundle(
            "crons.cron('the report', '0 9 * * MON-FRI', internal.jobs.beat, {'name': 'r'}, timezone='Europe/Lisbon')",
            "crons.interval('sweep', internal.jobs.refuse, hours=2)",
        )
    )
    with listening(tenant) as log:
        run = warren("crons", "run", "the report")
        assert run.exit_code == 0, run.output
        hear(log, "beat r")
        ended = hear(log, "scheduled mutation jobs:beat done")
    assert f"warren logs --request-id {ended['request_id']}" in run.output
    listed = warren("crons", "list").output
    assert "0 9 * * MON-FRI (Europe/Lisbon)" in listed
    assert "every 2 h" in listed
    assert "✓" in listed
    (_, report) = json.loads(warren("crons", "list", "--json").output)
    assert report["last_runs"][0]["state"] == "success"
    assert "beat r" in warren("logs", "--request-id", ended["request_id"]).output
    missing = warren("crons", "run", "nothing")
    assert (missing.exit_code, "There is no cron 'nothing'" in missing.output) == (1, True)


def test_the_terminal_shows_cancels_and_retries_what_is_scheduled(server: LiveServer) -> None:
    tenant = server.tenant({"jobs.py": JOBS})
    warren = commands(tenant)
    assert "has nothing scheduled" in warren("schedules", "list").output
    later = [tenant.run("jobs:later", {"seconds": 3600})["value"] for _ in range(3)]
    with listening(tenant) as log:
        failing = tenant.run("jobs:soon_fails")["value"]
        hear(log, "scheduled action jobs:refuse failed")
        until(lambda: tenant.control("GET", "schedules", params={"state": "failed"}).json()["schedules"])
        listed = warren("schedules", "list").output
        assert all(id in listed for id in [*later, failing])
        assert "closed" in warren("schedules", "list", "--state", "failed").output
        assert json.loads(warren("schedules", "show", failing).output)["state"] == "failed"
        cancelled = warren("schedules", "cancel", later[0])
        assert "1 cancelled" in cancelled.output
        again = warren("schedules", "cancel", later[0])
        assert (again.exit_code, "ended already" in again.output) == (1, True)
        assert json.loads(warren("schedules", "cancel", "--function", "jobs:beat", "--yes", "--json").output) == {
            "canceled": 2
        }
        assert "runs again: jobs:refuse" in warren("schedules", "retry", failing).output
        hear(log, "scheduled action jobs:refuse failed")
    assert warren("schedules", "retry", later[0]).exit_code == 1
    assert warren("schedules", "cancel").exit_code == 2


def test_crons_of_a_control_plane_run_on_workers_whichever_of_them_and_redis_are_killed(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    parts = Parts(tmp_path, postgres.fresh())
    try:
        made = parts.control_plane.tenant(bundle(every_second("beat"), every_second("act", "work")))
        tenant = Tenant(parts.router, made.name, made.key)
        victim = parts.start_worker()
        wait_until(lambda: min(beats(tenant, "beat"), beats(tenant, "act")) >= 2)
        parts.start_worker()
        victim.kill()
        parts.redis.kill()
        parts.redis.wait()
        parts.redis = parts.start_redis()
        before = beats(tenant, "beat")
        wait_until(lambda: beats(tenant, "beat") >= before + 3, 120)
        made.push(bundle(every_second("witness")))
        wait_until(lambda: beats(tenant, "witness") >= 2)
        gone = beats(tenant, "beat")
        wait_until(lambda: beats(tenant, "witness") >= 5)
        assert beats(tenant, "beat") == gone
        assert list(crons(made)) == ["witness"]
    finally:
        parts.stop()
