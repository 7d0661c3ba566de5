"""In which order does a sync client hear things, and when is it given up?"""

import asyncio
from typing import Any

import pytest

from runtime import limits
from runtime.edge.sync.messages import PING
from runtime.edge.sync.wire import Gone, Wire

SECOND = 1_000.0


class Clock:
    def __init__(self) -> None:
        self.milliseconds = 0.0

    def now(self) -> float:
        return self.milliseconds

    def monotonic(self) -> float:
        return self.milliseconds / 1000


class Line:
    """What a client takes, when it takes anything."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.cut = False
        self.clock = Clock()
        self.wire = Wire(self.take, self.clock, self.cut_off)

    async def take(self, message: Any) -> None:
        await self.takes.wait()
        self.sent.append(message.get("text") or (message["code"], message["reason"]))

    def cut_off(self) -> None:
        self.cut = True


async def test_what_is_said_first_is_heard_first_however_slow_the_client_is() -> None:
    line = Line()
    line.takes.clear()
    saying = [asyncio.create_task(line.wire.say(str(number))) for number in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(line.wire.close(1013, "later"))
    await asyncio.sleep(0)
    assert line.sent == []
    line.takes.set()
    await asyncio.gather(*saying, closing)
    assert line.sent == ["0", "1", "2", "3", "4", (1013, "later")]


async def test_after_the_end_nothing_is_sent() -> None:
    line = Line()
    await line.wire.close(1000, "bye")
    await line.wire.close(1011, "again")
    with pytest.raises(Gone):
        await line.wire.say("late")
    assert line.sent == [(1000, "bye")]


async def test_a_long_reason_is_cut_to_what_a_close_frame_holds_and_stays_text() -> None:
    line = Line()
    await line.wire.close(1000, "é" * 100)
    ((_, reason),) = line.sent
    assert len(reason.encode()) <= 123
    assert set(reason) == {"é"}


async def test_a_client_that_hears_nothing_for_a_while_is_told_that_we_are_there() -> None:
    line = Line()
    line.wire.greeted = True
    looks = [line.wire.look(second) for second in range(0, limits.SYNC_PING // 1000, 5)]
    assert looks[0] is False
    assert line.wire.look(limits.SYNC_PING / 1000) is True
    line.clock.milliseconds = 15 * SECOND
    await line.wire.say(PING)
    assert line.wire.look(16) is False


async def test_a_client_that_takes_nothing_is_cut_and_a_quiet_one_is_not() -> None:
    line = Line()
    line.wire.greeted = True
    line.wire.look(limits.SYNC_SILENCE / 1000 + 1)
    assert not line.cut
    line.takes.clear()
    saying = asyncio.create_task(line.wire.say("x"))
    await asyncio.sleep(0)
    line.wire.look(limits.SYNC_SILENCE / 1000 - 1)
    assert not line.cut
    assert line.wire.look(limits.SYNC_SILENCE / 1000 + 1) is False
    assert line.cut
    saying.cancel()


async def test_who_never_says_who_it_is_is_cut() -> None:
    line = Line()
    assert line.wire.look(limits.SYNC_PING / 1000 + 1) is False
    line.wire.look(limits.SYNC_SILENCE / 1000 + 1)
    assert line.cut


async def test_a_connection_that_breaks_while_something_is_sent_is_gone() -> None:
    async def broken(message: Any) -> None:
        raise OSError("reset")

    wire = Wire(broken, Clock(), lambda: None)
    with pytest.raises(Gone):
        await wire.say("x")
    await wire.close(1000, "")
