"""How much of what a guest says is heard in one turn of the host's loop?

Between the channel and the isolate: bytes in, messages out, a thousand at most before everybody else on the loop has
had a turn. Meanwhile the channel is not read, so a guest that floods waits for itself. Knows no message by its meaning.

Rules
1. Order is kept, and nothing is heard after `close`.
2. The first violation is told once, and is the last thing that is told.
"""

import asyncio
from collections.abc import Callable, Iterator

from runtime.limits import GUEST_FRAME
from runtime.protocol.framing import ProtocolViolation, splitter_for_host
from runtime.protocol.messages import GuestMessage

# Some milliseconds of work. The kernel hands out 256 KiB at a time, which can be twenty thousand messages.
_IN_ONE_TURN = 1_000


class Ear:
    """Hears one guest: ``hear`` gets its messages, ``lie`` the violation that ends it."""

    def __init__(self, hear: Callable[[GuestMessage], None], lie: Callable[[ProtocolViolation], None]) -> None:
        self._hear = hear
        self._lie = lie
        self._splitter = splitter_for_host(GUEST_FRAME)
        self._unheard: Iterator[GuestMessage] | None = None
        self._transport: asyncio.Transport | None = None
        self._closed = False

    @property
    def behind(self) -> bool:
        """Whether there are messages that wait for their turn; then no bytes may be taken."""
        return self._unheard is not None

    def listen(self, transport: asyncio.Transport) -> None:
        """From now on bytes come over this channel."""
        self._transport = transport

    def close(self) -> None:
        """Hear nothing more."""
        self._closed = True

    def take(self, data: bytes) -> None:
        """Bytes have come."""
        messages = self._splitter.feed(data)
        if not self._heard_all(messages) and self._transport is not None:
            self._transport.pause_reading()
            self._go_on_later(messages)

    def _heard_all(self, messages: Iterator[GuestMessage]) -> bool:
        left = _IN_ONE_TURN
        try:
            for message in messages:
                if self._closed:
                    return True
                self._hear(message)
                left -= 1
                if not left:
                    return False
        except ProtocolViolation as violation:
            self.close()
            self._lie(violation)
        return True

    def _go_on_later(self, messages: Iterator[GuestMessage]) -> None:
        self._unheard = messages
        asyncio.get_running_loop().call_soon(self._go_on, messages)

    def _go_on(self, messages: Iterator[GuestMessage]) -> None:
        if not self._heard_all(messages):
            self._go_on_later(messages)
            return
        self._unheard = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
