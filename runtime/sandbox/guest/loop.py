"""How does the guest wait for its only friend?

An asyncio event loop that knows one descriptor: the channel to the host. It reads what the host says, runs what became
ready, and sends everything that was said during one turn with one write. Tasks, futures, locks, queues, `gather`,
`timeout` and `sleep` of the standard library work on it.

Rules
1. No kernel call but read, write and poll on the channel, and the clock.
2. Nothing that a callback raises ends the loop, `BaseException` included.
3. A full pipe is waited for: the host always reads, so nothing is lost and nobody waits for ever.
4. Sockets, threads, signals and child processes are refused with a sentence, never with an attribute error.

Tried: `asyncio.BaseEventLoop` with a selector of our own. Its turn alone costs as much as a whole small request here.
"""

import asyncio
import heapq
import os
import select
import sys
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, NoReturn

from runtime.sdk.running import RUNNING

_READ = 64 * 1024
_READ_MORE = 1024 * 1024
_WRITE = 4 * 1024 * 1024
_CANCELLED_TIMERS = 128

Adopt = Callable[["asyncio.Task[Any]", Context | None], None]
Complain = Callable[[str, BaseException | None], None]


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f'{what} cannot be used here; a module that begins with "use node" can')


def _refusal(what: str) -> Callable[..., NoReturn]:
    def refused(self: Any, *args: Any, **options: Any) -> NoReturn:
        _refuse(what)

    return refused


_REFUSED = {
    "sockets": (
        "sock_", "create_connection", "create_server", "create_datagram", "create_unix", "start_tls", "sendfile",
        "add_reader", "add_writer", "remove_reader", "remove_writer", "getaddrinfo", "getnameinfo", "connect_accepted",
    ),
    "threads": ("call_soon_threadsafe", "run_in_executor", "set_default_executor"),
    "child processes": ("subprocess_", "connect_read_pipe", "connect_write_pipe"),
    "signals": ("add_signal_handler", "remove_signal_handler"),
    "other task factories and exception handlers": ("set_task_factory", "set_exception_handler"),
}  # fmt: skip

# Every method of a loop that needs more of the kernel than we have, made to say so.
_Refusing: Any = type(
    "_Refusing",
    (asyncio.AbstractEventLoop,),
    {
        name: _refusal(what)
        for what, beginnings in _REFUSED.items()
        for name in dir(asyncio.AbstractEventLoop)
        if name.startswith(beginnings)
    },
)


class _Handle(asyncio.Handle):
    """What `call_soon` returns; the base class's own constructor does more than we need, on the hottest path."""

    __slots__ = ()
    _callback: Any
    _args: Any
    _loop: Any
    _context: Context

    def __init__(self, callback: Any, args: Any, loop: "GuestLoop", context: Context) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = context
        self._cancelled = False


class GuestLoop(_Refusing):  # type: ignore[misc]  # its base is made of names, see there
    """The event loop behind the wall.

    ``receive`` is called with every piece of bytes that was read. ``adopt`` is told of every task that tenant code
    makes, ``complain`` hears of errors that nobody waits for.
    """

    def __init__(self, channel: int, receive: Callable[[bytes], None], adopt: Adopt, complain: Complain) -> None:
        self._channel = channel
        self._receive = receive
        self._adopt = adopt
        self._complain = complain
        self._ready: deque[Any] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self._out: list[bytes] = []
        self._open = True
        self._size = _READ
        self._readable = select.poll()
        self._readable.register(channel, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(channel, select.POLLOUT)
        self.send = self._out.append  # one frame; it leaves at the end of the turn

    # --- the turn -----------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Take turns until the host closes the channel."""
        events._set_running_loop(self)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._close_forgotten)
        try:
            self._flush()
            while self._open:
                self._turn()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)

    def _turn(self) -> None:
        ready = self._ready
        # With nothing else to wait for, the read does the waiting: one kernel call less.
        idle = not ready and not self._timers
        if idle or self._readable.poll(0 if ready else self._until_next_timer()):
            self._read()
        if self._timers:
            self._wake_sleepers()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)
                except BaseException as error:
                    handle._context.run(self._complain, "a callback failed", error)
        if self._out:
            self._flush()

    def _read(self) -> None:
        try:
            data = os.read(self._channel, self._size)
        except BlockingIOError:
            self._readable.poll()
            return
        except ConnectionError:
            data = b""
        if not data:
            self._open = False
            return
        # One small request fits the small buffer; who sends a lot is read in large pieces.
        self._size = _READ_MORE if len(data) == self._size else _READ
        self._receive(data)

    def _flush(self) -> None:
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        view: bytes | memoryview = data
        while view:
            try:
                written = os.write(self._channel, view[:_WRITE] if len(view) > _WRITE else view)
            except BlockingIOError:
                self._writable.poll()
                continue
            except ConnectionError:
                self._open = False
                return
            if written == len(view):
                return
            view = memoryview(view)[written:]

    # --- timers -------------------------------------------------------------------------------------------------------

    def _until_next_timer(self) -> float:
        return max(0.0, (self._timers[0][0] - time.monotonic()) * 1000)

    def _wake_sleepers(self) -> None:
        if self._timers_cancelled > _CANCELLED_TIMERS and self._timers_cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0
        now = time.monotonic()
        while self._timers and (self._timers[0][0] <= now or self._timers[0][2].cancelled()):
            handle = heapq.heappop(self._timers)[2]
            if handle.cancelled():
                self._timers_cancelled -= 1
            else:
                self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers_cancelled += 1

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Run this in the next turn."""
        handle = _Handle(callback, args, self, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run this after ``delay`` seconds."""
        return self.call_at(time.monotonic() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run this at this moment of the loop's clock."""
        running = RUNNING.get()
        if running is not None and running.deterministic:
            raise RuntimeError("timers cannot be used in queries and mutations: use an action")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, handle))
        return handle

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return time.monotonic()

    def create_future(self) -> "asyncio.Future[Any]":
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None, **options: Any) -> Any:
        """Start a task for the call that is running; it ends with the call."""
        task = self.start(coro, name=name, context=context)
        try:
            self._adopt(task, context)
        except BaseException:
            task.cancel()
            raise
        return task

    def start(self, coro: Coroutine[Any, Any, Any], **options: Any) -> "asyncio.Task[Any]":
        """Start a task of the runtime's own, which belongs to no call."""
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        """Always false: debug mode reads source files, and there are none."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Do nothing; see `get_debug`."""

    def get_task_factory(self) -> None:
        """There is none."""
        return None

    def is_running(self) -> bool:
        """Always true for who can ask."""
        return True

    def is_closed(self) -> bool:
        """Never: the process ends with its loop."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that nobody waited for."""
        self._complain(context.get("message") or "an error that nobody waited for", context.get("exception"))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that nobody waited for."""
        self.call_exception_handler(context)

    def run_until_complete(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: the loop is running already."""
        raise RuntimeError("this event loop is already running: write 'await' instead")

    def stop(self) -> NoReturn:
        """Refuse: other calls are served by this loop."""
        raise RuntimeError("this event loop serves other calls too and cannot be stopped")

    close = stop

    def _close_forgotten(self, generator: Any) -> None:
        self.start(generator.aclose())
