"""Is an isolate that burns held to one processor, do others keep off it, and may all go everywhere again?"""

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runtime.invocation import Deployment, Version
from runtime.isolates.crew import PROBATION
from runtime.isolates.isolate import Isolate
from runtime.isolates.pool import Pool, PoolSettings
from runtime.isolates.watchdog import _AGAIN, TICK, Watchdog
from runtime.isolates.zygote import Zygote
from runtime.machine import processors as machine
from runtime.machine.processors import ALL as PROCESSORS
from runtime.names import DeploymentName, VersionNumber
from runtime.protocol.declaration import Declaration
from runtime.protocol.messages import Load

pytestmark = pytest.mark.skipif(len(PROCESSORS) < 2, reason="there is one processor only")

# Loads in as many turns as its deployment's name says, of as many rounds each, and answers between turns. In no turns
# it loads for ever, and burns nothing.
GUEST = """
import os, select
from runtime.protocol.declaration import Declaration
from runtime.protocol.framing import frame, splitter_for_guest
from runtime.protocol.messages import Load, Loaded, Ping, Pong, Ready

def prepare():
    pass

def main(layers):
    os.write(3, frame(Ready(layers)))
    splitter = splitter_for_guest(1 << 20)
    turns = rounds = 0

    def turn():
        left = rounds
        while left:
            left -= 1
        if turns == 1:
            os.write(3, frame(Loaded(Declaration())))
        return turns - 1

    channel = select.poll()
    channel.register(3, select.POLLIN)
    while True:
        if channel.poll(0 if turns else None):
            for message in splitter.feed(os.read(3, 65536) or os._exit(0)):
                if isinstance(message, Load):
                    turns, rounds = map(int, message.deployment.split("-")[-2:])
                    turns = turns and turn()
                elif isinstance(message, Ping):
                    os.write(3, frame(Pong(message.number)))
        if turns:
            turns = turn()
"""
FOREVER = 10**15
LONG = f"1-{2 * 10**7}"
ENDLESS = f"1-{FOREVER}"
MANY = f"{FOREVER}-1000"
AT_ONCE = "1-1"
AT_LEISURE = "0-0"


class HandClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at * 1000

    def monotonic(self) -> float:
        return self.at


class House:
    """One zygote, and a watchdog that ticks when it is told to."""

    def __init__(self, zygote: Zygote, guest: Path) -> None:
        self.zygote = zygote
        self.guest = guest
        self.clock = HandClock()
        sizes = PoolSettings(isolates=4, isolates_per_deployment=2, spares=0)
        self.pool = Pool(zygote, sizes, self.clock, lambda name, line: None, lambda name, reason: None)
        self.watchdog = Watchdog(self.clock, self.isolates)
        self.alone: list[Isolate] = []
        self.loads: list[asyncio.Task[Declaration]] = []

    def isolates(self) -> list[Isolate]:
        return [*self.pool.isolates(), *self.alone]

    def ask(self) -> None:
        """Have the watchdog ask, and wait for an answer for a tick."""
        self.clock.at += 2  # so long it has been quiet
        self.watchdog.tick()
        self.clock.at += TICK

    async def loading(self, turns: str) -> "tuple[Isolate, asyncio.Task[Declaration]]":
        isolate = Isolate(await self.zygote.fork(), self.clock.monotonic())
        self.alone.append(isolate)
        await isolate.start()
        return isolate, await self.load(isolate, turns)

    async def load(self, isolate: Isolate, turns: str) -> "asyncio.Task[Declaration]":
        load = asyncio.create_task(isolate.load(Load({}, {}, turns, True)))
        self.loads.append(load)
        await asyncio.sleep(0)
        return load

    async def burning(self) -> Isolate:
        """Wait for an isolate that is held because it burns."""
        isolate, _ = await self.loading(ENDLESS)
        self.ask()
        await self.until(lambda: is_held(isolate), self.watchdog.tick)
        return isolate

    def acquire(self, turns: str) -> "asyncio.Task[Isolate]":
        version = Version(VersionNumber(1), "0" * 64, {}, Declaration())
        return asyncio.create_task(self.pool.acquire(Deployment(DeploymentName(f"a-{turns}"), version, {}), version))

    async def until(self, condition: Callable[[], bool], between: Callable[[], object] = lambda: None) -> None:
        """There is nothing to await that would tell how much a process has burnt."""
        async with asyncio.timeout(20):
            while not condition():
                between()
                await asyncio.sleep(TICK)

    async def close(self) -> None:
        for isolate in self.alone:
            isolate.end("the test is over")
            await isolate.process.exit_status()
            isolate.process.close()
        for load in self.loads:
            load.cancel()
        await asyncio.gather(*self.loads, return_exceptions=True)
        await self.pool.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    path = tmp_path / "guest.py"
    path.write_text(GUEST)
    zygote = Zygote(guest=str(path))
    await zygote.start()
    house = House(zygote, path)
    yield house
    await house.close()
    machine.keep_to(PROCESSORS)
    await zygote.stop()


