"""Who asked an HTTP action hears of its head once, or why there is none; and whom others wait for is served at once."""

import asyncio

import msgspec
import pytest

from runtime.errors import IsolateLost, SyscallRefused, WarrenError
from runtime.invocation import Client
from runtime.isolates.conversations import FunctionConversation, HttpConversation, Wire
from runtime.protocol.messages import Answer, Failed, Failure, Head, HostMessage, Level, Reason, Refuse, Syscall


class Desk:
    """Serves nothing, and keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def is_awaited(self, name: str) -> bool:
        return False

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
        self.stumbles = False
        wire = Wire(self.said.append, lambda: None, asyncio.get_running_loop())
        self.conversation = HttpConversation(1, wire, Desk(), 0.0, Client(), self._hear)
        self.conversation.on_end = self._end

    def _hear(self, head: Head | Failure | WarrenError) -> None:
        self.heard.append(head)
        if self.stumbles:
            raise ArithmeticError("not the guest's fault")

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


class Counter(Desk):
    """Serves what is asked for as a test says, for a call that others wait for."""

    def __init__(self, waits: bool = False, refuses: bool = False) -> None:
        super().__init__()
        self.waits, self.refuses = waits, refuses
        self.go_on = asyncio.Event()
        self.ends: list[str] = []

    def is_awaited(self, name: str) -> bool:
        return name == "db.get"

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        try:
            if self.waits:
                await self.go_on.wait()
            if self.refuses:
                raise SyscallRefused("no")
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        except GeneratorExit:
            self.ends.append("closed")
            raise
        return msgspec.msgpack.encode("yes")


class Call:
    """A function call, what was said to it, and how much of that was on its way at once."""

    def __init__(self, desk: Counter) -> None:
        self.said: list[HostMessage] = []
        self.sent: list[HostMessage] = []
        wire = Wire(self.said.append, lambda: self.sent.extend(self.said), asyncio.get_running_loop())
        self.conversation = FunctionConversation(1, wire, desk, 0.0)

    def ask(self, name: str = "db.get") -> None:
        self.conversation.receive(Syscall(1, 0, name, msgspec.Raw(msgspec.msgpack.encode([]))))


@pytest.mark.parametrize("refuses", [False, True])
async def test_whom_others_wait_for_is_answered_in_the_turn_in_which_it_asks(refuses: bool) -> None:
    call = Call(Counter(refuses=refuses))
    call.ask()
    assert [type(message) for message in call.sent] == [Refuse if refuses else Answer]


async def test_anybody_else_is_answered_in_a_task_and_with_others() -> None:
    call = Call(Counter())
    call.ask("db.scan")
    assert call.said == []
    await asyncio.sleep(0)
    assert [type(message) for message in call.said] == [Answer] and call.sent == []


async def test_whom_others_wait_for_is_answered_as_soon_as_it_can_be() -> None:
    desk = Counter(waits=True)
    call = Call(desk)
    call.ask()
    await asyncio.sleep(0.01)
    assert call.sent == []
    desk.go_on.set()
    await asyncio.sleep(0.01)
    assert [type(message) for message in call.sent] == [Answer]


@pytest.mark.parametrize(("begun", "end"), [(True, "cancelled"), (False, "closed")])
async def test_what_is_waited_for_ends_with_the_conversation(begun: bool, end: str) -> None:
    desk = Counter(waits=True)
    call = Call(desk)
    call.ask()
    if begun:
        await asyncio.sleep(0)
    call.conversation.ended("its process ended")
    call.conversation.outcome.cancel()
    await asyncio.sleep(0.01)
    assert desk.ends == [end] and call.said == []


async def test_others_may_wait_for_the_same() -> None:
    desk = Counter(waits=True)
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    desk.go_on.wait = lambda: first  # type: ignore[method-assign, assignment, return-value]  # one future for both
    call = Call(desk)
    call.ask()

    async def other() -> None:
        await first

    waiting = asyncio.ensure_future(other())
    await asyncio.sleep(0.01)
    first.set_result(None)
    await waiting
    await asyncio.sleep(0.01)
    assert [type(message) for message in call.sent] == [Answer]


async def test_who_stumbles_over_a_head_does_not_keep_the_conversation_open(caplog: pytest.LogCaptureFixture) -> None:
    asker, head = Asker(), Head(1, 200, [], b"hello", True)
    asker.stumbles = True
    assert asker.conversation.receive(head)
    assert asker.heard == [head]
    assert "not the guest's fault" in caplog.text
