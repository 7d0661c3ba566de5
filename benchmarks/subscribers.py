"""Many sync clients in one process, as light as can be: what they cost must not hide what the server costs.

Each is a bare socket that has subscribed to one query. Answers are not read as JSON, only recognised.
"""

import base64
import json
import os
import selectors
import socket
import struct
import time
from typing import Any, Self

_TRANSITION = b'"Transition"'


class Subscriber:
    """One client with one subscription."""

    def __init__(self, port: int, host: str, number: int, path: str, arguments: dict[str, Any]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET /api/sync HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(4096)
        assert head.startswith(b"HTTP/1.1 101"), head
        self._say({"type": "Connect", "sessionId": f"subscriber-{number}", "connectionCount": 0})
        add = {"type": "Add", "queryId": 0, "udfPath": path, "args": [arguments]}
        self._say({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]})

    def _say(self, message: dict[str, Any]) -> None:
        text, mask = json.dumps(message).encode(), os.urandom(4)
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
        self.socket.sendall(b"\x81" + size + mask + masked)


class Crowd:
    """All of them, and what they hear."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._members: list[Subscriber] = []
        self.transitions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.socket.close()
        self._selector.close()

    def __len__(self) -> int:
        return len(self._members)

    def join(self, member: Subscriber) -> None:
        """One more, whose first result is waited for."""
        self._members.append(member)
        self._selector.register(member.socket, selectors.EVENT_READ, member)
        self.hear(1)

    def hear(self, transitions: int) -> float:
        """Wait for so many transitions; when the last of them came."""
        missing = transitions
        while missing > 0:
            ready = self._selector.select(30)
            assert ready, f"{missing} of {transitions} transitions never came"
            for key, _ in ready:
                missing -= self._take(key.data)
        return time.perf_counter()

    def _take(self, member: Subscriber) -> int:
        data = member.socket.recv(65536)
        assert data, "a subscriber was hung up on"
        heard = data.count(_TRANSITION)
        self.transitions += heard
        return heard
