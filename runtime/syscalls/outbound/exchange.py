"""How far is this fetch?

Between the guest, which sends and reads piece by piece through its syscalls, and one task that talks to the servers.
What has come waits here until it is read, `FETCH_WINDOW` at most; what is sent waits here until it is taken. Knows no
HTTP.

Rules
1. Both directions wait for each other: nobody sends or reads ahead of what the other side takes, but for one window.
2. Only one asks at a time: a second reader or sender is refused, whatever a guest says.
3. However it ends, whoever waits is told; after `close` the task is gone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.protocol.messages import HeaderList

log = logging.getLogger("warren.fetch")

_GIVEN_UP = "the fetch was given up"


class Answered(NamedTuple):
    """The head of the last answer."""

    status: int
    reason: bytes
    url: str
    redirected: bool
    headers: HeaderList


class Exchange:
    """One fetch. ``over`` is called once: when it was closed, and nothing of it is under way any more."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._task: asyncio.Task[None] | None = None
        self._answer: Answered | None = None
        self._failure: SyscallRefused | None = None
        self._buffer = bytearray()
        self._came = 0
        self._complete = False
        self._outgoing: bytes | None = None
        self._sent = 0
        self._all_sent = False
        self._unwanted = False
        self._asking: set[str] = set()
        self._progress = asyncio.Event()

    def begin(self, work: Callable[["Exchange"], Awaitable[None]]) -> None:
        """Start the task that talks to the servers."""
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    def close(self) -> None:
        """End it, once; whoever waits is told."""
        self._fail(SyscallRefused(_GIVEN_UP, "TypeError"))
        assert self._task is not None, "it was begun"
        self._task.cancel()
        # Called at once where the task has ended already, else in the turn after it does.
        self._task.add_done_callback(lambda _: self._over())

    # --- the guest's side ---------------------------------------------------------------------------------------------

    async def send(self, data: bytes, last: bool) -> bool:
        """Hand on a piece of the request's body, and wait until it is taken; ``False`` when no more is wanted."""
        self._sent += len(data)
        if self._all_sent:
            raise SyscallRefused("fetch.send: the body has ended, or there is none")
        if self._sent > limits.FETCH_REQUEST:
            raise SyscallRefused(
                f"a fetch sends {self._sent} bytes or more, limit FETCH_REQUEST is {int(limits.FETCH_REQUEST)} bytes",
                "LimitExceeded",
            )
        self._outgoing = data or None
        self._all_sent = last
        self._tell()
        await self._until("send", lambda: self._outgoing is None or self._unwanted)
        return not self._unwanted

    async def head(self) -> tuple[Answered, bytes, bool]:
        """Wait for the head; with it comes what is there of the body, and whether that is all."""
        await self._until("head", lambda: self._answer is not None)
        assert self._answer is not None
        return self._answer, *self._taken()

    async def read(self) -> tuple[bytes, bool]:
        """Wait for more of the body, and take all that is there; and whether that was the end."""
        if self._answer is None:
            raise SyscallRefused("fetch.read: there is no answer yet, ask for its head first")
        await self._until("read", lambda: bool(self._buffer) or self._complete)
        return self._taken()

    async def _until(self, what: str, reached: Callable[[], bool]) -> None:
        if what in self._asking:
            raise SyscallRefused(f"fetch.{what}: somebody waits for it already", "TypeError")
        self._asking.add(what)
        try:
            while not reached():
                if self._failure is not None:
                    raise self._failure
                self._progress.clear()
                await self._progress.wait()
        finally:
            self._asking.discard(what)

    def _taken(self) -> tuple[bytes, bool]:
        data = bytes(self._buffer)
        self._buffer.clear()
        self._tell()
        return data, self._complete

    # --- the task's side ----------------------------------------------------------------------------------------------

    def expect_body(self, streamed: bool) -> None:
        """Say whether the guest is going to send pieces."""
        self._all_sent = not streamed

    async def outgoing(self) -> AsyncIterator[bytes]:
        """The pieces of the request's body, as the guest sends them."""
        while True:
            while self._outgoing is None:
                if self._all_sent:
                    return
                self._progress.clear()
                await self._progress.wait()
            yield self._outgoing
            self._outgoing = None
            self._tell()

    def answered(self, answer: Answered) -> None:
        """The head is there; more of the request's body is not wanted."""
        self._answer = answer
        self._unwanted = True
        self._tell()

    async def came(self, piece: bytes) -> None:
        """A piece of the answer's body; returns when there is room for another, raises past the limit."""
        self._came += len(piece)
        if self._came > limits.FETCH_RESPONSE:
            raise SyscallRefused(
                f"the answer has more than {int(limits.FETCH_RESPONSE)} bytes (limit FETCH_RESPONSE)", "LimitExceeded"
            )
        self._buffer += piece
        self._tell()
        while len(self._buffer) >= limits.FETCH_WINDOW:
            self._progress.clear()
            await self._progress.wait()

    async def _run(self, work: Callable[["Exchange"], Awaitable[None]]) -> None:
        try:
            await work(self)
            self._complete = True
            self._tell()
        except SyscallRefused as refused:
            self._fail(refused)
        except Exception:
            log.exception("a fetch failed")
            self._fail(SyscallRefused("InternalError: the server could not do this", "RuntimeError"))
        finally:
            self._fail(SyscallRefused(_GIVEN_UP, "TypeError"))

    def _fail(self, failure: SyscallRefused) -> None:
        if self._failure is None and not self._complete:
            self._failure = failure
            self._tell()

    def _tell(self) -> None:
        # One event for all who wait: they are three at most, and each looks again.
        self._progress.set()
