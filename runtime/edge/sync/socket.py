"""How does a WebSocket behave under our feet?

Uvicorn's WebSocket connection, over the library ``websockets``, with what it leaves out. Knows bytes and times, no
deployment; works under any ASGI application.

Rules
1. A message longer than `SYNC_FRAME` is sent in several frames: clients refuse a frame of 16 MiB.
2. A handshake that is none is answered or cut, never left hanging.
3. A client that does not take what waits for it is cut off: closing politely would wait for it for ever.
"""

import logging
import struct
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from runtime import limits

_LONGEST = int(limits.SYNC_FRAME)
_CONTINUED, _TEXT, _LAST = 0x00, 0x01, 0x80
_SHORT, _LONG = struct.Struct("!BBH"), struct.Struct("!BBQ")

LINGER = 5.0  # seconds for a client to take what waits for it when the connection ends


class Socket(WebSocketsSansIOProtocol):
    """One client's WebSocket."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.logger = self.conn.logger = _quiet

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """The handshake is complete; the application may cut the connection."""
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            extensions: Any = self.scope["extensions"]
            extensions["warren.cut"] = {"now": self._cut}

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping for too long."""
        super().keepalive_timeout()
        self._cut()

    async def run_asgi(self) -> None:
        """Run the application for this connection."""
        await super().run_asgi()
        self.loop.call_later(LINGER + self.close_timeout, self._cut)

    async def send(self, message: Any) -> None:
        """Send one ASGI message."""
        text = message.get("text")
        if message["type"] != "websocket.send" or text is None or not self.handshake_complete:
            await super().send(message)
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.conn.state is not OPEN:
            raise ClientDisconnected
        # Past the library, which sends the same and takes 8 µs for it: a commit may have to reach thousands.
        for frame in _frames(text.encode()):
            self.transport.write(frame)

    def _cut(self) -> None:
        self.transport.abort()


def _frames(data: bytes) -> list[bytes]:
    """A text message as it is sent by a server that has agreed on no extension (RFC 6455 §5.2)."""
    if len(data) <= _LONGEST:
        return [_head(_LAST | _TEXT, len(data)) + data]
    pieces = [data[start : start + _LONGEST] for start in range(0, len(data), _LONGEST)]
    first, *between, last = pieces
    return [
        _head(_TEXT, len(first)) + first,
        *(_head(_CONTINUED, len(piece)) + piece for piece in between),
        _head(_LAST | _CONTINUED, len(last)) + last,
    ]


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    return _SHORT.pack(first, 126, size) if size < 1 << 16 else _LONG.pack(first, 127, size)


# Uvicorn tells of every connection that is opened; that is what our own log is for.
_quiet = logging.getLogger("warren.websockets")
_quiet.setLevel(logging.WARNING)
