"""Which process serves which deployment, and what happens to those that are not worth keeping."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime import limits
from runtime.errors import IsolateLost, Overloaded
from runtime.invocation import Deployment, Succeeded
from runtime.names import DeploymentName
from runtime.protocol import values
from runtime.protocol.declaration import Engine
from runtime.protocol.messages import Reason
from tests.units.node_style_house import House, kill

PYTHON = """"use node"
import asyncio, os, time
from runtime import action
count = 0
gate = asyncio.Event()
@action
async def counted(ctx):
    global count
    count += 1
    return [os.getpid(), count]
@action
async def waits(ctx):
    print("waiting")
    await gate.wait()
    return os.getpid()
@action
async def lets(ctx):
    gate.set()
    return os.getpid()
@action
async def sleeps(ctx):
    print("asleep")
    await asyncio.sleep(100)
@action
async def burns(ctx):
    print("burning")
    while True:
        pass
@action
def deaf(ctx):
    print("deaf")
    time.sleep(100)
@action
async def leaves(ctx):
    os._exit(3)
@action
async def eats(ctx):
    kept.append(b"x" * (400 * 1024 * 1024))
kept = []
@action
async def leaves_a_thread(ctx):
    import threading
    def burn():
        while True:
            pass
    threading.Thread(target=burn, daemon=True).start()
