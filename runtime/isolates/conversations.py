"""What has one invocation said so far, and who waits for it?

The host's half of a conversation: it lets the guest's messages through the `Ledger`, has syscalls served at the `Desk`,
and keeps results and body pieces until they are asked for. Knows no process and no HTTP; `Wire` is its only way out.

Rules
1. Every message passes the ledger first. A violation is raised to the isolate, which ends with all its conversations.
2. `ended` is called exactly once, by the last word or by the isolate's death.
3. After `silence` the guest may go on talking until its last word; nobody listens.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import NamedTuple

import msgspec

from runtime import limits
from runtime.errors import CallerMistake, IsolateLost, OurMistake, SyscallRefused, WarrenError
from runtime.invocation import Client, RequestBody, traceback_text
from runtime.ports import Desk
from runtime.protocol.conversation import AboutACall, Ledger, State
from runtime.protocol.messages import (
    Answer,
    Chunk,
    Credit,
    Disconnected,
    Failed,
    Failure,
    Feed,
    Frame,
    Head,
    HostMessage,
    Level,
    Line,
    Reason,
    Refuse,
    Returned,
    Stop,
    Syscall,
    Taken,
)
from runtime.protocol.values import InvalidValue, decode

log = logging.getLogger("warren.isolates")


class Wire(NamedTuple):
    """The way to one guest: how to say something, and the loop that waits (asking for it costs a kernel call)."""

    say: Callable[[HostMessage], None]
    send: Callable[[], None]  # now, and not at the end of this turn, whatever was said
    loop: asyncio.AbstractEventLoop


OnHead = Callable[[Head | Failure | WarrenError], None]

_NAME = 300
_MESSAGE = int(limits.LOG_LINE_BYTES)
_FRAMES = 50


class StreamBroken(OurMistake):
    """A response body ended before its end; the client's connection must be cut so that it can tell."""

    code = "StreamBroken"


