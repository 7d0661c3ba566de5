"""A guest that says much is heard in turns with everybody else."""

import asyncio

from runtime.isolates.hearing import Ear
from runtime.protocol.framing import ProtocolViolation, frame
from runtime.protocol.messages import GuestMessage, Pong


class Channel(asyncio.Transport):
    """Remembers whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = True

    def pause_reading(self) -> None:
        self.read = False

    def resume_reading(self) -> None:
        self.read = True

    def is_closing(self) -> bool:
        return False


class Listener:
    """An ear, and what it has heard."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.lies: list[str] = []
        self.channel = Channel()
        self.ear = Ear(self._hear, lambda lie: self.lies.append(str(lie)))
        self.ear.listen(self.channel)

    def _hear(self, message: GuestMessage) -> None:
        assert isinstance(message, Pong)
        self.heard.append(message.number)
        if message.number < 0:
            raise ProtocolViolation("a number below zero")


def said(*numbers: int) -> bytes:
    return b"".join(frame(Pong(number)) for number in numbers)


async def test_a_flood_is_heard_in_order_and_others_have_their_turn_meanwhile() -> None:
    listener = Listener()
    listener.ear.take(said(*range(2_500)))
    turns = []
    while listener.ear.behind:
        turns.append(len(listener.heard))
        assert not listener.channel.read
        await asyncio.sleep(0)
    assert len(turns) > 1
    assert listener.heard == list(range(2_500))
    assert listener.channel.read


async def test_a_few_messages_are_heard_at_once() -> None:
    listener = Listener()
    listener.ear.take(said(1, 2, 3))
    assert listener.heard == [1, 2, 3]
    assert listener.channel.read


async def test_nothing_is_heard_after_the_first_lie() -> None:
    listener = Listener()
    listener.ear.take(said(*range(1_500), -1, 5))
    while listener.ear.behind:
        await asyncio.sleep(0)
    listener.ear.take(said(6))
    assert listener.heard[-1] == -1
    assert listener.lies == ["a number below zero"]


async def test_nothing_is_heard_after_the_end() -> None:
    listener = Listener()
    listener.ear.take(said(*range(1_500)))
    listener.ear.close()
    while listener.ear.behind:
        await asyncio.sleep(0)
    assert len(listener.heard) < 1_500