"""
JAVASCRIPT = """"use node";
import { action } from "warren";
let count = 0;
export const counted = action(async () => [process.pid, ++count]);
export const sleeps = action(async () => { console.log("asleep"); await new Promise(() => {}); });
export const burns = action(async () => { console.log("burning"); for (;;); });
"""
FILES = {Engine.PYTHON: {"jobs.py": PYTHON}, Engine.NODE: {"jobs.mjs": JAVASCRIPT}}
both = pytest.mark.parametrize("engine", [Engine.PYTHON, Engine.NODE])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.close()


async def said(house: House) -> None:
    """Wait until an action has said something."""
    async with asyncio.timeout(20):
        await house.said.wait()
    house.said.clear()


@both
async def test_a_process_stays_warm_and_keeps_its_modules(house: House, engine: Engine) -> None:
    await house.push(engine, FILES[engine])
    pid, first = await house.value("jobs:counted")
    assert first == 1
    assert [await house.value("jobs:counted") for _ in range(3)] == [[pid, 2], [pid, 3], [pid, 4]]


async def test_calls_share_a_process(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    waiting = asyncio.ensure_future(house.value("jobs:waits"))
    await said(house)
    assert await house.value("jobs:lets") == await waiting


@both
async def test_many_first_callers_start_one_process(house: House, engine: Engine) -> None:
    await house.push(engine, FILES[engine])
    found = await asyncio.gather(*(house.value("jobs:counted") for _ in range(10)))
    assert len({pid for pid, _ in found}) == 1


async def test_a_new_version_gets_its_own_process_and_the_old_one_finishes_what_it_does(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    waiting = asyncio.ensure_future(house.value("jobs:waits"))
    await said(house)
    (old,) = house.crews.processes()
    await house.push(Engine.PYTHON, {"jobs.py": PYTHON + "\n# changed\n"})
    pid, _ = await house.value("jobs:counted")
    assert old.retiring and old.lost is None and pid != old.process.pid
    # Nobody can reach it any more to let it go on.
    waiting.cancel()
    async with asyncio.timeout(20):
        await old.process.exit_status()


async def test_another_environment_is_another_process(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    pid, _ = await house.value("jobs:counted")
    house.environment = {}
    assert (await house.value("jobs:counted"))[0] == pid
    house.environment = {"NEW": "1"}
    assert (await house.value("jobs:counted"))[0] != pid


async def test_at_the_ceiling_the_one_that_is_idle_gives_way(tmp_path: Path) -> None:
    house = House(tmp_path, processes=1)
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    pid, _ = await house.value("jobs:counted")
    await house.push(Engine.NODE, FILES[Engine.NODE])
    assert (await house.value("jobs:counted"))[0] != pid
    assert len(list(house.crews.processes())) == 1
    await house.close()


async def test_where_all_are_busy_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PERMIT_WAIT", 50)
    house = House(tmp_path, processes=1)
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    waiting = asyncio.ensure_future(house.value("jobs:waits"))
    await said(house)
    with pytest.raises(Overloaded, match="all 1 Node-style processes of this worker are busy"):
        await house.crews.acquire(Deployment(DeploymentName("x"), house.version, {}), house.version, Engine.PYTHON)
    await house.value("jobs:lets")
    await waiting
    await house.close()


@both
async def test_a_call_past_its_deadline_fails_and_the_process_is_replaced(house: House, engine: Engine) -> None:
    await house.push(engine, FILES[engine])
    pid, _ = await house.value("jobs:counted")
    house.said.clear()
    call = asyncio.ensure_future(house.failure("jobs:sleeps"))
    await said(house)
    house.clock.ahead += 31
    assert (await call).reason is Reason.TIME
    assert (await house.value("jobs:counted"))[0] != pid


@both
async def test_a_call_that_does_not_listen_is_ended_with_its_process(house: House, engine: Engine) -> None:
    await house.push(engine, FILES[engine])
    call = asyncio.ensure_future(house.failure("jobs:burns"))
    await said(house)
    house.clock.ahead += 31
    assert (await call).reason is Reason.TIME
    house.clock.ahead += 6
    assert await house.lost.get() == "a call did not stop at its deadline (signal SIGKILL)"


async def test_a_thread_that_does_not_listen_is_ended_with_its_process(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    call = asyncio.ensure_future(house.failure("jobs:deaf"))
    await said(house)
    (process,) = house.crews.processes()
    house.clock.ahead += 31
    assert (await call).reason is Reason.TIME
    async with asyncio.timeout(20):
        await process.process.exit_status()


async def test_others_get_another_process_while_one_burns(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    call = asyncio.ensure_future(house.run("jobs:burns"))
    await said(house)
    (burning,) = house.crews.processes()
    while not burning.ping_pending:
        await asyncio.sleep(0.05)
    house.clock.ahead += 1
    assert (await house.value("jobs:counted"))[0] != burning.process.pid
    call.cancel()


@both
async def test_a_process_that_is_gone_fails_its_calls_with_the_reason(house: House, engine: Engine) -> None:
    await house.push(engine, FILES[engine])
    call = asyncio.ensure_future(house.failure("jobs:sleeps"))
    await said(house)
    (process,) = house.crews.processes()
    kill(process.process.pid)
    failure = await call
    assert (failure.reason, failure.exception) == (Reason.CRASHED, "ProcessEnded")
    assert failure.message.endswith("its process ended (signal SIGKILL)")
    assert (await house.value("jobs:counted"))[1] == 1


async def test_leaving_the_process_fails_the_call_with_its_exit_code(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    assert (await house.failure("jobs:leaves")).message.endswith("its process ended (exit code 3)")
    assert await house.lost.get() == "its process ended (exit code 3)"


async def test_a_process_that_has_grown_is_replaced_between_calls(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    await house.value("jobs:eats")
    (process,) = house.crews.processes()
    async with asyncio.timeout(20):
        await process.process.exit_status()
    assert (await house.value("jobs:counted"))[1] == 1


async def test_a_process_that_burns_with_no_call_to_run_is_ended(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    await house.value("jobs:leaves_a_thread")
    async with asyncio.timeout(20):
        assert "of CPU in a second with no call to run" in await house.lost.get()


async def test_an_idle_process_is_retired_and_nobody_is_told(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    await house.value("jobs:counted")
    (process,) = house.crews.processes()
    house.clock.ahead += limits.NODE_IDLE / 1000 + 1
    async with asyncio.timeout(20):
        await process.process.exit_status()
    await house.crews.stop()
    assert house.lost.empty() and house.open_folders == 0


async def test_a_process_that_cannot_load_its_bundle_says_so(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    house.version.bundle["jobs.py"] = b'"use node"\nimport gone_since\n'  # type: ignore[index]  # it is a dict
    with pytest.raises(IsolateLost, match=r"do not load any more: .*gone_since"):
        await house.run("jobs:counted")


async def test_what_a_deleted_deployment_ran_is_ended(house: House) -> None:
    await house.push(Engine.PYTHON, FILES[Engine.PYTHON])
    await house.value("jobs:counted")
    (process,) = house.crews.processes()
    house.crews.remove(DeploymentName("happy-animal-1"))
    async with asyncio.timeout(20):
        await process.process.exit_status()


async def test_a_bundle_may_have_both_languages(house: House) -> None:
    python = await house.push(Engine.PYTHON, {"a.py": PYTHON, "b.mjs": JAVASCRIPT})
    node = await house.push(Engine.NODE, {"a.py": PYTHON, "b.mjs": JAVASCRIPT})
    assert {function.path.split(":")[0] for function in python.functions} == {"a"}
    assert {function.path.split(":")[0] for function in node.functions} == {"b"}
    outcome = await house.run("b:counted")
    assert isinstance(outcome, Succeeded) and values.decode(outcome.value)[1] == 1
