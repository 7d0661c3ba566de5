"""What do operators see of scheduled functions and crons through HTTP, and what can they do about them?"""

import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from runtime.names import DeploymentName, parse_function_path
from runtime.ports import LogQuery
from runtime.protocol import values
from runtime.protocol.declaration import (
    Calendar,
    CronDeclaration,
    Declaration,
    FunctionDeclaration,
    Interval,
    Kind,
    Visibility,
)
from runtime.syscalls.scheduling.duties import Pile
from runtime.syscalls.scheduling.records import FAILED, RetryTerms
from runtime.syscalls.scheduling.writing import find_duty, new_job, write_end, write_pending
from runtime.syscalls.transaction import Transactions
from tests.contracts.office_at_work import AtWork, CountingClock, office_at_work

MINE = DeploymentName("mine")
URL = "/v1/deployments/mine"
LATER = 1_800_000_000_000.0
FUNCTIONS = tuple(
    FunctionDeclaration(f"jobs:{name}", kind, Visibility.INTERNAL, "jobs.py", 1)
    for name, kind in (("tick", Kind.MUTATION), ("work", Kind.ACTION), ("look", Kind.QUERY))
)


@pytest.fixture
async def office() -> AsyncIterator[AtWork]:
    """The office at work, with one deployment."""
    async with office_at_work() as work:
        await work.create(MINE)
        yield work


def cron(name: str, schedule: Interval | Calendar, function: str = "jobs:tick") -> CronDeclaration:
    return CronDeclaration(name, schedule, function, values.encode({"n": 1}), "crons.py", 1)


async def push(office: AtWork, *crons: CronDeclaration) -> httpx.Response:
    """Push a bundle that declares these."""
    out = io.BytesIO()
    declaration = msgspec.json.encode(Declaration(FUNCTIONS, crons=crons))
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, content in (("declaration.json", declaration), ("jobs.py", b"j\n"), ("crons.py", b"c\n" * 9)):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    headers = {"content-type": "application/gzip"}
    return await office.http.post(f"{URL}/pushes", content=out.getvalue(), headers=headers)


async def schedule(office: AtWork, function: str, *, fails: str | None = None, retry: RetryTerms | None = None) -> str:
    """Schedule a function; ``fails`` lets it have run, and failed."""
    transaction = await Transactions(office.documents, CountingClock()).begin(MINE)
    args = values.encode({"n": values.Int64(7)})
    job = new_job(transaction, parse_function_path(function), args, LATER, retry)
    write_pending(transaction, job, Pile.MUTATIONS)
    if fails is not None:
        write_end(transaction, job, await find_duty(transaction, job.id), FAILED, fails)
    await transaction.commit()
    return job.id


async def listed(office: AtWork, **asked: Any) -> list[str]:
    """The ids of a page of scheduled functions."""
    answer = await office.http.get(f"{URL}/schedules", params=asked)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["schedules"]]


# --- scheduled functions ----------------------------------------------------------------------------------------------


async def test_a_scheduled_function_is_shown_whole(office: AtWork) -> None:
    id = await schedule(office, "jobs:work", retry=RetryTerms(3, 1.0, 2.0, 0.5))
    shown = (await office.http.get(f"{URL}/schedules/{id}")).json()
    created = shown.pop("created_at")
    assert created > 0
    assert shown == {
        "id": id,
        "function": "jobs:work",
        "args": {"n": {"$integer": "BwAAAAAAAAA="}},
        "state": "pending",
        "error": None,
        "scheduled_at": LATER,
        "completed_at": None,
        "attempts": 0,
        "max_attempts": 3,
    }
    assert (await office.http.get(f"{URL}/schedules")).json() == {
        "schedules": [{**shown, "created_at": created}],
        "cursor": None,
    }


