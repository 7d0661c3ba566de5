"""Is somebody still waiting for this?

`AbortSignal` of the DOM standard, as far as a handler needs it: `request.signal` fires when the client has gone. Fired
by the guest; knows no connection.

Rules
1. A signal fires once. A listener runs in the context in which it was added: its log lines belong to that call.
2. A listener that raises is reported in the log, and the others still run.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any

from runtime.protocol.messages import Level
from runtime.sdk.running import RUNNING

Listener = Callable[..., Any]


class AbortError(Exception):
    """What was asked for is not wanted any more."""


class AbortEvent:
    """What a listener is given: ``type`` is ``"abort"``, ``target`` the signal."""

    __slots__ = ("target", "type")

    def __init__(self, target: "AbortSignal") -> None:
        self.type = "abort"
        self.target = target


class AbortSignal:
    """Tells that an operation is not wanted any more: ask ``aborted``, add a listener, or ``await signal.wait()``."""

    __slots__ = ("__weakref__", "_listeners", "_running", "_waiting", "aborted", "reason")

    def __init__(self) -> None:
        self.aborted = False
        self.reason: Any = None
        self._listeners: dict[Listener, Context] | None = None
        self._waiting: list[asyncio.Future[Any]] | None = None
        self._running: list[asyncio.Future[None]] | None = None

    def add_event_listener(self, type: str, listener: Listener) -> None:
        """Call ``listener`` when the signal fires; ``type`` is ``"abort"``. Once it has fired nothing is called."""
        if not callable(listener):
            raise TypeError(f"a listener is a function, not {listener.__class__.__name__}")
        if type == "abort" and not self.aborted:
            if self._listeners is None:
                self._listeners = {}
            self._listeners.setdefault(listener, copy_context())

    def remove_event_listener(self, type: str, listener: Listener) -> None:
        """Do not call ``listener`` after all."""
        if type == "abort" and self._listeners is not None:
            self._listeners.pop(listener, None)

    def on_abort(self, listener: Listener) -> Listener:
        """Call ``listener`` when the signal fires, at once if it has fired already. Also a decorator."""
        if self.aborted:
            self._call(listener)
        else:
            self.add_event_listener("abort", listener)
        return listener

    async def wait(self) -> Any:
        """Wait until the signal fires, and return its reason."""
        if self.aborted:
            return self.reason
        waiter = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(waiter)
        try:
            return await waiter
        finally:
            if self._waiting is not None and waiter in self._waiting:
                self._waiting.remove(waiter)

    def throw_if_aborted(self) -> None:
        """Raise the reason if the signal has fired."""
        if self.aborted:
            raise self.reason if isinstance(self.reason, Exception) else AbortError(str(self.reason))

    def fire(self, reason: Any = None) -> None:
        """Fire. ``reason`` is what ``throw_if_aborted`` raises: an exception, or text for an `AbortError`."""
        if self.aborted:
            return
        self.aborted = True
        self.reason = AbortError("the operation was aborted") if reason is None else reason
        listeners, self._listeners = self._listeners, None
        waiting, self._waiting = self._waiting, None
        for waiter in waiting or ():
            if not waiter.done():
                waiter.set_result(self.reason)
        for listener, context in (listeners or {}).items():
            context.run(self._call, listener)

    def _call(self, listener: Listener) -> None:
        try:
            result = listener(AbortEvent(self)) if _takes_an_event(listener) else listener()
            if inspect.isawaitable(result):
                # A task that nobody holds may be collected before it is done.
                self._running = [*(self._running or ()), asyncio.ensure_future(_finish(result))]
        except Exception as error:
            _report(error)


class AbortController:
    """Makes a signal, and fires it: ``controller.abort()``."""

    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self, reason: Any = None) -> None:
        """Fire the signal. ``reason`` is what whoever waits gets: an exception, or text for an `AbortError`."""
        self.signal.fire(reason)


async def _finish(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception as error:
        _report(error)


def _takes_an_event(listener: Listener) -> bool:
    try:
        inspect.signature(listener).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _report(error: Exception) -> None:
    running = RUNNING.get()
    if running is not None:
        running.log(Level.ERROR, f"an abort listener raised {type(error).__name__}: {error}")