class Conversation:
    """What every conversation has: an id, a ledger, a desk, a deadline, and an end."""

    __slots__ = (
        "_loop",
        "_say",
        "_send",
        "_tasks",
        "cid",
        "deadline",
        "desk",
        "ledger",
        "listened_to",
        "on_end",
        "stopped_at",
    )

    def __init__(self, cid: int, wire: Wire, state: State, desk: Desk, deadline: float) -> None:
        self.cid = cid
        self._say, self._send, self._loop = wire
        self.ledger = Ledger(state)
        self.desk = desk
        self.deadline = deadline
        self.stopped_at: float | None = None
        self.listened_to = True
        self.on_end: Callable[[], None] | None = None
        # Most conversations never need one.
        self._tasks: set[asyncio.Task[None]] | None = None

    def receive(self, message: AboutACall) -> bool:
        """Take one message of the guest; say whether it was the last word."""
        self.ledger.admit(message)
        if type(message) is Syscall:
            if self.desk.is_awaited(message.name):
                self._serve_now(message)
            else:
                self._keep(self._serve(message))
        elif type(message) is Line:
            self.desk.log(message.level, message.text)
        elif self.listened_to:
            self._take(message)
        return self.ledger.state is State.ENDED

    def stop(self, now: float) -> None:
        """Ask the guest to end this; the caller is told at once that its time is over."""
        if self.stopped_at is None:
            self.stopped_at = now
            self._say(Stop(self.cid))
            self._fail_with(Failure(Reason.TIME, "TimeLimit", "the function ran longer than it may"))

    def blame(self, failure: Failure) -> None:
        """This call and no other is the reason why the isolate has to end."""
        self._fail_with(failure)

    def silence(self) -> None:
        """Nobody wants the result any more."""
        self.listened_to = False

    def ended(self, lost: str | None) -> None:
        """There will be no more messages: after the last word, or because the isolate is ``lost``."""
        for task in self._tasks or ():
            task.cancel()
        self.desk.ended()
        if lost is not None:
            self._lose(IsolateLost(lost))
        on_end, self.on_end = self.on_end, None  # it may hold us, and would wait for the collector
        if on_end is not None:
            on_end()

    def _take(self, message: AboutACall) -> None:
        raise NotImplementedError

    def _fail_with(self, failure: Failure) -> None:
        raise NotImplementedError

    def _lose(self, error: WarrenError) -> None:
        raise NotImplementedError

    def _keep(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        if self._tasks is None:
            self._tasks = set()
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _serve_now(self, question: Syscall) -> None:
        # A task would begin at the next turn of the loop, and what it says would leave at the one after that.
        work = self._serve(question, self._send)
        try:
            waited = work.send(None)
        except StopIteration:
            return
        # Who is cancelled before the first step of the rest has to be told.
        self._keep(_go_on(work, waited)).add_done_callback(lambda _: work.close())

    async def _serve(self, question: Syscall, send: Callable[[], None] | None = None) -> None:
        self._say(await self._answer_to(question))
        self.ledger.answered()
        if send is not None:
            send()

    async def _answer_to(self, question: Syscall) -> Answer | Refuse:
        try:
            value = await self.desk.serve(question.name, question.args)
        except SyscallRefused as refused:
            return Refuse(self.cid, question.sid, refused.exception, str(refused), refused.data)
        except CallerMistake as mistake:
            return Refuse(self.cid, question.sid, "RuntimeError", str(mistake))
        except OurMistake as mistake:
            # At a level that is seldom read: a tenant can make thousands of these, and hears of each itself.
            log.debug("syscall %s failed: %s", question.name, mistake)
            return Refuse(self.cid, question.sid, "RuntimeError", f"{mistake.code}: try again")
        except Exception:
            log.exception("syscall %s failed", question.name)
            return Refuse(self.cid, question.sid, "RuntimeError", "InternalError: the server could not do this")
        return Answer(self.cid, question.sid, msgspec.Raw(value))


class _Rest:
    """What is left of a coroutine that has begun, and waits for something."""

    def __init__(self, work: Coroutine[object, object, None], waited: object) -> None:
        self._work = work
        self._waited = waited

    def __await__(self) -> Generator[object, object, None]:
        waited = self._waited
        # Said by who yields it, and taken back by the task that waits for it; another one may have come in between.
        if hasattr(waited, "_asyncio_future_blocking"):
            waited._asyncio_future_blocking = True
        while True:
            try:
                try:
                    got = yield waited
                except BaseException as error:
                    waited = self._work.throw(error)
                else:
                    waited = self._work.send(got)
            except StopIteration:
                return


async def _go_on(work: Coroutine[object, object, None], waited: object) -> None:
    await _Rest(work, waited)


class FunctionConversation(Conversation):
    """A query, mutation or action: it ends with a value or a failure."""

    __slots__ = ("outcome",)

    def __init__(self, cid: int, wire: Wire, desk: Desk, deadline: float) -> None:
        super().__init__(cid, wire, State.CALLED, desk, deadline)
        self.outcome: asyncio.Future[bytes | Failure] = wire.loop.create_future()

    def _take(self, message: AboutACall) -> None:
        if self.outcome.done():
            return
        if type(message) is Returned:
            self.outcome.set_result(bytes(message.value))
        elif type(message) is Failed:
            self.outcome.set_result(_cut(message.failure))

    def _fail_with(self, failure: Failure) -> None:
        if not self.outcome.done():
            self.outcome.set_result(failure)

    def _lose(self, error: WarrenError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            # Its caller may have left meanwhile; then nobody fetches the exception, and that is all right.
            self.outcome.exception()


class HttpConversation(Conversation):
    """An HTTP action: a head, then pieces of a body, both ways. ``on_head`` hears of the head, or why there is none."""

    __slots__ = ("_broken", "_client", "_last", "_on_head", "_piece_came", "_pieces", "_room")

    def __init__(self, cid: int, wire: Wire, desk: Desk, deadline: float, client: Client, on_head: OnHead) -> None:
        super().__init__(cid, wire, State.ASKED, desk, deadline)
        self._on_head: OnHead | None = on_head
        self._client = client
        # One buffer, and not a queue: a megabyte of one-byte pieces is a million things.
        self._pieces = bytearray()
        self._last = False
        self._piece_came: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None
        self._broken: WarrenError | None = None
        client.when_gone(self._client_left)

    def pump(self, body: RequestBody) -> None:
        """Send the request body to the guest as it arrives, never more than a window ahead of the tenant."""
        self._room = asyncio.Event()
        self._keep(self._pump(body, self._room))

    def silence(self) -> None:
        """Nobody wants the answer any more."""
        super().silence()
        self._on_head = None

    def ended(self, lost: str | None) -> None:
        """There will be no more messages."""
        super().ended(lost)
        self._client.forget()

    async def more(self) -> tuple[bytes, bool]:
        """All of the response body that has come since, and whether that is the end of it."""
        while not (self._pieces or self._last):
            if self._broken is not None:
                raise self._broken
            self._piece_came = self._loop.create_future()
            await self._piece_came
        data = bytes(self._pieces)
        self._pieces.clear()
        return data, self._last

    def took(self, amount: int) -> None:
        """The client took so many bytes: let the guest send as many more."""
        if amount and self.ledger.state is State.STREAMING:
            self.ledger.credited(amount)
            self._say(Credit(self.cid, amount))

    def _take(self, message: AboutACall) -> None:
        if type(message) is Taken:
            if self._room is not None:
                self._room.set()
        elif type(message) is Chunk:
            self._pieces += message.data
            self._last = message.last
            self._wake()
        elif type(message) is Head:
            self._told(message)
        elif type(message) is Failed:
            self._fail_with(_cut(message.failure))

    def _fail_with(self, failure: Failure) -> None:
        if not self._told(failure) and self._broken is None:
            # Who waits for a piece cannot tell whose fault it was; the log can.
            self.desk.log(Level.ERROR, traceback_text(failure))
            self._broken = StreamBroken(f"{failure.exception}: {failure.message}")
            self._wake()

    def _lose(self, error: WarrenError) -> None:
        if not self._told(error) and self._broken is None:
            self._broken = error
            self._wake()

    def _told(self, head: Head | Failure | WarrenError) -> bool:
        """Tell who asked; say whether they had not been told yet."""
        on_head, self._on_head = self._on_head, None
        if on_head is None:
            return False
        if isinstance(head, WarrenError):
            self._loop.call_soon(on_head, head)  # later: an isolate may be lost by the very attempt to ask it
        else:
            try:
                on_head(head)
            except Exception:
                # Whose fault it is, it is not the guest's: this conversation still has to end, and the others go on.
                log.exception("the head of conversation %d was not taken", self.cid)
        return True

    def _wake(self) -> None:
        if self._piece_came is not None and not self._piece_came.done():
            self._piece_came.set_result(None)

    def _client_left(self) -> None:
        if self.ledger.state is not State.ENDED:
            self._say(Disconnected(self.cid))

    async def _pump(self, body: RequestBody, room: asyncio.Event) -> None:
        try:
            async for data in body:
                for at in range(0, len(data), limits.BODY_CHUNK):
                    await self._feed(data[at : at + limits.BODY_CHUNK], room)
            self._say(Feed(self.cid, b"", True))
        except CallerMistake as mistake:
            # The request turned out to be no good while it was read: the caller hears that, not the tenant's answer.
            self._say(Stop(self.cid))
            self._lose(mistake)

    async def _feed(self, piece: bytes, room: asyncio.Event) -> None:
        while self.ledger.unread + len(piece) > limits.BODY_WINDOW:
            room.clear()
            await room.wait()
        self.ledger.fed(len(piece))
        self._say(Feed(self.cid, piece, False))


def _cut(failure: Failure) -> Failure:
    """A stranger's words at a length that fits a log line and an answer, and data that can be read."""
    data = failure.data
    if data is not None:
        try:
            decode(data)
        except InvalidValue:
            data = None
    frames = tuple(
        Frame(frame.file[:_NAME], frame.line, frame.function[:_NAME], frame.text[:_NAME])
        for frame in failure.frames[-_FRAMES:]
    )
    return Failure(failure.reason, failure.exception[:_NAME], failure.message[:_MESSAGE], frames, data)
