"""In which order are things sent to one client, and when is it gone?

Rules
1. What is said first is sent first; who says something waits until it is on its way, so a slow reader slows down
   whoever has something for it, and nothing piles up.
2. A client that hears nothing for a while is told that we are there. One that takes nothing of what waits for it for
   `SYNC_SILENCE` is gone, and so is one that never says who it is.
3. After the end nothing is sent: who tries hears `Gone`.
"""

import asyncio
from collections.abc import Callable

from runtime import limits
from runtime.edge.exchange import Send
from runtime.edge.sync.messages import PING
from runtime.ports import Clock

_GLANCE = limits.SYNC_PING / 3000
_QUIET = limits.SYNC_PING / 1000 - _GLANCE
_SILENCE = limits.SYNC_SILENCE / 1000
_REASON_BYTES = 120  # RFC 6455 §5.5: 125 bytes with the code


class Gone(Exception):
    """The connection is over."""


class Wire:
    """What is sent on one WebSocket."""

    def __init__(self, send: Send, clock: Clock, cut: Callable[[], None]) -> None:
        self._send = send
        self._clock = clock
        self._cut = cut
        self._turn = asyncio.Lock()
        self._over = False
        self._said_at = clock.monotonic()
        self.greeted = False  # whether the client has said who it is

    async def say(self, text: str) -> None:
        """Send a message, after everything that was said before."""
        async with self._turn:
            if self._over:
                raise Gone
            self._said_at = self._clock.monotonic()
            try:
                await self._send({"type": "websocket.send", "text": text})
            except OSError:
                self._over = True
                raise Gone from None
            self._said_at = self._clock.monotonic()

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, after everything that was said before."""
        async with self._turn:
            if self._over:
                return
            self._over = True
            short = reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": short})
            except OSError:
                return

    def end(self) -> None:
        """The client has closed."""
        self._over = True

    def look(self, now: float) -> bool:
        """Whether it should hear a `PING` now; a client that is gone is cut off."""
        quiet = now - self._said_at
        if quiet > _SILENCE and (self._turn.locked() or not self.greeted):
            self._cut()
            return False
        return quiet > _QUIET and not self._turn.locked() and self.greeted


class Wires:
    """Every open connection of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: set[Wire] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: set[asyncio.Task[None]] = set()

    def add(self, wire: Wire) -> None:
        """A connection begins."""
        self._open.add(wire)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GLANCE, self._glance)

    def remove(self, wire: Wire) -> None:
        """A connection is over."""
        self._open.discard(wire)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _glance(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_GLANCE, self._glance)
        now = self._clock.monotonic()
        for wire in tuple(self._open):
            if wire.look(now):
                pinging = loop.create_task(_ping(wire))
                self._pinging.add(pinging)
                pinging.add_done_callback(self._pinging.discard)


async def _ping(wire: Wire) -> None:
    try:
        await wire.say(PING)
    except Gone:
        return
