"""Mutations that get in each other's way share a commit, and nobody can tell but by the time it takes.

Whoever comes reads a counter and waits until everybody has: so all but one lose, and run again behind each other. What
a program does differently when it runs again is the test.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runtime.errors import CommitConflict, IsolateLost
from runtime.invocation import Invocation, Outcome, Succeeded
from runtime.names import RequestId, parse_function_path
from runtime.ports import Commit
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.sdk.functions import FunctionError
from runtime.syscalls.settling.tickets import Ticket
from tests.contracts.jobs_house import NAME, JobsHouse, Worker

LOSERS = 16  # so many that the function is known to be crowded when the first of them runs again
Again = Callable[[Any, str], Awaitable[Any]]


class Crowd:
    """So many calls of ``m:add``, each under a name of its own, all of which but one lose once."""

    def __init__(self, house: JobsHouse, again: Again, many: int = LOSERS + 1) -> None:
        self.runs = Counter[str]()
        self.names = [f"{number}" for number in range(many)]
        self._house = house
        self._together = asyncio.Event()

        @house.mutation
        async def add(ctx: Any, args: dict[str, Any]) -> Any:
            name = args["name"]
            self.runs[name] += 1
            house.clock.milliseconds += 1
            counter = await ctx.db.query("counters").first()
            if len(self.runs) == many:
                self._together.set()
            await self._together.wait()
            await ctx.db.patch(counter["_id"], {"n": counter["n"] + 1})
            if self.runs[name] > 1:
                await again(ctx, name)
            return counter["n"]

        @house.mutation
        async def begin(ctx: Any, args: dict[str, Any]) -> Any:
            await ctx.db.insert("counters", {"n": 0})
            await ctx.db.insert("notes", {"text": "first"})

        async def count(ctx: Any, args: dict[str, Any]) -> Any:
            return (await ctx.db.query("counters").first())["n"]

        house.function("m:count", Kind.QUERY, count)

    async def call(self) -> list["asyncio.Task[Any]"]:
        """Call all of them."""
        await self._house.call("m:begin")
        return [asyncio.ensure_future(self._house.call("m:add", {"name": name})) for name in self.names]


async def nothing(ctx: Any, name: str) -> None:
    pass


@asynccontextmanager
async def commits(house: JobsHouse) -> AsyncIterator[list[Commit]]:
    """What is committed meanwhile."""
    heard: list[Commit] = []
    followed = await house.store.follow(NAME, heard.append)
    try:
        yield heard
    finally:
        followed.stop()


async def test_those_who_wait_for_each_other_share_a_commit(jobs_house: JobsHouse) -> None:
    calls = await Crowd(jobs_house, nothing).call()
    async with commits(jobs_house) as heard:
        saw = await asyncio.gather(*calls)
        assert sorted(saw) == list(range(LOSERS + 1))
        assert await jobs_house.call("m:count") == LOSERS + 1
    assert len(heard) < LOSERS


async def test_one_that_fails_takes_nothing_along_and_leaves_nothing(jobs_house: JobsHouse) -> None:
    failed: list[str] = []

    async def again(ctx: Any, name: str) -> None:
        await ctx.db.insert("notes", {"text": name})
        written = await ctx.db.query("notes").filter(lambda q: True).count()
        if name not in failed and len(failed) < 2 and (failed or written > 3):
            failed.append(name)
        if name in failed:  # also when it runs again
            raise ValueError("no")

    ends = await asyncio.gather(*await Crowd(jobs_house, again).call(), return_exceptions=True)
    assert sum(isinstance(end, FunctionError) for end in ends) == len(failed) == 2
    assert sorted(end for end in ends if isinstance(end, int)) == list(range(LOSERS - 1))
    texts = await jobs_house.call("m:notes")
    assert len(texts) == len(set(texts)) == LOSERS - 1 and not set(texts) & set(failed)


async def test_each_has_the_whole_of_every_limit(jobs_house: JobsHouse) -> None:
    async def again(ctx: Any, name: str) -> None:
        note = await ctx.db.query("notes").first()
        for _ in range({"4": 3_000, "5": 4_100, "6": 3_000}.get(name, 0)):
            await ctx.db.get(note["_id"])

    ends = await asyncio.gather(*await Crowd(jobs_house, again).call(), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, FunctionError)]
    assert len(refused) == 1 and "limit READ_RANGES is 4096" in str(refused[0])
    assert await jobs_house.call("m:count") == LOSERS


async def test_each_sees_what_those_before_it_wrote_in_every_index_and_direction(jobs_house: JobsHouse) -> None:
    async def again(ctx: Any, name: str) -> None:
        notes = await ctx.db.query("notes").collect()
        backwards = await ctx.db.query("notes").order("desc").collect()
        assert [note["_id"] for note in reversed(backwards)] == [note["_id"] for note in notes]
        # The one before goes, two come; in the end there is one more than have run.
        await ctx.db.delete(notes[0]["_id"])
        await ctx.db.insert("notes", {"text": f"{name} a"})
        await ctx.db.insert("notes", {"text": f"{name} b"})
        first = await ctx.db.query("notes").first()
        assert first["_id"] == (notes[1]["_id"] if len(notes) > 1 else first["_id"])
        assert len([note async for note in ctx.db.query("notes")]) == len(notes) + 1

    await asyncio.gather(*await Crowd(jobs_house, again).call())
    assert len(await jobs_house.call("m:notes")) == LOSERS + 1


async def test_a_mutation_that_is_sent_twice_into_one_convoy_is_run_once(jobs_house: JobsHouse) -> None:
    crowd = Crowd(jobs_house, nothing)
    calls = await crowd.call()
    deployment = await jobs_house.find(NAME)
    assert deployment is not None and deployment.version is not None
    args = values.encode({"name": "0"})
    sent = Invocation(
        deployment, deployment.version, parse_function_path("m:add"), Kind.MUTATION, args, RequestId("1" * 16)
    )
    ticket = Ticket(NAME, "a-session", 1)
    async with commits(jobs_house) as heard:
        outcomes: list[Outcome] = await asyncio.gather(
            *[jobs_house.worker.conductor.run(sent, ticket) for _ in range(3)]
        )
        await asyncio.gather(*calls)
        assert await jobs_house.call("m:count") == LOSERS + 2
    (value,) = {outcome.value for outcome in outcomes if isinstance(outcome, Succeeded)}
    position = min(outcome.position or 0 for outcome in outcomes if isinstance(outcome, Succeeded))
    # Whoever is told a position finds there what was written.
    assert position in {commit.position for commit in heard} and values.decode(value) < LOSERS + 2


async def test_an_isolate_that_dies_takes_only_the_guilty_one_along(jobs_house: JobsHouse) -> None:
    died: list[str] = []

    async def again(ctx: Any, name: str) -> None:
        if len(died) < 3 and name not in died:
            died.append(name)
            raise IsolateLost("it burns too much")

    crowd = Crowd(jobs_house, again)
    assert sorted(await asyncio.gather(*await crowd.call())) == list(range(LOSERS + 1))
    # Each once. It has lost, died, and run again; whoever had seen what it wrote has lost once more.
    assert len(died) == len(set(died)) == 3 and all(crowd.runs[name] >= 3 for name in died)
    assert await jobs_house.call("m:count") == LOSERS + 1


async def test_nobody_who_is_done_waits_for_one_that_is_slow(jobs_house: JobsHouse) -> None:
    others_heard = asyncio.Event()
    ran: list[str] = []

    async def again(ctx: Any, name: str) -> None:
        ran.append(name)
        if len(ran) == 3:
            await others_heard.wait()

    crowd = Crowd(jobs_house, again)
    calls = await crowd.call()
    # The one that won, and those that had joined the convoy.
    while sum(call.done() for call in calls) < 3:
        await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
    others_heard.set()
    assert sorted(await asyncio.gather(*calls)) == list(range(LOSERS + 1))


async def test_whoever_stops_waiting_leaves_the_others_alone(jobs_house: JobsHouse) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def again(ctx: Any, name: str) -> None:
        reached.set()
        await go_on.wait()

    crowd = Crowd(jobs_house, again)
    calls = await crowd.call()
    await reached.wait()
    waiting = [call for call, name in zip(calls, crowd.names, strict=True) if not call.done() and crowd.runs[name] == 1]
    running = [call for call, name in zip(calls, crowd.names, strict=True) if not call.done() and crowd.runs[name] == 2]
    for call in (*waiting[:-2], *running):
        call.cancel()
    go_on.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    stayed = [end for end in ends if isinstance(end, int)]
    assert sorted(stayed) == list(range(len(stayed))) and len(stayed) == 3
    assert await jobs_house.call("m:count") == 3


async def test_when_everybody_stops_waiting_the_next_one_finds_an_empty_line(jobs_house: JobsHouse) -> None:
    reached = asyncio.Event()

    async def again(ctx: Any, name: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    crowd = Crowd(jobs_house, again)
    calls = await crowd.call()
    await reached.wait()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    crowd.runs.clear()
    assert await jobs_house.call("m:add", {"name": "one more"}) == 1


async def test_those_who_committed_together_speak_before_those_who_follow(jobs_house: JobsHouse) -> None:
    said: list[str] = []

    async def add(name: str) -> None:
        await jobs_house.call("m:add", {"name": name})
        said.append("answered")

    await asyncio.gather(*await Crowd(jobs_house, nothing).call())
    await jobs_house.call("m:count")
    followed = await jobs_house.store.follow(NAME, lambda commit: said.append("told"))
    # That the function is crowded is known by now: these go behind each other at once.
    await asyncio.gather(*(add(f"{number}") for number in range(LOSERS)))
    await jobs_house.call("m:count")
    followed.stop()
    # One commit, or some: but always first those who committed.
    runs = [what for what, before in zip(said, ["", *said], strict=False) if what != before]
    assert said.count("answered") == LOSERS
    assert runs == ["answered", "told"] * (len(runs) // 2) and said.count("told") == len(runs) // 2


class Ledger:
    """What programs have seen: each document's numbers are its versions, so who wrote what is plain."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, int], list[str]]] = []

    def has_an_order(self) -> bool:
        """Whether those who saw a version come after who wrote it, and before who wrote the next one."""
        writers = {(cell, saw[cell] + 1): at for at, (saw, wrote) in enumerate(self.seen) for cell in wrote}
        assert len(writers) == sum(len(wrote) for _, wrote in self.seen), "two have written the same version"
        after: list[set[int]] = [set() for _ in self.seen]
        for at, (saw, _) in enumerate(self.seen):
            for cell, version in saw.items():
                if (earlier := writers.get((cell, version))) is not None:
                    after[earlier].add(at)
                if (later := writers.get((cell, version + 1))) not in (None, at):
                    assert later is not None
                    after[at].add(later)
        left = set(range(len(after)))
        while left:
            free = {at for at in left if not any(at in after[other] for other in left)}
            if not free:
                return False
            left -= free
        return True


