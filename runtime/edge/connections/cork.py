"""When does what was written leave?

At the end of the turn of the loop that it was written in: a head and its body are one kernel call. Knows bytes only.
"""

import asyncio
from typing import Any


class Cork:
    """A transport that sends what one turn of the loop writes at once."""

    __slots__ = ("_loop", "_transport", "_unsent")

    @property
    def transport(self) -> asyncio.Transport:
        """The transport itself, with everything sent that was written here."""
        self.flush()
        return self._transport

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it, at the end of this turn at the latest."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)

    def send(self, data: bytes) -> None:
        """Send it now, behind what was written before."""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        """Send now what was written."""
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            self._transport.write(data)

    def close(self) -> None:
        """Close when everything is sent."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be. Asked after every answer: found by `__getattr__` it costs a microsecond."""
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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
