"""Does an isolate in a long turn let the others go first, get its share all the same, and come back?"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runtime.isolates.isolate import Isolate
from runtime.isolates.process import IsolateProcess
from runtime.isolates.watchdog import Watchdog
from runtime.isolates.zygote import Zygote
from runtime.protocol.forking import STEPPING_BACK
from runtime.protocol.messages import Load

# Loads for as many turns of a loop as its deployment's name says, and hears nothing meanwhile.
GUEST = """
import os
from runtime.protocol.declaration import Declaration
from runtime.protocol.framing import frame, splitter_for_guest
from runtime.protocol.messages import Load, Loaded, Ping, Pong, Ready

def prepare():
    pass

def main(layers):
    os.write(3, frame(Ready(layers)))
    splitter = splitter_for_guest(1 << 20)
    while data := os.read(3, 65536):
        for message in splitter.feed(data):
            if isinstance(message, Load):
                turns = int(message.deployment)
                while turns:
                    turns -= 1
                os.write(3, frame(Loaded(Declaration())))
            elif isinstance(message, Ping):
                os.write(3, frame(Pong(message.number)))
    os._exit(0)
"""
FOREVER = str(10**15)


class HandClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at * 1000

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    path = tmp_path / "guest.py"
    path.write_text(GUEST)
    zygote = Zygote(guest=str(path))
    await zygote.start()
    if not any(layer.name == STEPPING_BACK and layer.holds for layer in zygote.report()):
        await zygote.stop()
        pytest.skip("this machine does not let an isolate step back")
    yield zygote
    await zygote.stop()


async def until(condition: Callable[[], bool], between: Callable[[], object] = lambda: None) -> None:
    """There is nothing to await that would tell how much a process has burnt."""
    async with asyncio.timeout(20):
        while not condition():
            between()
            await asyncio.sleep(0.005)


def niceness(process: IsolateProcess) -> int:
    return os.getpriority(os.PRIO_PROCESS, process.pid)


async def loading(zygote: Zygote, clock: HandClock, turns: str) -> "tuple[Isolate, Watchdog, asyncio.Task[object]]":
    isolate = Isolate(await zygote.fork(), clock.monotonic())
    await isolate.start()
    load = asyncio.create_task(isolate.load(Load({}, {}, turns, True)))
    await asyncio.sleep(0)
    watchdog = Watchdog(clock, lambda: (isolate,))
    clock.at += 2  # so long it has been quiet: now it is asked
    watchdog.tick()
    assert isolate.ping_pending
    return isolate, watchdog, load


async def done(isolate: Isolate) -> None:
    isolate.end("the test is over")
    await isolate.process.exit_status()
    isolate.process.close()


async def test_who_burns_steps_back_until_it_listens_again(zygote: Zygote) -> None:
    clock = HandClock()
    isolate, watchdog, load = await loading(zygote, clock, str(2 * 10**7))
    before = niceness(isolate.process)
    await until(lambda: niceness(isolate.process) == 19, watchdog.tick)
    await load
    await until(lambda: not isolate.ping_pending)
    assert niceness(isolate.process) == before
    await done(isolate)


async def test_who_gets_less_than_its_share_comes_back_to_the_front(zygote: Zygote) -> None:
    clock = HandClock()
    isolate, watchdog, load = await loading(zygote, clock, FOREVER)
    before = niceness(isolate.process)
    await until(lambda: niceness(isolate.process) == 19, watchdog.tick)
    clock.at += 4 * time.clock_gettime(isolate.process._clock) + 1  # so long it has waited for what it got
    watchdog.tick()
    assert niceness(isolate.process) == before
    await done(isolate)
    await asyncio.gather(load, return_exceptions=True)


async def test_who_is_gone_neither_steps_back_nor_up(zygote: Zygote) -> None:
    process = await zygote.fork()
    process.step_back()
    os.kill(process.pid, signal.SIGKILL)
    await process.exit_status()
    process.step_up()
    process.step_back()
    process.close()
