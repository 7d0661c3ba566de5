"""Whatever happens in whatever order: a cron is what was pushed last, never early, and never runs beside itself."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import Conflict, NotFound
from runtime.invocation import Outcome, Succeeded
from runtime.protocol.declaration import Calendar, Interval
from runtime.syscalls.transaction import Transaction
from tests.contracts.cron_house import NAME, NULL, CronHouse, cron

SCHEDULES = (Interval(10), Interval(45), Calendar("*/2 * * * *"), Calendar("7 * * * *", "Asia/Kathmandu"))
NAMES = ("a", "b", "c")

pushes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(SCHEDULES), st.sampled_from(("jobs:tick", "jobs:work"))),
    max_size=3,
    unique_by=lambda drawn: drawn[0],
)
steps = st.one_of(
    st.tuples(st.just("push"), pushes),
    st.tuples(st.just("crash after a push"), pushes),
    st.tuples(st.just("wait"), st.floats(1, 400_000)),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("by hand"), st.sampled_from(NAMES)),
)


class Watched(CronHouse):
    """A deployment of which somebody watches how many runs of one cron there are at a time."""

    def __init__(self) -> None:
        super().__init__(MemoryDocuments())
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.at_once: Counter[str] = Counter()
        self.most = 0
        self.pushed: dict[str, Interval | Calendar] = {}
        self.paused = False

    async def watch(self, transaction: Transaction | None) -> Outcome:
        """The program of every function: an action ends when it may."""
        name = str(self.ran[-1][2])
        self.at_once[name] += 1
        self.most = max(self.most, self.at_once[name])
        try:
            if transaction is None:
                await self.may_end.wait()
        finally:
            self.at_once[name] -= 1
        return Succeeded(NULL)

    async def take(self, step: str, drawn: object) -> None:
        """Let one thing happen."""
        match step, drawn:
            case (("push" | "crash after a push"), list()):
                self.pushed = {name: schedule for name, schedule, _ in drawn}
                declared = [cron(name, schedule, function, cron=name) for name, schedule, function in drawn]
                await self.push(*declared, settled=step == "push")
            case "wait", float():
                self.clock.time += drawn
            case "hold", bool():
                (self.may_end.clear if drawn else self.may_end.set)()
                if not drawn:
                    await self.jobs.actions.idle()
            case "pause", bool():
                await self.pause(drawn)
                self.paused = drawn
            case "by hand", str():
                try:
                    await self.crons.run_now(await self.here(), drawn)
                except (Conflict, NotFound):
                    return


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
async def test_whatever_happens_crons_keep_their_promises(happening: list[tuple[str, object]]) -> None:
    house = Watched()
    house.program = house.watch
    await house.open()
    try:
        for step, drawn in happening:
            await house.take(step, drawn)
            following = await house.work()
            assert house.most <= 1
            if house.paused or following is None:
                continue
            # Whoever looks for what is due has made up for a crash.
            views = {view.cron.name: view for view in await house.crons.look(NAME)}
            assert {name: view.cron.schedule for name, view in views.items()} == house.pushed
            assert all(view.cron.next > house.clock.now() for view in views.values())
            if not house.may_end.is_set():
                continue
            await house.jobs.actions.idle()
            assert all(len(view.runs) <= 5 for view in views.values())
    finally:
        house.may_end.set()
        await house.jobs.actions.idle()
        await house.close()
