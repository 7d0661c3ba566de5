"""Who asked an HTTP action hears of its head once, or why there is none."""

import asyncio

import msgspec

from runtime.errors import IsolateLost, WarrenError
from runtime.invocation import Client
from runtime.isolates.conversations import HttpConversation, Wire
from runtime.protocol.messages import Failed, Failure, Head, HostMessage, Level, Reason


class Desk:
    """Serves nothing, and keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        raise NotImplementedError

    def log(self, level: Level, text: str) -> None:
        self.lines.append(text)

    def ended(self) -> None: ...


class Asker:
    """A conversation, and what was heard of it."""

    def __init__(self) -> None:
        self.heard: list[Head | Failure | WarrenError] = []
        self.said: list[HostMessage] = []
        self.ended = 0
        wire = Wire(self.said.append, asyncio.get_running_loop())
        self.conversation = HttpConversation(1, wire, Desk(), 0.0, Client(), self.heard.append)
        self.conversation.on_end = self._end

    def _end(self) -> None:
        self.ended += 1


async def test_a_head_is_heard_in_the_turn_in_which_it_comes() -> None:
    asker, head = Asker(), Head(1, 200, [], b"hello", True)
    assert asker.conversation.receive(head)
    assert asker.heard == [head]


async def test_a_failure_is_heard_in_its_place_and_nothing_after_it() -> None:
    asker, failure = Asker(), Failure(Reason.RAISED, "ValueError", "no")
    asker.conversation.receive(Failed(1, failure))
    asker.conversation.ended(None)
    await asyncio.sleep(0)
    assert (asker.heard, asker.ended) == ([failure], 1)


async def test_a_loss_is_heard_later_as_it_may_happen_while_somebody_still_asks() -> None:
    asker = Asker()
    asker.conversation.ended("its process ended")
    assert (asker.heard, asker.ended) == ([], 1)
    await asyncio.sleep(0)
    assert [type(heard) for heard in asker.heard] == [IsolateLost]


async def test_who_has_gone_away_hears_nothing() -> None:
    asker = Asker()
    asker.conversation.silence()
    assert asker.conversation.receive(Head(1, 200, [], b"hello", True))
    asker.conversation.ended("its process ended")
    await asyncio.sleep(0)
    assert asker.heard == []