def processors(isolate: Isolate) -> set[int]:
    return os.sched_getaffinity(isolate.process.pid)


def is_held(isolate: Isolate) -> bool:
    return len(processors(isolate)) == 1


async def test_a_process_is_held_to_one_processor_and_let_go(house: House) -> None:
    isolate, load = await house.loading(AT_ONCE)
    await load
    held = isolate.process.hold()
    assert len(held) == 1 and processors(isolate) == held
    isolate.process.keep_to(PROCESSORS)
    assert processors(isolate) == PROCESSORS


async def test_a_process_that_is_gone_is_neither_held_nor_let_go(house: House) -> None:
    isolate, load = await house.loading(AT_ONCE)
    await load
    isolate.process.hold()
    isolate.process.kill()
    await isolate.process.exit_status()
    isolate.process.keep_to(PROCESSORS)
    isolate.process.hold()


async def test_a_long_turn_is_held_until_it_is_over(house: House) -> None:
    isolate, load = await house.loading(LONG)
    house.ask()
    await house.until(lambda: is_held(isolate), house.watchdog.tick)
    await load
    await house.until(lambda: not isolate.ping_pending)
    await house.load(isolate, MANY)
    house.watchdog.tick()
    assert not is_held(isolate)


async def test_a_turn_that_has_to_share_its_processor_is_let_go(house: House) -> None:
    isolate = await house.burning()
    house.clock.at += 3 * isolate.process.cpu_seconds()  # so long it has waited for what it got
    house.watchdog.tick()
    assert not is_held(isolate)


async def test_many_small_turns_are_never_held(house: House) -> None:
    isolate, _ = await house.loading(MANY)
    asked, held = [], []
    for _ in range(20):
        house.ask()
        asked.append(isolate.ping_pending)
        await house.until(lambda: not isolate.ping_pending)
        burnt = isolate.process.cpu_seconds()
        await house.until(lambda: isolate.process.cpu_seconds() > burnt + 2 * TICK)  # noqa: B023 - it is awaited here
        house.watchdog.tick()
        held.append(is_held(isolate))
    assert all(asked) and not any(held)


async def test_after_a_runaway_all_isolates_of_its_version_are_on_probation(house: House) -> None:
    other = await house.acquire(AT_ONCE)
    name, version = DeploymentName(f"a-{AT_ONCE}"), Version(VersionNumber(1), "0" * 64, {}, Declaration())
    neighbour = await house.acquire("1-2")
    guilty = await house.pool.alone(Deployment(name, version, {}), version)
    await house.load(guilty, ENDLESS)
    house.ask()
    await house.until(lambda: guilty.interrupted_at is not None, house.watchdog.tick)
    place = guilty.process.hold()  # it is gone by now: this is what was seen last
    assert len(place) == 1 and processors(other) == place and not is_held(neighbour)
    fresh = await house.pool.alone(Deployment(name, version, {}), version)
    assert processors(fresh) == place


async def test_probation_ends(house: House) -> None:
    isolate = await house.acquire(AT_ONCE)
    assert isolate.on_runaway is not None
    isolate.on_runaway(isolate, house.clock.monotonic())
    assert is_held(isolate)
    await house.load(isolate, MANY)
    house.watchdog.tick()
    assert is_held(isolate)
    house.clock.at += PROBATION
    await house.until(lambda: not is_held(isolate), house.watchdog.tick)


async def test_others_that_have_something_to_do_keep_off_who_burns_for_so_long(house: House) -> None:
    other, _ = await house.loading(AT_LEISURE)
    burning = await house.burning()
    assert processors(other) == PROCESSORS - processors(burning)
    burning.end("enough")
    house.watchdog.tick()
    assert processors(other) == PROCESSORS


async def test_every_thread_of_the_host_keeps_off_too_and_comes_back(house: House) -> None:
    enough = threading.Event()
    before = threading.Thread(target=enough.wait)
    before.start()
    burning = await house.burning()
    meanwhile = threading.Thread(target=enough.wait)
    meanwhile.start()
    threads = [0, before.native_id or 0, meanwhile.native_id or 0]
    left = PROCESSORS - processors(burning)
    kept = [os.sched_getaffinity(thread) for thread in threads]
    burning.end("enough")
    house.watchdog.tick()
    back = [os.sched_getaffinity(thread) for thread in threads]
    enough.set()
    assert kept == [left, left, left] and back == [PROCESSORS, PROCESSORS, PROCESSORS]


