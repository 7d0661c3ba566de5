"""A signal fires once, and tells everybody who asked."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from runtime.protocol.messages import Level
from runtime.sdk.fetch.signals import AbortError, AbortEvent, AbortSignal
from runtime.sdk.running import RUNNING, Running


def test_a_signal_fires_once_and_keeps_its_first_reason() -> None:
    signal, told = AbortSignal(), list[str]()
    signal.add_event_listener("abort", lambda: told.append("x"))
    signal.throw_if_aborted()
    signal.fire("first")
    signal.fire("second")
    assert (signal.aborted, signal.reason, told) == (True, "first", ["x"])
    with pytest.raises(AbortError, match="first"):
        signal.throw_if_aborted()


def test_a_reason_that_is_an_exception_is_raised_as_it_is() -> None:
    signal = AbortSignal()
    signal.fire(KeyError("gone"))
    with pytest.raises(KeyError):
        signal.throw_if_aborted()
    plain = AbortSignal()
    plain.fire()
    with pytest.raises(AbortError):
        plain.throw_if_aborted()


def test_listeners_may_take_the_event_or_nothing() -> None:
    signal, told = AbortSignal(), list[Any]()

    def without() -> None:
        told.append("without")

    def removed(event: AbortEvent) -> None:
        told.append("removed")

    signal.add_event_listener("abort", told.append)
    signal.add_event_listener("abort", without)
    signal.add_event_listener("abort", without)
    signal.add_event_listener("abort", removed)
    signal.add_event_listener("other", without)
    signal.remove_event_listener("abort", removed)
    signal.fire()
    event, *rest = told
    assert (event.type, event.target, rest) == ("abort", signal, ["without"])
    with pytest.raises(TypeError):
        signal.add_event_listener("abort", 5)  # type: ignore[arg-type]  # wrong on purpose


def test_who_comes_too_late_is_told_only_by_on_abort() -> None:
    signal, told = AbortSignal(), list[str]()
    signal.fire()
    signal.add_event_listener("abort", lambda: told.append("listener"))
    signal.on_abort(lambda: told.append("on_abort"))
    assert told == ["on_abort"]


async def test_waiting_ends_when_the_signal_fires() -> None:
    signal = AbortSignal()
    waits = [asyncio.ensure_future(signal.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await asyncio.sleep(0)
    signal.fire("gone")
    assert await asyncio.gather(*waits[1:]) == ["gone", "gone"]
    assert await signal.wait() == "gone"


async def test_a_listener_runs_where_it_was_added_and_its_failure_is_logged() -> None:
    where: ContextVar[str] = ContextVar("where", default="outside")
    lines: list[str] = []
    done = asyncio.Event()

    async def nobody(*_: object) -> None: ...

    def log(level: Level, text: str) -> None:
        lines.append(f"{level} {where.get()} {text}")

    signal = AbortSignal()

    def tenant() -> None:
        where.set("inside")
        RUNNING.set(Running(None, "r", "d", nobody, log))

        @signal.on_abort
        def fails() -> None:
            raise ValueError("broke")

        @signal.on_abort
        async def slow() -> None:
            await asyncio.sleep(0)
            done.set()
            raise KeyError("later")

    await asyncio.to_thread(tenant)
    signal.fire()
    await done.wait()
    await asyncio.sleep(0)
    assert lines == [
        "error inside an abort listener raised ValueError: broke",
        "error inside an abort listener raised KeyError: 'later'",
    ]
