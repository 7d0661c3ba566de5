"""What does one process behind the wall do now, and is it still worth keeping?

An `Isolate` speaks with one process over one socket: it opens conversations, hands each message of the guest to the
conversation that it names, and ends the process at the first lie. Knows no deployment but by the bundle it loads, no
policy of keeping or starting: that is the pool's.

Rules
1. Everything read is hostile: it passes the ear, then the conversation's ledger. One violation ends the process.
2. When the process is gone, every open conversation is told, once, with the reason.
3. A retiring isolate opens nothing new and ends when its last conversation does.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from struct import Struct
from typing import cast

from msgspec import Raw

from runtime import limits
from runtime.errors import IsolateLost, PushRefused
from runtime.invocation import HttpInvocation, Invocation
from runtime.isolates.conversations import Conversation, FunctionConversation, HttpConversation, OnHead, Wire
from runtime.isolates.hearing import Ear
from runtime.isolates.process import IsolateProcess
from runtime.isolates.traffic import Traffic
from runtime.ports import Desk
from runtime.protocol.declaration import Declaration, Diagnostic
from runtime.protocol.framing import ProtocolViolation, frame
from runtime.protocol.messages import (
    CallFunction,
    CallHttp,
    Chunk,
    Failed,
    GuestMessage,
    Head,
    HostMessage,
    Line,
    Load,
    Loaded,
    LoadRefused,
    Ping,
    Pong,
    Ready,
    Reason,
    Returned,
    SetEnvironment,
    Syscall,
    Taken,
)

log = logging.getLogger("warren.isolates")

# What is said about one call. Everything else is about the isolate.
_ABOUT_A_CALL = (Head, Returned, Syscall, Chunk, Line, Failed, Taken)


# After these an isolate is not what it was: memory in pieces, objects of the tenant half changed.
_WORN_BY = frozenset({Reason.MEMORY, Reason.TIME, Reason.CRASHED})


_PAGE = Struct("=256Q")


class _Cids:
    """Unpredictable conversation ids of 53 bits, drawn from the kernel by the page."""

    def __init__(self) -> None:
        self._supply: list[int] = []

    def next(self) -> int:
        if not self._supply:
            self._supply = [number >> 11 for number in _PAGE.unpack(os.urandom(_PAGE.size))]
        return self._supply.pop()


_cids = _Cids()

# How long the loop stands still for one answer at most, and from which share of prompt answers on it does.
_MOMENT = 60e-6
_PROMPT = 0.5
_READ = 256 * 1024

# With so few calls under way the guest had better begin at once.
_FEW = 2

# The one end of an isolate that nobody has to hear about.
RETIRED = "retired"


class Isolate(asyncio.Protocol):
    """One sandboxed process and the conversations in it."""

    def __init__(self, process: IsolateProcess, born: float, traffic: Traffic | None = None) -> None:
        self.process = process
        self.traffic = traffic if traffic is not None else Traffic()
        self._prompt = 1.0
        self.born = born
        self.last_used = born
        self.calls = 0
        self.conversations: dict[int, Conversation] = {}
        self.retiring = False
        self.lost: str | None = None
        self.layers: tuple[str, ...] = ()
        # Kept here and read by the watchdog alone.
        self.ping_pending = False
        self.cpu_seen = 0.0
        self.burns = False  # most of a processor, since the last look
        self.cpu_at_ping = 0.0
        self.pinged_at = born
        self.asleep = False
        self.charge = ""
        self.interrupted_at: float | None = None
        self.held_until = 0.0  # its crew's word: from there on it is held for what it does itself alone
        # And this by the pool: what it had burnt at the last sweep, if it had nothing to do then.
        self.idle_cpu: float | None = None
        self.on_line: Callable[[Line], None] | None = None
        self.on_lost: Callable[[Isolate, str], None] | None = None
        self.on_drained: Callable[[Isolate], None] | None = None
        self.on_runaway: Callable[[Isolate, float], None] | None = None
        self._own_lines = 0
        self._ear = Ear(self._receive, self._caught_lying)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._wire = Wire(self._say, self._send, self._loop)
        self._unsent: list[bytes] = []
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._loaded: asyncio.Future[Declaration] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up the channel and wait until the process has proved that it is locked down."""
        await self._loop.create_unix_connection(lambda: self, sock=self.process.socket)
        await self._ready

    async def load(self, load: Load) -> Declaration:
        """Have the bundle imported; raise `PushRefused` with the reasons, or `IsolateLost`."""
        self._loaded = self._loop.create_future()
        self.idle_cpu = None
        self._say(load)
        return await self._loaded

    @property
    def loading(self) -> bool:
        """Whether a bundle is being imported now."""
        return self._loaded is not None and not self._loaded.done()

    @property
    def usable(self) -> bool:
        """Whether new conversations may be opened."""
        return not self.retiring and self.lost is None

    def retire(self) -> None:
        """Open nothing new; end when nothing is open."""
        self.retiring = True
        if not self.conversations and not self.loading:
            self.end(RETIRED)

    def end(self, reason: str) -> None:
        """End the process now; every open conversation is lost for this reason."""
        if self.lost is not None:
            return
        self.lost = reason
        self._ear.close()
        self.process.kill()
        if self._transport is not None:
            self._transport.abort()
        lost = IsolateLost(reason)
        for future in (self._ready, self._loaded):
            if future is not None and not future.done():
                future.set_exception(lost)
                future.exception()
        conversations, self.conversations = self.conversations, {}
        self.traffic.open -= len(conversations)
        for conversation in conversations.values():
            conversation.ended(reason)
        if self.on_lost is not None:
            self.on_lost(self, reason)

    # --- calls ------------------------------------------------------------------------------------------------------

    def call(self, invocation: Invocation, desk: Desk, now: float, deadline: float) -> FunctionConversation:
        """Run a query, mutation or action; ``now`` is its clock in milliseconds, ``deadline`` a monotonic second."""
        conversation = FunctionConversation(self._new_cid(), self._wire, desk, deadline)
        self._open(conversation)
        self._say(
            CallFunction(
                conversation.cid,
                str(invocation.path),
                invocation.kind,
                Raw(invocation.args),
                invocation.request_id,
                now,
                os.urandom(16),
            )
        )
        return conversation

    def ask(
        self, invocation: HttpInvocation, desk: Desk, deadline: float, on_head: OnHead, on_end: Callable[[], None]
    ) -> HttpConversation:
        """Run an HTTP action; ``on_head`` is called once, later, with its head or why there is none, ``on_end`` once,
        when the guest has nothing more to say about it."""
        conversation = HttpConversation(self._new_cid(), self._wire, desk, deadline, invocation.client, on_head)
        conversation.on_end = on_end
        self._open(conversation)
        body = invocation.body
        whole = body if isinstance(body, bytes) and len(body) <= limits.BODY_WINDOW else None
        self._say(
            CallHttp(
                conversation.cid,
                invocation.route,
                invocation.method,
                invocation.url,
                invocation.headers,
                invocation.parameters,
                b"" if body is not None and whole is None else whole,
                body is None or whole is not None,
                invocation.request_id,
            )
        )
        if isinstance(body, bytes):
            if whole is None:
                conversation.pump(_pieces(body))
            else:
                conversation.ledger.fed(len(body))
        elif body is not None:
            conversation.pump(body)
        if self.traffic.is_quiet():
            # After what else this turn has to do: that may be another call.
            self._loop.call_soon(self._wait_a_moment)
        return conversation

    @property
    def behind(self) -> bool:
        """Whether it has said more than was heard yet."""
        return self._ear.behind

    def set_environment(self, environment: Mapping[str, str]) -> None:
        """Replace the environment variables, from the next call on."""
        self._say(SetEnvironment(dict(environment)))

    def ping(self, number: int) -> None:
        """Ask for a sign of life at the next turn of the guest's loop."""
        self.ping_pending = True
        self._say(Ping(number))

    def _wait_a_moment(self) -> None:
        """Look for the answer here and now, while nobody else wants anything and it has been prompt lately.

        Going to sleep and being woken takes longer than a small handler does. Measured with one client: a quarter of
        the time to the answer. A guest that is slower than that is not waited for, but for every sixteenth call.
        """
        if self.traffic.open != 1 or self._transport is None or self.lost is not None or self._ear.behind:
            return
        if self._prompt < _PROMPT and self.calls % 16:
            return
        channel = self._transport.get_extra_info("socket").fileno()
        end = time.perf_counter() + _MOMENT
        while time.perf_counter() < end:
            try:
                data = os.read(channel, _READ)
            except BlockingIOError:
                continue
            except OSError:
                return  # it has ended, which `connection_lost` will tell
            if data:
                self.data_received(data)
                self._prompt += (1 - self._prompt) / 8
            return
        self._prompt -= self._prompt / 8

    def _new_cid(self) -> int:
        while True:
            cid = _cids.next()
            if cid and cid not in self.conversations:
                return cid

    def _open(self, conversation: Conversation) -> None:
        if not self.usable:
            raise IsolateLost(self.lost or "retiring")
        self.conversations[conversation.cid] = conversation
        self.traffic.open += 1
        self.idle_cpu = None
        self.calls += 1

    def _say(self, message: HostMessage) -> None:
        if self._transport is None or self.lost is not None:
            return
        if len(self.conversations) <= _FEW and not self._unsent:
            self._transport.write(frame(message))
            return
        # Under load a kernel call for each message is a third of the work: what one turn says is sent at its end.
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(frame(message))

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and self.lost is None:
            self._transport.write(b"".join(unsent))

    # --- what the guest says ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's transport, which uvloop's does not derive from.
        self._transport = cast(asyncio.Transport, transport)
        self._ear.listen(self._transport)
        self._transport.set_write_buffer_limits(high=int(limits.GUEST_BACKLOG))

    def data_received(self, data: bytes) -> None:
        self._ear.take(data)

    def _caught_lying(self, violation: ProtocolViolation) -> None:
        log.error("isolate %d broke the protocol: %s", self.process.pid, violation)
        self.end(f"protocol violation: {violation}")

    def pause_writing(self) -> None:
        self.end(f"did not read: more than {limits.GUEST_BACKLOG} bytes wait for it")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("its process ended")

    def _receive(self, message: GuestMessage) -> None:
        if isinstance(message, _ABOUT_A_CALL) and message.cid:
            conversation = self.conversations.get(message.cid)
            if conversation is None:
                raise ProtocolViolation(f"{type(message).__name__} about a conversation that is not open")
            if isinstance(message, Failed) and message.failure.reason in _WORN_BY:
                self.retiring = True
            if conversation.receive(message):
                self._close(conversation)
        else:
            self._receive_own(message)

    def _receive_own(self, message: GuestMessage) -> None:
        """Hear what the isolate says of itself."""
        match message:
            case Pong():
                if not self.ping_pending:
                    raise ProtocolViolation("Pong without a Ping")
                self.ping_pending = False
            case Ready():
                if self._ready.done():
                    raise ProtocolViolation("Ready twice")
                self.layers = message.layers
                self._ready.set_result(None)
            case Loaded():
                self._awaited_load().set_result(message.declaration)
            case LoadRefused():
                self._awaited_load().set_exception(PushRefused(_bounded(message.diagnostics)))
            case Line():
                self._hear_line(message)
            case _:
                raise ProtocolViolation(f"{type(message).__name__} about no conversation")

    def _hear_line(self, line: Line) -> None:
        self._own_lines += 1
        # An honest guest says at most so much at import time, and a few words about each call.
        if self._own_lines > limits.LOG_LINES + 8 * (1 + self.calls) or len(line.text) > 2 * limits.LOG_LINE_BYTES:
            raise ProtocolViolation("log of the isolate itself past its limits")
        if self.on_line is not None:
            self.on_line(line)

    def _awaited_load(self) -> "asyncio.Future[Declaration]":
        if self._loaded is None or self._loaded.done():
            raise ProtocolViolation("an answer to Load that nobody asked for")
        return self._loaded

    def _close(self, conversation: Conversation) -> None:
        del self.conversations[conversation.cid]
        self.traffic.open -= 1
        conversation.ended(None)
        if not self.conversations and self.on_drained is not None:
            self.on_drained(self)


def _bounded(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    kept = diagnostics[: limits.DIAGNOSTICS]
    more = len(diagnostics) - len(kept)
    return (*kept, Diagnostic("", 0, f"and {more} more")) if more else kept


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body
