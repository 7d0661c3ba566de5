"""A cron runs when it is due, once at a time, and is what the active version says, on every store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime import limits
from runtime.errors import Conflict, NotFound
from runtime.invocation import Outcome
from runtime.ports import LogQuery
from runtime.protocol.declaration import Calendar, Interval
from runtime.syscalls.transaction import Transaction
from tests.contracts.cron_house import HOUR, MINUTE, NAME, NOON, SECOND, CronHouse, cron, failed
from tests.contracts.index_oracle import stores
from tests.postgres_server import OwnDocuments, PostgresServer

EVERY_TEN = Interval(10)
HOURLY = Calendar("0 * * * *")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def house(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[CronHouse]:
    store = OwnDocuments(postgres.fresh()) if request.param == "postgres" else stores(lambda: tmp_path)[request.param]()
    made = CronHouse(store)
    await made.open()
    yield made
    await made.close()
    await store.close()


# --- running ----------------------------------------------------------------------------------------------------------


async def test_an_interval_runs_when_it_is_deployed_and_then_on_its_beat(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN, kind="all"))
    assert house.agenda.moments[-1] == NOON
    assert await house.work() == NOON + 10 * SECOND
    assert await house.pass_time(9_999) == NOON + 10 * SECOND
    assert house.times == [0]
    await house.pass_time(1)
    await house.pass_time(13 * SECOND)
    await house.pass_time(7 * SECOND)
    assert house.times == [0, 10, 23, 30]
    assert house.ran[0][1:] == ("jobs:tick", {"kind": "all"})
    assert await house.said() == []


async def test_a_line_first_runs_at_its_time(house: CronHouse) -> None:
    await house.push(cron("report", Calendar("30 * * * *")), cron("lisbon", Calendar("0 14 * * *", "Europe/Lisbon")))
    assert await house.work() == NOON + HOUR / 2
    await house.pass_time(30 * MINUTE)
    await house.pass_time(60 * MINUTE)
    await house.pass_time(30 * MINUTE)
    assert house.times == [30 * 60, 90 * 60, 120 * 60]


async def test_what_is_remembered_of_a_run(house: CronHouse) -> None:
    async def fail(transaction: Transaction | None) -> Outcome:
        house.clock.time += 250
        return failed("no more " + "x" * 5_000)

    house.program = fail
    await house.push(cron("sweep", EVERY_TEN))
    await house.work()
    (view,) = await house.crons.look(NAME)
    (run,) = view.runs
    assert view.running is None
    assert (run.started, run.ended, run.state) == (NOON, NOON + 250, "failed")
    assert run.error is not None
    assert run.error.startswith("ValueError: no more xxx")
    assert len(run.error) == limits.CRON_ERROR_CHARACTERS + 1
    entries = await house.logs.read(NAME, LogQuery())
    assert [entry.request_id for entry in entries if entry.kind == "request"] == [run.request_id]


async def test_the_last_five_runs_are_remembered_the_newest_first(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), cron("sweep2", EVERY_TEN))
    for _ in range(8):
        await house.work()
        house.clock.time += 10 * SECOND
    for view in await house.crons.look(NAME):
        assert [(run.started - NOON) / SECOND for run in view.runs] == [70, 60, 50, 40, 30]


async def test_nothing_is_left_of_runs_that_have_ended(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), cron("act", EVERY_TEN, "jobs:work"))
    await house.work()
    await house.jobs.actions.idle()
    # A record that is kept for a week would have to be forgotten some time.
    assert await house.work() == NOON + 10 * SECOND


async def test_an_action_is_run_by_a_cron_too(house: CronHouse) -> None:
    await house.push(cron("act", EVERY_TEN, "jobs:work", n=1))
    await house.work()
    await house.jobs.actions.idle()
    assert house.ran == [(NOON, "jobs:work", {"n": 1})]
    (view,) = await house.crons.look(NAME)
    assert [run.state for run in view.runs] == ["success"]


async def test_two_workers_begin_one_run(house: CronHouse) -> None:
    await house.push(cron("act", EVERY_TEN, "jobs:work"))
    other = house.another_worker()
    for _ in range(3):
        await asyncio.gather(house.jobs.shift(NAME), other.shift(NAME))
    await house.jobs.actions.idle()
    await other.actions.idle()
    assert house.times == [0]


# --- skipping ---------------------------------------------------------------------------------------------------------


async def test_runs_are_skipped_until_the_one_before_has_ended_and_said_so(house: CronHouse) -> None:
    await house.push(cron("act", EVERY_TEN, "jobs:work"))
    over = house.held()
    await house.work()
    for _ in range(3):
        await house.pass_time(10 * SECOND)
    assert house.times == [0]
    assert await house.said() == ["cron 'act': a run was skipped: the run before has not ended"]
    (view,) = await house.crons.look(NAME)
    assert view.running is not None
    assert (view.running.state.kind, view.running.started) == ("inProgress", NOON)
    over.set()
    await house.jobs.actions.idle()
    await house.pass_time(10 * SECOND)
    await house.jobs.actions.idle()
    assert house.times == [0, 40]
    assert (await house.said())[1:] == ["cron 'act': 3 runs were skipped until the run before had ended"]


async def test_of_several_missed_runs_only_the_last_is_run_if_it_is_not_late(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), cron("report", HOURLY))
    await house.work()
    await house.pass_time(3 * HOUR + 5 * SECOND)
    assert house.times == [0, 3 * 3600 + 5, 3 * 3600 + 5]
    assert sorted(await house.said()) == [
        "cron 'report': 2 runs were skipped: nobody was there to run it when it was due",
        "cron 'sweep': 1079 runs were skipped: nobody was there to run it when it was due",
    ]
    assert await house.next_runs() == {"sweep": 3 * 3600 + 10, "report": 4 * 3600}


async def test_a_run_that_is_too_late_is_skipped(house: CronHouse) -> None:
    await house.push(cron("report", HOURLY))
    await house.pass_time(HOUR + limits.CRON_LATENESS + 1)
    assert house.ran == []
    assert await house.said() == ["cron 'report': a run was skipped: nobody was there to run it when it was due"]
    assert await house.next_runs() == {"report": 2 * 3600}


async def test_more_than_a_hundred_missed_runs_of_a_line_are_not_counted(house: CronHouse) -> None:
    await house.push(cron("often", Calendar("* * * * *")))
    await house.pass_time(1_000 * HOUR)
    assert await house.said() == [
        "cron 'often': 100 runs or more were skipped: nobody was there to run it when it was due"
    ]
    assert await house.next_runs() == {"often": 1_000 * 3_600 + 60}


async def test_a_zone_that_is_not_known_any_more_is_said_so_once_a_day(house: CronHouse) -> None:
    await house.push(cron("old", Calendar("0 * * * *", "Atlantis/Capital")), cron("sweep", Interval(60)))
    await house.work()
    assert house.times == [0]
    (said,) = await house.said()
    assert said.startswith("cron 'old': cannot run any more, change it and push again: there is no time zone")
    assert (await house.next_runs())["old"] == 24 * 3_600


async def test_a_zone_that_is_not_known_any_more_keeps_no_deployment_paused(house: CronHouse) -> None:
    await house.push(cron("old", Calendar("0 * * * *", "Atlantis/Capital")), cron("sweep", EVERY_TEN))
    await house.pause(True)
    await house.pass_time(15 * SECOND)
    await house.pause(False)
    assert await house.said() == ["cron 'sweep': 2 runs were skipped while the deployment was paused"]
    await house.work()
    (_, said) = await house.said()
    assert said.startswith("cron 'old': cannot run any more")


async def test_what_was_due_while_a_deployment_was_paused_is_skipped(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN))
    await house.work()
    await house.pause(True)
    assert await house.pass_time(25 * SECOND) is None
    await house.pause(False)
    assert await house.said() == ["cron 'sweep': 2 runs were skipped while the deployment was paused"]
    assert await house.work() == NOON + 30 * SECOND
    await house.pass_time(5 * SECOND)
    assert house.times == [0, 30]


# --- one version after the other --------------------------------------------------------------------------------------


async def test_an_unchanged_schedule_keeps_its_next_run_and_runs_what_is_new(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), cron("report", HOURLY))
    await house.work()
    house.clock.time += 4 * SECOND
    await house.push(cron("sweep", EVERY_TEN, "jobs:work", n=2), cron("report", HOURLY))
    assert await house.next_runs() == {"sweep": 10, "report": 3600}
    await house.pass_time(6 * SECOND)
    await house.jobs.actions.idle()
    assert house.ran[1:] == [(NOON + 10 * SECOND, "jobs:work", {"n": 2})]
    (_, sweep) = await house.crons.look(NAME)
    assert len(sweep.runs) == 2


async def test_a_changed_schedule_begins_anew(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), cron("report", HOURLY))
    await house.work()
    house.clock.time += 4 * SECOND
    await house.push(cron("sweep", Interval(60)), cron("report", Calendar("15 * * * *")))
    assert await house.next_runs() == {"sweep": 4, "report": 900}


async def test_a_cron_that_is_gone_does_not_run_any_more_and_comes_back_as_new(house: CronHouse) -> None:
    first = await house.push(cron("sweep", EVERY_TEN), cron("report", HOURLY))
    await house.work()
    await house.push(cron("report", HOURLY))
    assert await house.pass_time(10 * SECOND) == NOON + HOUR
    assert house.times == [0]
    await house.registry.versions.activate(NAME, first)
    await house.crons.settle(NAME)
    assert await house.next_runs() == {"sweep": 10, "report": 3600}
    (_, sweep) = await house.crons.look(NAME)
    assert sweep.runs == []
    await house.work()
    assert house.times == [0, 10]


async def test_a_run_that_has_begun_finishes_and_the_cron_that_came_back_waits_for_it(house: CronHouse) -> None:
    await house.push(cron("act", EVERY_TEN, "jobs:work"))
    over = house.held()
    await house.work()
    await house.push()
    assert await house.crons.look(NAME) == []
    await house.push(cron("act", EVERY_TEN, "jobs:work"))
    await house.work()
    assert house.times == [0]
    over.set()
    await house.jobs.actions.idle()
    await house.pass_time(10 * SECOND)
    await house.jobs.actions.idle()
    assert house.times == [0, 10]


async def test_a_function_that_is_gone_fails_and_is_tried_again_at_the_next_time(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN, "jobs:nothing"))
    await house.work()
    (view,) = await house.crons.look(NAME)
    assert view.running is None
    assert [run.state for run in view.runs] == ["failed"]
    assert "Could not find function for 'jobs:nothing'" in (view.runs[0].error or "")


async def test_settling_twice_changes_nothing(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN))
    await house.work()
    transaction = await house.transactions.begin(NAME)
    before = transaction.position
    transaction.abandon()
    await house.crons.settle(NAME)
    transaction = await house.transactions.begin(NAME)
    assert transaction.position == before
    transaction.abandon()


async def test_a_crash_after_the_switch_is_made_up_for_by_whoever_looks_next(house: CronHouse) -> None:
    await house.push(cron("sweep", EVERY_TEN), settled=False)
    assert await house.crons.look(NAME) == []
    assert await house.jobs.next(NAME) == NOON
    await house.work()
    assert house.times == [0]
    await house.push(settled=False)
    assert await house.jobs.next(NAME) is None


async def test_two_pushes_at_once_end_with_the_crons_of_the_active_version(house: CronHouse) -> None:
    await house.push(cron("one", EVERY_TEN), settled=False)
    await asyncio.gather(house.crons.settle(NAME), house.push(cron("two", EVERY_TEN)), house.crons.settle(NAME))
    assert list(await house.next_runs()) == ["two"]


# --- out of turn ------------------------------------------------------------------------------------------------------


async def test_a_cron_can_be_run_out_of_turn_and_keeps_its_time(house: CronHouse) -> None:
    await house.push(cron("report", HOURLY))
    job = await house.crons.run_now(await house.here(), "report")
    await house.work()
    assert house.times == [0]
    assert await house.next_runs() == {"report": 3600}
    (view,) = await house.crons.look(NAME)
    assert [run.id for run in view.runs] == [job.id]
    assert [run.request_id for run in view.runs] == [job.request]


async def test_it_is_not_run_out_of_turn_while_it_runs(house: CronHouse) -> None:
    await house.push(cron("act", HOURLY, "jobs:work"))
    over = house.held()
    await house.crons.run_now(await house.here(), "act")
    with pytest.raises(Conflict, match=r"has a run that has not ended \(pending\)"):
        await house.crons.run_now(await house.here(), "act")
    await house.work()
    with pytest.raises(Conflict, match="one at a time"):
        await house.crons.run_now(await house.here(), "act")
    over.set()
    await house.jobs.actions.idle()
    await house.crons.run_now(await house.here(), "act")


async def test_nobody_runs_a_cron_that_is_not_there(house: CronHouse) -> None:
    await house.push()
    with pytest.raises(NotFound, match="there is no cron 'x'"):
        await house.crons.run_now(await house.here(), "x")
