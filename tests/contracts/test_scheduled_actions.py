"""Do scheduled actions run once at most, and what does cancelling do? On every store that there is."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from runtime.errors import OurMistake
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from runtime.sdk.scheduling.scheduler import Retry
from tests.contracts.jobs_house import NAME, NOON, Dead, JobsHouse, Worker


@pytest.fixture
def house(jobs_house: JobsHouse) -> JobsHouse:
    """One deployment on one store, with the functions that most tests need."""
    return jobs_house


async def test_an_action_runs_and_is_settled(house: JobsHouse) -> None:
    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.run_mutation("m:note", text="by an action")

    id = await house.schedule("m:act")
    await house.shift()
    assert await house.state(id) == {"kind": "success"}
    assert await house.call("m:notes") == ["by an action"]


async def test_a_long_action_holds_up_no_shift(house: JobsHouse) -> None:
    go_on = asyncio.Event()

    @house.action
    async def wait(ctx: Any, args: dict[str, Any]) -> Any:
        await go_on.wait()

    id = await house.schedule("m:wait")
    await house.schedule("m:note", text="a")
    again = await house.jobs.shift(NAME)
    assert again == NOON + 30_000, "the end of the lease"
    assert await house.state(id) == {"kind": "inProgress"}
    assert await house.call("m:notes") == ["a"]
    go_on.set()
    await house.jobs.actions.idle()
    assert await house.state(id) == {"kind": "success"}


async def test_more_actions_than_may_run_at_once_wait_and_hold_up_no_mutation(house: JobsHouse) -> None:
    go_on, ran = asyncio.Event(), []

    @house.action
    async def wait(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)
        await go_on.wait()

    for _ in range(20):
        await house.schedule("m:wait")
    await house.schedule("m:note", text="a")
    again = await house.jobs.shift(NAME)
    assert again == NOON + 1_000
    assert len(ran) == 16
    assert await house.call("m:notes") == ["a"]
    house.agenda.take(NOON)
    go_on.set()
    await house.jobs.actions.idle()
    assert house.agenda.take(NOON) == [NAME], "there is a place again"
    await house.shift()
    assert len(ran) == 20


async def test_an_action_whose_worker_is_gone_has_failed_when_its_lease_ends(house: JobsHouse) -> None:
    ran = []

    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)

    id = await house.schedule("m:act")
    other = Worker(house)
    other.store.dies_after = 1
    with suppress(Dead):
        await other.jobs.shift(NAME)
    while not ran:
        await asyncio.sleep(0)
    house.clock.milliseconds += 29_999
    await house.shift()
    assert await house.state(id) == {"kind": "inProgress"}
    house.clock.milliseconds += 1
    await house.shift()
    assert await house.state(id) == {"kind": "failed", "error": "the worker that ran it is gone"}
    assert ran == [1]


async def test_a_lease_that_is_renewed_is_believed(house: JobsHouse) -> None:
    go_on = asyncio.Event()

    @house.action
    async def wait(ctx: Any, args: dict[str, Any]) -> Any:
        await go_on.wait()

    id = await house.schedule("m:wait")
    other = Worker(house)
    await other.jobs.shift(NAME)
    house.clock.milliseconds += 30_000
    # The worker is late with its renewal, and sees it itself first.
    assert await other.jobs.shift(NAME) == NOON + 60_000
    await house.shift()
    assert await house.state(id) == {"kind": "inProgress"}
    go_on.set()
    await other.jobs.actions.idle()
    assert await house.state(id) == {"kind": "success"}


async def test_an_action_that_this_server_cannot_run_has_failed_at_once(house: JobsHouse) -> None:
    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        raise OurMistake("a worker answered with nonsense")

    id = await house.schedule("m:act")
    await house.shift()
    assert await house.state(id) == {
        "kind": "failed",
        "error": "InternalError: the server could not run it; its log says why",
    }


async def test_an_action_that_fails_is_not_tried_again_unless_it_was_asked_for(house: JobsHouse) -> None:
    ran = []

    @house.action
    async def fail(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)
        raise ValueError("no")

    id = await house.schedule("m:fail")
    await house.shift()
    await house.shift()
    assert await house.state(id) == {"kind": "failed", "error": "ValueError: no"}
    assert ran == [1]


async def test_a_retry_waits_twice_as_long_each_time_and_gives_up(house: JobsHouse) -> None:
    @house.action
    async def fail(ctx: Any, args: dict[str, Any]) -> Any:
        raise ValueError("no")

    @house.mutation
    async def ask(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.scheduler.run_after(0, "m:fail", retry=Retry(max_attempts=4, backoff=2, max_backoff=5))

    id = await house.call("m:ask")
    moments = []
    for _ in range(3):
        await house.shift()
        again = await house.jobs.next(NAME)
        assert again is not None
        moments.append(again - house.clock.milliseconds)
        house.clock.milliseconds = again
    assert moments == [2_000, 4_000, 5_000]
    await house.shift()
    (record,) = await house.records()
    assert (record["_id"], record["attempts"]) == (id, 4)
    assert record["state"] == {"kind": "failed", "error": "ValueError: no"}
    assert record["retry"] == {"maxAttempts": 4, "backoff": 2_000, "maxBackoff": 5_000, "jitter": 0.5}


async def test_a_retry_ends_with_success(house: JobsHouse) -> None:
    ran = []

    @house.action
    async def second(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("no")

    @house.mutation
    async def ask(ctx: Any, args: dict[str, Any]) -> Any:
        return await ctx.scheduler.run_after(0, "m:second", retry=Retry(max_attempts=4))

    id = await house.call("m:ask")
    await house.shift()
    assert await house.state(id) == {"kind": "pending"}
    house.clock.milliseconds += 1_000
    await house.shift()
    assert await house.state(id) == {"kind": "success"}
    assert len(ran) == 2


async def test_an_action_that_finds_no_isolate_was_not_begun_and_costs_no_attempt(house: JobsHouse) -> None:
    ran = []

    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)

    id = await house.schedule("m:act")
    house.worker.pool.full = True
    await house.shift()
    assert await house.state(id) == {"kind": "pending"}
    house.worker.pool.full = False
    house.clock.milliseconds += 100
    await house.shift()
    assert await house.state(id) == {"kind": "success"}
    assert ran == [1]


async def test_a_worker_that_stops_says_so_in_the_records_of_its_actions(house: JobsHouse) -> None:
    @house.action
    async def wait(ctx: Any, args: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    id = await house.schedule("m:wait")
    other = Worker(house)
    await other.jobs.shift(NAME)
    await other.jobs.stop()
    assert await house.state(id) == {"kind": "failed", "error": "WorkerStopped: the worker that ran it was stopped"}


async def test_nothing_is_written_for_an_action_whose_deployment_was_deleted_meanwhile(house: JobsHouse) -> None:
    go_on = asyncio.Event()

    @house.action
    async def wait(ctx: Any, args: dict[str, Any]) -> Any:
        await go_on.wait()

    await house.schedule("m:wait")
    await house.jobs.shift(NAME)
    house.deleted = True
    house.worker.store.dead = True  # whoever asks the store fails, and would be tried again for a while
    go_on.set()
    await house.jobs.idle()
    assert await house.shift() is None


async def test_an_action_schedules_at_once_and_for_good(house: JobsHouse) -> None:
    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.scheduler.run_after(0, "m:note", text="by an action")
        raise ValueError("no")

    with pytest.raises(FunctionError):
        await house.call("m:act")
    assert house.agenda.moments == {NAME: NOON}
    await house.shift()
    assert await house.call("m:notes") == ["by an action"]


async def test_a_function_that_became_an_action_waits_in_the_lane_of_actions(house: JobsHouse) -> None:
    ran = []
    await house.schedule("m:note", 1, text="a")

    async def note(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(args["text"])

    house.function("m:note", Kind.ACTION, note)
    house.clock.milliseconds += 1_000
    await house.shift()
    await house.shift()
    assert ran == ["a"]
    assert await house.states() == ["success"]


# --- cancelling -------------------------------------------------------------------------------------------------------


async def test_what_waits_and_is_cancelled_never_runs(house: JobsHouse) -> None:
    id = await house.schedule("m:note", 1, text="a")
    await house.call("m:cancel", {"id": id})
    house.clock.milliseconds += 1_000
    await house.shift()
    assert await house.state(id) == {"kind": "canceled"}
    assert await house.call("m:notes") == []


async def test_what_has_ended_stays_as_it_is(house: JobsHouse) -> None:
    id = await house.schedule("m:note", text="a")
    await house.shift()
    await house.call("m:cancel", {"id": id})
    assert await house.state(id) == {"kind": "success"}


async def test_an_action_that_is_cancelled_runs_on_and_what_it_schedules_is_born_cancelled(house: JobsHouse) -> None:
    go_on, scheduled = asyncio.Event(), []

    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        await go_on.wait()
        scheduled.append(await ctx.scheduler.run_after(0, "m:note", text="directly"))
        scheduled.append(await ctx.run_mutation("m:schedule", what="m:note", args={"text": "by a mutation"}))

    id = await house.schedule("m:act")
    await house.jobs.shift(NAME)
    await house.call("m:cancel", {"id": id})
    go_on.set()
    await house.jobs.actions.idle()
    assert await house.state(id) == {"kind": "canceled"}
    assert [await house.state(each) for each in scheduled] == [{"kind": "canceled"}] * 2
    await house.shift()
    assert await house.call("m:notes") == []


async def test_nothing_that_was_never_scheduled_can_be_cancelled(house: JobsHouse) -> None:
    note = await house.call("m:note", {"text": "a"})
    for id in (note, "nonsense"):
        with pytest.raises(FunctionError, match="is not the id of a scheduled function"):
            await house.call("m:cancel", {"id": id})


async def test_a_scheduled_mutation_cannot_cancel_itself(house: JobsHouse) -> None:
    @house.mutation
    async def suicide(ctx: Any, args: dict[str, Any]) -> Any:
        (own,) = [record async for record in ctx.db.system.query("_scheduled_functions")]
        await ctx.scheduler.cancel(own["_id"])

    id = await house.schedule("m:suicide")
    await house.shift()
    found = await house.state(id)
    assert found["kind"] == "failed"
    assert "cannot cancel itself" in found["error"]