async def test_what_is_started_meanwhile_may_run_everywhere(house: House) -> None:
    command = [sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"]
    await house.burning()
    inherited = subprocess.check_output(command)
    machine.leave_free()
    free = subprocess.check_output(command)
    house.watchdog.tick()
    assert int(inherited) < int(free) == len(PROCESSORS) and os.sched_getaffinity(0) != PROCESSORS


async def test_a_zygote_started_meanwhile_may_run_everywhere(house: House) -> None:
    await house.burning()
    fresh = Zygote(guest=str(house.guest))
    try:
        await fresh.start()
        process = await fresh.fork()
        assert os.sched_getaffinity(process.pid) == PROCESSORS
        process.kill()
        await process.exit_status()
        process.close()
    finally:
        await fresh.stop()


async def test_who_is_on_probation_and_burns_a_little_is_avoided_no_longer_than_that(house: House) -> None:
    other, _ = await house.loading(AT_LEISURE)
    burning = await house.burning()
    burning.held_until = house.clock.monotonic() + PROBATION
    house.watchdog.tick()
    avoided = PROCESSORS - processors(other)
    burning.end("enough")
    house.watchdog.tick()
    assert avoided and processors(other) == os.sched_getaffinity(0) == PROCESSORS


async def test_a_watchdog_lives_on_without_a_free_descriptor_and_lets_the_host_go_in_the_end(house: House) -> None:
    burning = await house.burning()
    running = asyncio.create_task(house.watchdog.run())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.listdir("/proc/self/task")
        machine.keep_to(PROCESSORS)
        await asyncio.sleep(3 * TICK)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    await house.until(lambda: os.sched_getaffinity(0) == PROCESSORS - processors(burning))
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled() and os.sched_getaffinity(0) == PROCESSORS


async def test_a_look_that_fails_is_not_the_last(house: House, caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []

    def isolates() -> list[Isolate]:
        looks.append(1)
        raise RuntimeError("no isolates")

    running = asyncio.create_task(Watchdog(house.clock, isolates).run())
    await house.until(lambda: len(looks) > 2)
    running.cancel()
    assert "looking at the isolates failed" in caplog.text


def test_processors_that_were_taken_away_are_no_error() -> None:
    nowhere = frozenset({max(PROCESSORS) + 1000})
    machine.keep_to(nowhere)
    stayed = os.sched_getaffinity(0)
    machine.keep_to(PROCESSORS)
    assert stayed == PROCESSORS


async def test_where_a_runaway_was_nobody_goes_for_a_while(house: House) -> None:
    other, _ = await house.loading(AT_LEISURE)
    burning = await house.burning()
    burning.interrupted_at = house.clock.monotonic()
    house.watchdog.tick()
    taken = processors(burning)
    burning.end("enough")
    house.clock.at += _AGAIN / 2
    house.watchdog.tick()
    assert processors(other) == os.sched_getaffinity(0) == PROCESSORS - taken
    house.clock.at += _AGAIN
    house.watchdog.tick()
    assert processors(other) == os.sched_getaffinity(0) == PROCESSORS


async def test_who_is_idle_is_told_where_it_may_go_when_it_has_something_to_do(house: House) -> None:
    idle, load = await house.loading(AT_ONCE)
    await load
    burning = await house.burning()
    assert processors(idle) == PROCESSORS
    await house.load(idle, AT_LEISURE)
    house.watchdog.tick()
    assert processors(idle) == PROCESSORS - processors(burning)
    await (await house.load(idle, AT_ONCE))
    burning.end("enough")
    house.watchdog.tick()
    assert processors(idle) != PROCESSORS
    await house.load(idle, AT_LEISURE)
    house.watchdog.tick()
    assert processors(idle) == PROCESSORS


async def test_where_somebody_burns_on_every_processor_nobody_keeps_off(house: House) -> None:
    other, _ = await house.loading(AT_LEISURE)
    guilty = [(await house.loading(ENDLESS))[0] for _ in PROCESSORS]
    for isolate, processor in zip(guilty, PROCESSORS, strict=True):
        isolate.process.keep_to(frozenset({processor}))
        isolate.held_until = house.clock.monotonic() + PROBATION
    await house.until(lambda: all(isolate.burns for isolate in guilty), house.watchdog.tick)
    assert all(is_held(isolate) for isolate in guilty) and processors(other) == PROCESSORS


async def test_nobody_keeps_off_who_is_on_probation_and_only_waits(house: House) -> None:
    other, _ = await house.loading(AT_LEISURE)
    waiting, _ = await house.loading(AT_LEISURE)
    waiting.held_until = house.clock.monotonic() + PROBATION
    house.watchdog.tick()
    await asyncio.sleep(0.01)
    house.watchdog.tick()
    assert is_held(waiting) and processors(other) == PROCESSORS