@pytest.mark.parametrize("seed", range(8))
async def test_what_everybody_saw_has_an_order_also_of_those_who_failed(jobs_house: JobsHouse, seed: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger()
    given_up: list[int] = []

    @jobs_house.mutation
    async def begin(ctx: Any, args: dict[str, Any]) -> Any:
        return [await ctx.db.insert("cells", {"version": 0}) for _ in range(3)]

    @jobs_house.mutation
    async def work(ctx: Any, args: dict[str, Any]) -> Any:
        saw = {}
        for cell in args["reads"]:
            saw[cell] = (await ctx.db.get(cell))["version"]
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for cell in args["writes"]:
            await ctx.db.patch(cell, {"version": saw[cell] + 1})
            if chance.random() < 0.3:
                await asyncio.sleep(0.001)
        if args["fails"]:
            raise ValueError(" ".join(f"{cell}={version}" for cell, version in saw.items()))
        return saw

    cells = await jobs_house.call("m:begin")
    workers = [jobs_house.worker, Worker(jobs_house)]

    async def client() -> None:
        for _ in range(12):
            reads = chance.sample(cells, chance.randint(1, 3))
            writes = chance.sample(reads, chance.randint(0, len(reads)))
            fails = chance.random() < 0.25
            jobs_house.worker = workers[chance.random() < 0.2]
            try:
                saw = await jobs_house.call("m:work", {"reads": reads, "writes": writes, "fails": fails})
                ledger.seen.append((saw, writes))
            except CommitConflict:
                given_up.append(1)
            except FunctionError as error:
                words = str(error).removeprefix("ValueError: ").split()
                ledger.seen.append(({word.split("=")[0]: int(word.split("=")[1]) for word in words}, []))

    await asyncio.gather(*(client() for _ in range(12)))
    jobs_house.worker = workers[0]
    assert len(ledger.seen) + len(given_up) == 144 and len(given_up) < 36
    assert ledger.has_an_order()
    left = await jobs_house.call("m:work", {"reads": cells, "writes": [], "fails": False})
    assert left == {cell: sum(cell in wrote for _, wrote in ledger.seen) for cell in cells}
