"""Whatever dies and whenever: does each mutation happen exactly once, and each action once at most?

Workers come, do shifts side by side, and die at one of their commits: before it, or before they hear of it. In the end
one that lives does what is left. Memory only: what the stores promise is tried elsewhere, on all of them.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.sdk.scheduling.scheduler import Retry
from tests.contracts.jobs_house import NAME, Dead, JobsHouse, Worker, furnish

ACTIONS = 4
MUTATIONS = 6
ATTEMPTS = 3

# How many commits a worker makes until it dies (never for ``None``), whether the last one is made, and the pause before
# the next ones come, in milliseconds.
Life = tuple[int | None, bool, int]
life = st.tuples(st.none() | st.integers(0, 12), st.booleans(), st.sampled_from([0, 100, 29_000, 30_000, 61_000]))


def furnished() -> tuple[JobsHouse, Counter[str]]:
    house, began = JobsHouse(MemoryDocuments()), Counter[str]()
    furnish(house)

    @house.mutation
    async def chain(ctx: Any, args: dict[str, Any]) -> Any:
        await ctx.db.insert("notes", {"text": args["text"]})
        await ctx.scheduler.run_after(0, "m:note", text=f"after {args['text']}")
        if args["text"] == "fails":
            raise ValueError("no")

    @house.mutation
    async def count(ctx: Any, args: dict[str, Any]) -> Any:
        counter = await ctx.db.query("counters").first()
        if counter is None:
            await ctx.db.insert("counters", {"n": 1})
        else:
            await ctx.db.patch(counter["_id"], {"n": counter["n"] + 1})

    @house.mutation
    async def counted(ctx: Any, args: dict[str, Any]) -> Any:
        return (await ctx.db.query("counters").first())["n"]

    @house.action
    async def act(ctx: Any, args: dict[str, Any]) -> Any:
        began[args["id"]] += 1
        await asyncio.sleep(0)

    @house.mutation
    async def begin(ctx: Any, args: dict[str, Any]) -> Any:
        for n in range(MUTATIONS):
            await ctx.scheduler.run_after(n / 10, "m:chain", text=f"{n}")
            await ctx.scheduler.run_after(0, "m:count")
        await ctx.scheduler.run_after(0, "m:chain", text="fails")
        for n in range(ACTIONS):
            await ctx.scheduler.run_after(0, "m:act", id=f"once {n}")
            await ctx.scheduler.run_after(0, "m:act", id=f"again {n}", retry=Retry(ATTEMPTS))

    return house, began


def born(house: JobsHouse, dies_after: int | None, unheard: bool) -> Worker:
    worker = Worker(house)
    worker.store.dies_after, worker.store.unheard = dies_after, unheard
    return worker


async def shift(worker: Worker) -> None:
    with suppress(Dead):
        await worker.jobs.shift(NAME)


async def bury(worker: Worker) -> None:
    """Nothing of it goes on: what it does from now on reaches nobody."""
    worker.store.dead = True
    await worker.jobs.stop()


async def finish(house: JobsHouse) -> None:
    while (again := await house.shift()) is not None and await house.records("pending", "inProgress"):
        house.clock.milliseconds = max(again, house.clock.milliseconds)


async def through(lives: list[tuple[Life, Life]]) -> None:
    house, began = furnished()
    await house.call("m:begin")
    for pair in lives:
        workers = [born(house, dies_after, unheard) for dies_after, unheard, _ in pair]
        await asyncio.gather(*map(shift, workers))
        for worker in workers:
            await bury(worker)
        house.clock.milliseconds += sum(pause for _, _, pause in pair)
    await finish(house)
    expected = [text for n in range(MUTATIONS) for text in (str(n), f"after {n}")]
    assert sorted(await house.call("m:notes")) == sorted(expected)
    assert await house.call("m:counted") == MUTATIONS
    assert all(began[f"once {n}"] <= 1 for n in range(ACTIONS)), began
    assert all(began[f"again {n}"] <= ATTEMPTS for n in range(ACTIONS)), began
    kinds = Counter((record["name"], record["state"]["kind"]) for record in await house.records())
    assert kinds["m:chain", "success"] == MUTATIONS
    assert kinds["m:chain", "failed"] == 1
    assert sum(kinds["m:act", kind] for kind in ("success", "failed")) == 2 * ACTIONS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(life, life), max_size=5))
def test_mutations_happen_exactly_once_and_actions_once_at_most_whoever_dies(lives: list[tuple[Life, Life]]) -> None:
    asyncio.run(through(lives))
