"""What may be scheduled, and what do operators see of it? On every store that there is."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime.errors import BadRequest, Conflict, NotFound
from runtime.names import DeploymentName, parse_function_path
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from runtime.sdk.scheduling.scheduler import Retry
from runtime.syscalls.scheduling.duties import Pile
from runtime.syscalls.scheduling.outstanding import Outstanding
from runtime.syscalls.scheduling.overseeing import Overseer, Wanted
from runtime.syscalls.scheduling.records import CRON_RUNS, Job, job_id
from runtime.syscalls.scheduling.writing import new_job, put_job, write_pending
from runtime.syscalls.transaction import Transaction
from tests.contracts.jobs_house import NAME, NOON, JobsHouse, Worker


@pytest.fixture
def house(jobs_house: JobsHouse) -> JobsHouse:
    """One deployment on one store, with the functions that most tests need."""
    return jobs_house


def program(house: JobsHouse, ask: Callable[[Any], Any], kind: Kind = Kind.MUTATION) -> None:
    """Push a function that asks this of its scheduler."""

    async def run(ctx: Any, args: dict[str, Any]) -> Any:
        return await ask(ctx.scheduler)

    house.function("m:ask", kind, run)


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda s: s.run_after(0, "m:nobody"), "module 'm' has no function 'nobody'"),
        (lambda s: s.run_after(0, "nowhere:f"), "there is no module 'nowhere'"),
        (lambda s: s.run_after(0, "m:answer"), "m:answer is an HTTP action"),
        (lambda s: s.run_after(0, "m:notes"), "m:notes is a query: only mutations and actions can be scheduled"),
        (lambda s: s.run_after(160_000_000, "m:note"), "at most five years"),
        (lambda s: s.run_at(NOON, "m:note"), "run_at takes seconds, and these look like milliseconds"),
        (lambda s: s.run_at(NOON / 1000 - 160_000_000, "m:note"), "at most five years"),
        (
            lambda s: s.run_after(0, "m:note", retry=Retry(max_attempts=2)),
            "retry= is for actions, and m:note is a mutation",
        ),
        (lambda s: s.run_after(0, "m:note", text="x" * 4_200_000), "limit SCHEDULED_ARGUMENTS is 4194304 bytes"),
    ],
)
@pytest.mark.parametrize("kind", [Kind.MUTATION, Kind.ACTION])
async def test_what_cannot_be_scheduled_is_refused_when_it_is_asked_for(
    house: JobsHouse, ask: Callable[[Any], Any], words: str, kind: Kind
) -> None:
    async def answer(ctx: Any, args: dict[str, Any]) -> Any: ...

    house.function("m:answer", Kind.HTTP_ACTION, answer)
    program(house, ask, kind)
    with pytest.raises(FunctionError) as raised:
        await house.call("m:ask")
    assert words in str(raised.value)
    assert await house.records() == []


async def test_a_mutation_schedules_a_thousand_functions_and_no_more(house: JobsHouse) -> None:
    async def many(ctx: Any, args: dict[str, Any]) -> Any:
        for _ in range(args["many"]):
            await ctx.scheduler.run_after(9, "m:note", text="a")

    house.function("m:many", Kind.MUTATION, many)
    with pytest.raises(FunctionError, match="schedules 1001 functions, limit SCHEDULED_PER_MUTATION is 1000"):
        await house.call("m:many", {"many": 1_001})
    assert await house.records() == []
    await house.call("m:many", {"many": 1_000})
    assert len(await house.records()) == 1_000


async def test_no_more_may_be_outstanding_than_the_limit_and_what_has_ended_makes_room(house: JobsHouse) -> None:
    house.outstanding = Outstanding(most=5, recount=3)
    house.worker = Worker(house)
    for n in range(5):
        await house.schedule("m:note", text=str(n))
    with pytest.raises(FunctionError, match="5 scheduled functions of this deployment have not ended, limit"):
        await house.schedule("m:note", text="one too many")
    await house.shift()
    with pytest.raises(FunctionError, match="limit SCHEDULED_OUTSTANDING is 5"):
        await house.schedule("m:note", text="nobody has looked again yet")
    house.clock.milliseconds += 10_000
    await house.schedule("m:note", text="there is room")


async def test_another_deployment_sees_and_cancels_nothing(house: JobsHouse) -> None:
    id = await house.schedule("m:note", 5, text="a")
    other = DeploymentName("brave-heron-456")
    overseer = Overseer(house.worker.transactions)
    assert (await overseer.page(other, Wanted(), 10)).jobs == []
    with pytest.raises(NotFound):
        await overseer.cancel(other, id)
    assert await house.state(id) == {"kind": "pending"}


# --- operators --------------------------------------------------------------------------------------------------------


async def test_lists_are_pages_by_state_and_by_function(house: JobsHouse) -> None:
    @house.mutation
    async def fail(ctx: Any, args: dict[str, Any]) -> Any:
        raise ValueError("no")

    for n in range(5):
        await house.schedule("m:note", text=str(n))
        await house.schedule("m:fail")
    await house.shift()
    later = [await house.schedule("m:note", 10 - n, text=f"later {n}") for n in range(5)]
    overseer = Overseer(house.worker.transactions)

    async def listed(wanted: Wanted) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = await overseer.page(NAME, wanted, 2)
        while page.cursor is not None:
            assert len(page.jobs) <= 2
            found += page.jobs
            page = await overseer.page(NAME, wanted, 2, page.cursor)
        return found + page.jobs

    assert len(await listed(Wanted())) == 15
    assert [job["_id"] for job in await listed(Wanted(("pending",)))] == later[::-1], "who is due first comes first"
    assert {job["name"] for job in await listed(Wanted(("failed",)))} == {"m:fail"}
    assert len(await listed(Wanted(("success", "failed")))) == 10
    assert len(await listed(Wanted(("success", "pending"), "m:note"))) == 10
    assert await listed(Wanted(("pending",), "m:fail")) == []
    with pytest.raises(BadRequest, match="is no state"):
        await overseer.page(NAME, Wanted(("done",)), 2)
    with pytest.raises(BadRequest, match="cursor"):
        await overseer.page(NAME, Wanted(), 2, "?")


async def test_all_of_one_function_are_cancelled_and_the_others_stay(house: JobsHouse) -> None:
    @house.mutation
    async def other(ctx: Any, args: dict[str, Any]) -> Any: ...

    for n in range(5):
        await house.schedule("m:note", 5 + n, text="a")
    stays = await house.schedule("m:other", 5)
    assert await Overseer(house.worker.transactions).cancel_all(NAME, "m:note") == 5
    assert [record["_id"] for record in await house.records("pending")] == [stays]


async def test_a_dead_letter_is_run_again_with_all_its_attempts(house: JobsHouse) -> None:
    ran: list[int] = []

    @house.action
    async def third(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError("no")

    program(house, lambda s: s.run_after(0, "m:third", retry=Retry(max_attempts=2, backoff=0)))
    id = await house.call("m:ask")
    await house.shift()
    await house.shift()
    assert (await house.state(id))["kind"] == "failed"
    deployment = await house.find(NAME)
    assert deployment is not None and deployment.version is not None
    overseer = Overseer(house.worker.transactions)
    house.agenda.take(NOON)
    await overseer.run_again(NAME, deployment.version, id)
    assert house.agenda.take(NOON) == [NAME]
    await house.shift()
    assert (await house.state(id))["kind"] == "success"
    (record,) = await house.records()
    assert record["attempts"] == 1
    with pytest.raises(Conflict, match="only a failed one"):
        await overseer.run_again(NAME, deployment.version, id)


# --- the door for crons -----------------------------------------------------------------------------------------------


class Listening:
    """Somebody who looks after crons, and removes their runs when they have ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: list[tuple[str, str | None, bool]] = []

    async def attend(self, deployment: Any) -> None:
        pass

    async def begin(self, deployment: Any) -> int:
        self.begun += 1
        return 0

    def settled(self, job: Job, transaction: Transaction, request_id: str) -> None:
        self.ended.append((job.state.kind, job.cron, bool(request_id)))
        put_job(transaction, job, None)


@pytest.mark.parametrize("kind", [Kind.MUTATION, Kind.ACTION])
async def test_a_run_of_a_cron_is_run_like_the_others_and_seen_by_no_tenant(house: JobsHouse, kind: Kind) -> None:
    ran: list[int] = []

    async def tick(ctx: Any, args: dict[str, Any]) -> Any:
        ran.append(args["n"])

    house.function("m:tick", kind, tick)
    crons = house.jobs.crons = Listening()
    transaction = await house.worker.transactions.begin(NAME)
    job = new_job(transaction, parse_function_path("m:tick"), b"\x81\xa1n\x07", NOON, cron="every hour")
    write_pending(transaction, job, Pile.ACTIONS if kind is Kind.ACTION else Pile.MUTATIONS)
    await transaction.commit()
    assert await house.records() == []
    assert await house.records("pending") == []
    assert job_id(job.id, CRON_RUNS)
    await house.shift()
    assert await house.jobs.next(NAME) is None, "nothing is left of it"
    assert (ran, crons.begun) == ([7], 1)
    assert crons.ended == [("success", "every hour", True)]
