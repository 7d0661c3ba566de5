"""When does what was written leave?

At the end of the turn of the loop that it was written in: a head and its body are one kernel call, and the answers of
all connections go out in a row. Waking a client costs more than writing to it, and who is awake need not be woken:
measured with 32 connections, a sixth of the time that a small request takes. Who is alone does not wait for others.
Knows bytes only.

Rules
1. What is written in one turn leaves at its end, in the order in which it was written.
2. One connection's trouble is nobody else's.
"""

import asyncio
import logging

log = logging.getLogger("warren.edge")

# So many connections are written to in a row; what came first should not wait for hundreds that came after it.
_IN_A_ROW = 64


class Outbox:
    """The connections of one server that have something to send in this turn."""

    __slots__ = ("_corks", "_loop", "crowded")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._corks: list[Cork] = []
        self.crowded = False  # whether several had something to send in the last turn in which anybody had

    def add(self, cork: "Cork") -> None:
        """Have this one flushed, at the end of this turn at the latest."""
        self._corks.append(cork)
        if len(self._corks) == 1:
            self._loop.call_soon(self._flush)
        elif len(self._corks) >= _IN_A_ROW:
            self._flush()

    def _flush(self) -> None:
        corks, self._corks = self._corks, []
        if corks:
            self.crowded = len(corks) > 1
        for cork in corks:
            try:
                cork.flush()
            except Exception:
                log.exception("a connection could not be written to")
                cork.abort()


class Cork:
    """A transport that sends what one turn of the loop writes at once.

    It has what is used of one, and no `__getattr__` for the rest: that would make the use of everything else dearer.
    """

    __slots__ = ("_outbox", "_transport", "_unsent")

    @property
    def transport(self) -> asyncio.Transport:
        """The transport itself, with everything sent that was written here."""
        self.flush()
        return self._transport

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        self._transport = transport
        self._outbox = outbox
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it, at the end of this turn at the latest."""
        self._unsent.append(data)
        if len(self._unsent) == 1:
            self._outbox.add(self)

    def send(self, data: bytes) -> None:
        """Send it, behind what was written before: now, if nobody else is likely to send in this turn."""
        self.write(data)
        if not self._outbox.crowded:
            self.flush()

    def flush(self) -> None:
        """Send now what was written."""
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            if not self._transport.is_closing():  # the client may have left in this very turn
                self._transport.write(data)

    def close(self) -> None:
        """Close when everything is sent."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._transport.is_closing()

    def write_eof(self) -> None:
        """Say that nothing follows."""
        self.flush()
        self._transport.write_eof()

    def abort(self) -> None:
        """Close now."""
        self._unsent.clear()
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._unsent))

    def can_write_eof(self) -> bool:
        """Whether there is such a thing as an end of what we say."""
        return self._transport.can_write_eof()
