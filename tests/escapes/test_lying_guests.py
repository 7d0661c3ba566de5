"""Whatever a guest says, the host lives on, ends that guest, and tells the caller."""

import asyncio
import time
from collections.abc import AsyncIterator
from importlib import util
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from runtime.egress.rules import Rules, parse_exceptions
from runtime.errors import IsolateLost, PushRefused, SyscallRefused, WarrenError
from runtime.execution.analysis import Analyst
from runtime.invocation import Deployment, Invocation, Version
from runtime.isolates.pool import Pool, PoolSettings
from runtime.isolates.watchdog import Watchdog
from runtime.isolates.zygote import Zygote
from runtime.names import DeploymentName, FunctionPath, RequestId, VersionNumber
from runtime.protocol.declaration import Declaration, Kind
from runtime.protocol.messages import Failure, Level
from runtime.protocol.values import InvalidValue, decode

GUEST = Path(__file__).with_name("lying_guest.py")


def lies() -> ModuleType:
    spec = util.spec_from_file_location("lying_guest", GUEST)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class RealClock:
    def now(self) -> float:
        return time.time() * 1000

    def monotonic(self) -> float:
        return time.monotonic()


class Desk:
    """Serves nothing, and keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        raise SyscallRefused(f"there is no {name}")

    def is_awaited(self, name: str) -> bool:
        return False

    def log(self, level: Level, text: str) -> None:
        self.lines.append(text)

    def ended(self) -> None:
        pass


class House:
    """A pool whose isolates lie."""

    def __init__(self, zygote: Zygote) -> None:
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        clock = RealClock()
        settings = PoolSettings(isolates=8, isolates_per_deployment=2, spares=0)
        self.pool = Pool(zygote, settings, clock, lambda name, line: None, lambda name, why: self.lost.put_nowait(why))
        work = (Watchdog(clock, self.pool.isolates).run(), self.pool.sweep())
        self._work = [asyncio.create_task(part) for part in work]

    async def call(self, lie: str) -> bytes | Failure:
        name = DeploymentName(lie)
        version = Version(VersionNumber(1), lie, {}, Declaration())
        deployment = Deployment(name, version, {})
        isolate = await self.pool.acquire(deployment, version)
        path = FunctionPath("a", "b")
        invocation = Invocation(deployment, version, path, Kind.QUERY, b"\x80", RequestId("r"))
        return await isolate.call(invocation, Desk(), 0.0, time.monotonic() + 5).outcome

    async def close(self) -> None:
        for part in self._work:
            part.cancel()
        await self.pool.stop()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    zygote = Zygote(guest=str(GUEST))
    await zygote.start()
    house = House(zygote)
    yield house
    await house.close()
    await zygote.stop()


@pytest.mark.parametrize("lie", sorted(set(lies().AT_ONCE) - {"half-a-frame"}))
async def test_a_lie_before_the_first_call_ends_the_isolate(house: House, lie: str) -> None:
    with pytest.raises((IsolateLost, PushRefused)):
        async with asyncio.timeout(20):
            await house.call(lie)
    if lie != "loaded-twice":  # whose first answer is a good one: the push is over before the lie
        with pytest.raises(WarrenError):
            async with asyncio.timeout(20):
                await house.pool.analyse(DeploymentName(lie), {}, {})
    assert house.pool.counts()["all"] == 0


@pytest.mark.parametrize("lie", sorted(set(lies().ON_CALL) - {"call-no-value", "call-log-bomb", "call-answers-twice"}))
async def test_a_lie_in_a_call_ends_the_isolate_and_the_call(house: House, lie: str) -> None:
    async with asyncio.timeout(20):
        try:
            outcome = await house.call(lie)
        except IsolateLost:
            assert house.pool.counts()["all"] == 0
        else:
            assert lie == "call-unknown-syscall"
            assert outcome == b"\xc0"


async def test_a_second_answer_ends_the_isolate_after_the_first_was_heard(house: House) -> None:
    assert await house.call("call-answers-twice") == b"\xc0"
    assert "not open" in await house.lost.get()


async def test_a_result_that_is_no_value_is_refused_when_it_is_read(house: House) -> None:
    outcome = await house.call("call-no-value")
    assert isinstance(outcome, bytes)
    with pytest.raises(InvalidValue):
        decode(outcome)


async def test_a_failure_of_any_length_arrives_cut(house: House) -> None:
    outcome = await house.call("call-log-bomb")
    assert isinstance(outcome, Failure)
    assert len(outcome.exception) < 1_000
    assert len(outcome.message) < 20_000
    assert outcome.data is None


async def test_half_a_frame_does_not_keep_a_push_waiting_for_ever(house: House) -> None:
    with pytest.raises(IsolateLost, match="its process ended"):
        await house.pool.analyse(DeploymentName("half-a-frame"), {}, {})


async def test_an_isolate_that_is_gone_as_soon_as_it_has_loaded_is_not_chosen_again(house: House) -> None:
    for _ in range(3):
        with pytest.raises(IsolateLost):
            await house.call("loaded-twice")
        async with asyncio.timeout(5):
            assert "nobody asked for" in await house.lost.get()


async def test_a_guest_has_no_say_about_what_is_installed(house: House) -> None:
    claimed = await house.pool.analyse(DeploymentName("locks"), {}, {})
    assert claimed.packages is not None
    believed = await Analyst(house.pool, Rules(parse_exceptions(""))).analyse(DeploymentName("locks"), {}, {})
    assert believed.packages is None


async def test_a_guest_that_burns_with_nothing_to_do_is_ended(house: House) -> None:
    name = DeploymentName("restless")
    version = Version(VersionNumber(1), "restless", {}, Declaration())
    await house.pool.acquire(Deployment(name, version, {}), version)
    async with asyncio.timeout(20):
        assert "no call to run" in await house.lost.get()
