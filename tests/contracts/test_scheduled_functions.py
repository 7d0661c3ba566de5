"""Does what is scheduled run, when it is due, and as often as was promised? On every store that there is."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime import limits
from runtime.errors import IsolateLost
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from tests.contracts.jobs_house import NAME, NOON, Dead, JobsHouse, Worker

WEEK = 604_800_000


@pytest.fixture
def house(jobs_house: JobsHouse) -> JobsHouse:
    """One deployment on one store, with the functions that most tests need."""
    return jobs_house


# --- when -------------------------------------------------------------------------------------------------------------


async def test_a_mutation_runs_when_it_is_due_and_never_before(house: JobsHouse) -> None:
    await house.schedule("m:note", 10, text="late")
    assert house.agenda.moments == {NAME: NOON + 10_000}
    assert await house.shift() == NOON + 10_000
    house.clock.milliseconds += 9_999.999
    assert await house.shift() == NOON + 10_000
    assert await house.states() == ["pending"]
    house.clock.milliseconds = NOON + 10_000
    assert await house.shift() == NOON + 10_000 + WEEK
    assert await house.states() == ["success"]
    assert await house.call("m:notes") == ["late"]


async def test_a_record_tells_what_is_to_run_when_and_how_it_went(house: JobsHouse) -> None:
    id = await house.schedule("m:note", 5, text="a")
    (waiting,) = await house.records()
    assert waiting == {
        "_id": id,
        "_creationTime": NOON,
        "name": "m:note",
        "args": [{"text": "a"}],
        "scheduledTime": NOON + 5_000,
        "state": {"kind": "pending"},
    }
    house.clock.milliseconds += 6_000
    await house.shift()
    (ended,) = await house.records()
    assert ended == {**waiting, "state": {"kind": "success"}, "completedTime": NOON + 6_000}


async def test_what_is_past_is_due_at_once(house: JobsHouse) -> None:
    @house.mutation
    async def past(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.scheduler.run_at(datetime(2020, 1, 1, tzinfo=UTC), "m:note", text="past")

    await house.call("m:past")
    await house.shift()
    assert await house.states() == ["success"]


async def test_a_clock_that_goes_back_between_looking_and_running_makes_nothing_early(
    house: JobsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.schedule("m:note", 10, text="late")
    house.clock.milliseconds += 10_000
    look = house.jobs._ledger.look

    async def look_and_go_back(*args: Any) -> Any:
        found = await look(*args)
        house.clock.milliseconds = NOON + 9_000
        return found

    monkeypatch.setattr(house.jobs._ledger, "look", look_and_go_back)
    assert await house.shift() == NOON + 10_000
    assert await house.states() == ["pending"]


async def test_the_newest_code_runs(house: JobsHouse) -> None:
    await house.schedule("m:note", 1, text="a")

    @house.mutation
    async def note(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.db.insert("notes", {"text": "newer code"})

    house.clock.milliseconds += 1_000
    await house.shift()
    assert await house.call("m:notes") == ["newer code"]


async def test_a_paused_deployment_keeps_what_is_due_until_it_goes_on(house: JobsHouse) -> None:
    await house.schedule("m:note", text="a")
    house.paused = True
    assert await house.shift() is None
    assert await house.jobs.next(NAME) is None
    assert await house.states() == ["pending"]
    house.paused = False
    house.agenda.take(house.clock.now())
    house.jobs.changed(None)
    assert house.agenda.take(house.clock.now()) == [NAME]
    await house.shift()
    assert await house.states() == ["success"]


# --- as a part of the mutation ----------------------------------------------------------------------------------------


async def test_what_a_failed_mutation_has_scheduled_was_never_scheduled(house: JobsHouse) -> None:
    @house.mutation
    async def fail(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.run_after(0, "m:note", text="a")
        raise ValueError("no")

    with pytest.raises(FunctionError):
        await house.call("m:fail")
    assert await house.records() == []
    assert house.agenda.moments == {}


async def test_a_nested_mutation_that_fails_takes_only_its_own_along(house: JobsHouse) -> None:
    @house.mutation
    async def inner(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.run_after(1, "m:note", text="inner")
        raise ValueError("no")

    @house.mutation
    async def outer(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.run_after(5, "m:note", text="outer")
        with pytest.raises(FunctionError):
            await ctx.run_mutation("m:inner")

    await house.call("m:outer")
    assert [record["args"] for record in await house.records()] == [[{"text": "outer"}]]
    assert house.agenda.moments == {NAME: NOON + 5_000}


async def test_what_is_scheduled_and_cancelled_in_one_mutation_is_cancelled(house: JobsHouse) -> None:
    @house.mutation
    async def both(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.cancel(await ctx.scheduler.run_after(0, "m:note", text="a"))

    await house.call("m:both")
    await house.shift()
    assert await house.states() == ["canceled"]
    assert await house.call("m:notes") == []


async def test_those_who_schedule_at_once_do_not_get_in_each_others_way(house: JobsHouse) -> None:
    barrier, runs = asyncio.Barrier(2), []

    @house.mutation
    async def together(ctx: Any, args: dict[str, Any]) -> Any:
        runs.append(1)
        await barrier.wait()
        await ctx.scheduler.run_after(1, "m:note", text="a")

    await asyncio.gather(house.call("m:together"), house.call("m:together"))
    assert len(runs) == 2
    assert await house.states() == ["pending", "pending"]


async def test_a_scheduled_mutation_that_fails_leaves_its_record_and_nothing_else(house: JobsHouse) -> None:
    @house.mutation
    async def fail(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.db.insert("notes", {"text": "half"})
        await ctx.scheduler.run_after(0, "m:note", text="other half")
        raise ValueError("the reason")

    id = await house.schedule("m:fail")
    await house.shift()
    assert await house.state(id) == {"kind": "failed", "error": "ValueError: the reason"}
    assert await house.call("m:notes") == []
    assert len(await house.records()) == 1
    (line,) = await house.lines("request")
    assert line.startswith("scheduled mutation m:fail failed in ")


async def test_a_scheduled_mutation_sees_itself_in_progress(house: JobsHouse) -> None:
    seen: list[Any] = []

    @house.mutation
    async def look(ctx: Any, args: dict[str, Any]) -> Any:
        seen.extend([record["state"] async for record in ctx.db.system.query("_scheduled_functions")])

    await house.schedule("m:look")
    await house.shift()
    assert seen == [{"kind": "inProgress"}]


# --- what cannot be run -----------------------------------------------------------------------------------------------


async def test_a_function_that_is_gone_when_its_time_comes_has_failed(house: JobsHouse) -> None:
    id = await house.schedule("m:note", 1, text="a")
    house.function("m:note", Kind.MUTATION, None)
    house.clock.milliseconds += 1_000
    await house.shift()
    found = await house.state(id)
    assert found["kind"] == "failed"
    assert "Could not find function for 'm:note'" in found["error"]


async def test_what_has_become_a_query_fails_when_its_time_comes(house: JobsHouse) -> None:
    id = await house.schedule("m:note", 1, text="a")
    house.function("m:note", Kind.QUERY, house.programs["m:notes"])
    house.clock.milliseconds += 1_000
    await house.shift()
    assert await house.state(id) == {
        "kind": "failed",
        "error": "m:note is a query: only mutations and actions can be scheduled",
    }


async def test_a_mutation_that_takes_its_isolate_along_twice_has_failed(house: JobsHouse) -> None:
    @house.mutation
    async def crash(ctx: Any, args: dict[str, Any]) -> Any:
        raise IsolateLost("it was killed")

    id = await house.schedule("m:crash")
    assert await house.shift() == NOON + 100
    assert await house.state(id) == {"kind": "pending"}
    house.clock.milliseconds += 100
    await house.shift()
    found = await house.state(id)
    assert found["kind"] == "failed"
    assert "twice" in found["error"]


async def test_what_finds_no_isolate_waits_and_is_tried_again_later_and_later(house: JobsHouse) -> None:
    id = await house.schedule("m:note", text="a")
    house.worker.pool.full = True
    waits = []
    for _ in range(12):
        again = await house.shift()
        assert again is not None
        waits.append(again - house.clock.milliseconds)
        house.clock.milliseconds = again
    assert waits[:4] == [100, 200, 400, 800]
    assert waits[-1] == 60_000
    assert await house.state(id) == {"kind": "pending"}
    house.worker.pool.full = False
    await house.shift()
    assert await house.state(id) == {"kind": "success"}


async def test_what_loses_every_race_waits_and_is_tried_again(house: JobsHouse) -> None:
    rivals = 10

    @house.mutation
    async def lose(ctx: Any, args: dict[str, Any]) -> Any:
        nonlocal rivals
        await ctx.db.query("notes").collect()
        if rivals:
            rivals -= 1
            rival = await house.worker.transactions.begin(NAME)
            await rival.insert("notes", {"text": "a rival's"})
            await rival.commit()
        await ctx.db.insert("notes", {"text": "mine"})

    id = await house.schedule("m:lose")
    assert await house.shift() == NOON + 100
    assert await house.state(id) == {"kind": "pending"}
    house.clock.milliseconds += 100
    await house.shift()
    assert await house.state(id) == {"kind": "success"}
    assert (await house.call("m:notes")).count("mine") == 1


async def test_a_mutation_that_writes_more_than_it_may_has_failed(
    house: JobsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    @house.mutation
    async def flood(ctx: Any, args: dict[str, Any]) -> Any:
        for n in range(9):
            await ctx.db.insert("notes", {"text": str(n)})

    id = await house.schedule("m:flood")
    monkeypatch.setattr(limits, "WRITE_DOCUMENTS", limits.Limit(5, "documents", "fewer for this test"))
    await house.shift()
    state = await house.state(id)
    assert state["kind"] == "failed"
    assert "limit WRITE_DOCUMENTS is 5" in state["error"]
    assert await house.call("m:notes") == []


# --- once -------------------------------------------------------------------------------------------------------------


async def test_two_workers_that_find_the_same_mutation_run_it_once(house: JobsHouse) -> None:
    for n in range(40):
        await house.schedule("m:note", text=str(n))
    other = Worker(house)
    await asyncio.gather(house.jobs.shift(NAME), other.jobs.shift(NAME))
    while (again := await house.shift()) is not None and again < NOON + WEEK:
        house.clock.milliseconds = max(again, house.clock.milliseconds)
    assert sorted(await house.call("m:notes"), key=int) == [str(n) for n in range(40)]
    assert await house.states() == ["success"] * 40


async def test_two_workers_that_find_the_same_action_run_it_once(house: JobsHouse) -> None:
    ran: list[int] = []

    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(args["n"])

    for n in range(10):
        await house.schedule("m:act", n=n)
    other = Worker(house)
    await asyncio.gather(house.jobs.shift(NAME), other.jobs.shift(NAME))
    await asyncio.gather(house.jobs.actions.idle(), other.jobs.actions.idle())
    await house.shift()
    assert sorted(ran) == list(range(10))
    assert await house.states() == ["success"] * 10


@pytest.mark.parametrize("unheard", [False, True], ids=["before its commit", "before it hears of its commit"])
async def test_a_worker_that_dies_at_a_mutation_neither_loses_nor_repeats_it(house: JobsHouse, unheard: bool) -> None:
    await house.schedule("m:note", text="a")
    other = Worker(house)
    other.store.dies_after, other.store.unheard = 0, unheard
    with pytest.raises(Dead):
        await other.jobs.shift(NAME)
    await house.shift()
    assert await house.call("m:notes") == ["a"]
    assert await house.states() == ["success"]


# --- forgetting -------------------------------------------------------------------------------------------------------


async def test_what_ended_is_kept_for_a_week(house: JobsHouse) -> None:
    await house.schedule("m:note", text="a")
    await house.shift()
    house.clock.milliseconds += WEEK - 1
    assert await house.shift() == NOON + WEEK
    assert len(await house.records()) == 1
    house.clock.milliseconds += 1
    assert await house.shift() is None
    assert await house.records() == []