async def test_they_are_found_by_state_and_function_page_by_page(office: AtWork) -> None:
    ticks = [await schedule(office, "jobs:tick") for _ in range(3)]
    work = await schedule(office, "jobs:work")
    failed = await schedule(office, "jobs:work", fails="no")
    assert set(await listed(office)) == {*ticks, work, failed}
    assert await listed(office, state="failed") == [failed]
    assert set(await listed(office, function="jobs:work")) == {work, failed}
    assert await listed(office, function="jobs:work", state="pending") == [work]
    assert set(await listed(office, state=["pending", "failed"])) == {*ticks, work, failed}
    found: list[str] = []
    cursor = None
    while True:
        asked: dict[str, str | int] = {"limit": 2, "state": "pending", **({"cursor": cursor} if cursor else {})}
        page = (await office.http.get(f"{URL}/schedules", params=asked)).json()
        found += [each["id"] for each in page["schedules"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted([*ticks, work])


@pytest.mark.parametrize(
    "asked, field",
    [({"state": "done"}, "state"), ({"function": "no path!"}, "function"), ({"limit": 0}, "limit")],
)
async def test_what_is_asked_wrongly_is_named(office: AtWork, asked: dict[str, Any], field: str) -> None:
    answer = await office.http.get(f"{URL}/schedules", params=asked)
    assert answer.status_code in (400, 422)
    assert field in answer.json()["errors"][0]["field"]
    assert (await office.http.get(f"{URL}/schedules", params={"cursor": "%%%"})).status_code == 400


async def test_one_or_all_of_a_function_are_cancelled(office: AtWork) -> None:
    ticks = [await schedule(office, "jobs:tick") for _ in range(3)]
    work = await schedule(office, "jobs:work")
    assert (await office.http.delete(f"{URL}/schedules/{ticks[0]}")).json() == {"canceled": 1}
    assert (await office.http.delete(f"{URL}/schedules/{ticks[0]}")).json() == {"canceled": 0}
    everything = await office.http.delete(f"{URL}/schedules", params={"function": "jobs:tick"})
    assert everything.json() == {"canceled": 2}
    assert await listed(office, state="pending") == [work]
    assert set(await listed(office, state="canceled")) == set(ticks)
    assert (await office.http.delete(f"{URL}/schedules")).status_code in (400, 422)


async def test_what_has_failed_is_run_again_and_nothing_else_is(office: AtWork) -> None:
    failed = await schedule(office, "jobs:tick", fails="no")
    pending = await schedule(office, "jobs:tick")
    nobody = await office.http.post(f"{URL}/schedules/{failed}/rerun")
    assert (nobody.status_code, "push first" in nobody.text) == (409, True)
    assert (await push(office)).status_code == 201
    again = await office.http.post(f"{URL}/schedules/{failed}/rerun")
    assert (again.status_code, again.json()["state"], again.json()["error"]) == (200, "pending", None)
    assert (await office.http.post(f"{URL}/schedules/{pending}/rerun")).status_code == 409


async def test_what_is_not_there_is_not_found(office: AtWork) -> None:
    for method, path in (("GET", "x"), ("DELETE", "x"), ("POST", "x/rerun"), ("GET", "0" * 31)):
        await push(office)
        answer = await office.http.request(method, f"{URL}/schedules/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


# --- crons ------------------------------------------------------------------------------------------------------------


async def crons(office: AtWork) -> list[dict[str, Any]]:
    answer = await office.http.get(f"{URL}/crons")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["crons"]
    return found


async def test_a_push_brings_crons_and_a_rollback_the_earlier_ones(office: AtWork) -> None:
    assert await crons(office) == []
    await push(office, cron("a/b c", Interval(30)), cron("report", Calendar("0 9 * * *", "Europe/Lisbon"), "jobs:work"))
    first, report = await crons(office)
    assert first.pop("next_run_at") > 0
    assert first == {
        "name": "a/b c",
        "function": "jobs:tick",
        "args": {"n": 1},
        "schedule": {"seconds": 30, "line": None, "timezone": None},
        "running": None,
        "last_runs": [],
    }
    assert report["schedule"] == {"seconds": None, "line": "0 9 * * *", "timezone": "Europe/Lisbon"}
    await push(office, cron("other", Interval(30)))
    assert [each["name"] for each in await crons(office)] == ["other"]
    assert (await office.http.post(f"{URL}/rollback", json={"version": 1})).status_code == 200
    assert [each["name"] for each in await crons(office)] == ["a/b c", "report"]


async def test_a_wrong_cron_refuses_the_push_and_changes_nothing(office: AtWork) -> None:
    await push(office, cron("a", Interval(30)))
    answer = await push(office, cron("a", Calendar("61 * * * *")), cron("b", Interval(30), "jobs:look"))
    assert answer.status_code == 422
    assert [(each["file"], each["line"]) for each in answer.json()["diagnostics"]] == [("crons.py", 1)] * 2
    assert "no minute '61'" in answer.text
    assert "jobs:look, which is a query" in answer.text
    assert [each["schedule"]["seconds"] for each in await crons(office)] == [30]


async def test_a_cron_is_run_out_of_turn_once_at_a_time(office: AtWork) -> None:
    await push(office, cron("a/b c", Interval(30)))
    begun = await office.http.post(f"{URL}/crons/a%2Fb%20c/run")
    assert (begun.status_code, begun.json()["state"]) == (202, "pending")
    assert (await crons(office))[0]["running"] == begun.json()
    again = await office.http.post(f"{URL}/crons/a%2Fb%20c/run")
    assert (again.status_code, again.json()["code"]) == (409, "Conflict")
    assert (await office.http.post(f"{URL}/crons/nothing/run")).status_code == 404


async def test_a_deployment_that_is_paused_runs_nothing_and_skips_what_was_due(office: AtWork) -> None:
    await push(office, cron("a", Interval(30)))
    await office.http.patch(URL, json={"paused": True})
    answer = await office.http.post(f"{URL}/crons/a/run")
    assert (answer.status_code, "is paused" in answer.text) == (409, True)
    before = (await crons(office))[0]["next_run_at"]
    await office.http.patch(URL, json={"paused": False})
    assert (await crons(office))[0]["next_run_at"] == before + 30_000
    entries = await office.logs.read(MINE, LogQuery())
    assert entries[-1].text == "cron 'a': a run was skipped while the deployment was paused"


async def test_the_keys_of_others_open_nothing(office: AtWork) -> None:
    others = await office.create("other")
    for method, path in (("GET", "schedules"), ("GET", "crons"), ("POST", "crons/a/run"), ("DELETE", "schedules/x")):
        answer = await office.http.request(method, f"{URL}/{path}", headers=others)
        assert answer.status_code == 403, path
