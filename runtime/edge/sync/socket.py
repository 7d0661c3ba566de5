"""How does a WebSocket behave under our feet?

Uvicorn's WebSocket connection, over the library ``websockets``, with what it leaves out. Knows bytes and times, no
deployment; works under any ASGI application.

Rules
1. A message longer than `SYNC_FRAME` is sent in several frames: clients refuse a frame of 16 MiB.
2. A handshake that is none is answered or cut, never left hanging.
3. A client that does not take what waits for it is cut off: closing politely would wait for it for ever.
"""

import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from runtime import limits

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
        if message["type"] != "websocket.send" or text is None or len(text) <= limits.SYNC_FRAME // 4:
            await super().send(message)
            return
        data = text.encode()
        if len(data) <= limits.SYNC_FRAME:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            self._send_in_pieces(data)
        except InvalidState:
            raise ClientDisconnected from None

    def _send_in_pieces(self, data: bytes) -> None:
        size = int(limits.SYNC_FRAME)
        for start in range(0, len(data), size):
            piece, last = data[start : start + size], start + size >= len(data)
            if start == 0:
                self.conn.send_text(piece, fin=False)
            else:
                self.conn.send_continuation(piece, fin=last)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def _cut(self) -> None:
        self.transport.abort()


# Uvicorn tells of every connection that is opened; that is what our own log is for.
_quiet = logging.getLogger("warren.websockets")
_quiet.setLevel(logging.WARNING)
