"""A deployment runs so many calls at once; the others wait their turn, for a while."""

import asyncio

import pytest

from runtime import limits
from runtime.errors import SyscallRefused, TooManyRequests
from runtime.execution.admission import Admission
from runtime.invocation import Deployment
from runtime.names import DeploymentName


def deployment(concurrency: int | None = None, name: str = "happy-otter-1") -> Deployment:
    return Deployment(DeploymentName(name), None, {}, concurrency=concurrency)


async def test_a_free_permit_is_taken_at_once_and_a_full_house_has_none() -> None:
    admission = Admission()
    assert admission.take(deployment(1))
    assert not admission.take(deployment(1))
    assert admission.take(deployment(1, "another"))


async def test_who_waits_longest_is_served_first() -> None:
    admission = Admission()
    assert admission.take(deployment(1))
    served: list[int] = []

    async def wait(number: int) -> None:
        await admission.wait(deployment(1))
        served.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    for _ in range(3):
        admission.give_back(DeploymentName("happy-otter-1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert served == [0, 1, 2]


async def test_whoever_gives_up_waiting_leaves_no_permit_behind() -> None:
    admission = Admission()
    assert admission.take(deployment(1))
    waiting = asyncio.create_task(admission.wait(deployment(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    admission.give_back(DeploymentName("happy-otter-1"))
    assert admission.running() == 0


async def test_too_many_in_the_line_are_refused_with_the_number() -> None:
    admission = Admission()
    assert admission.take(deployment(1))
    waiting = [asyncio.create_task(admission.wait(deployment(1))) for _ in range(limits.WAITING_REQUESTS)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests, match=str(int(limits.WAITING_REQUESTS))):
        await admission.wait(deployment(1))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_calls_from_function_to_function_are_refused_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NESTED_CALLS", limits.Limit(2, "calls", "for this test"))
    admission = Admission()
    name = deployment().name
    with admission.beneath(name), admission.beneath(name):
        with pytest.raises(SyscallRefused, match="NESTED_CALLS"), admission.beneath(name):
            pass
        with admission.beneath(DeploymentName("another")):
            pass
    with admission.beneath(name):
        pass
