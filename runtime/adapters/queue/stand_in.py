"""A stand-in for a Redis server: fakeredis on a Unix socket.

For machines without one, in the process that needs it. What it lacks: speed (a thread a connection, a hundredth of a
second until a blocked client is woken), and a life of its own: it ends with its process.
"""

import itertools
import select
import socket
from typing import TYPE_CHECKING, Any

from fakeredis import TcpFakeServer

if TYPE_CHECKING:
    from typing_extensions import Buffer


class LocalServer(TcpFakeServer):
    """A server for whoever may open ``path``."""

    address_family = socket.AF_UNIX

    def __init__(self, path: str) -> None:
        self._numbers = itertools.count(1)
        super().__init__(path, server_type="redis", server_version=(7, 2))  # type: ignore[arg-type]  # a path is the address of such a socket
        self.daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        """The next client. On a Unix socket they have no address, and fakeredis tells them apart by it."""
        connection, _ = super().get_request()
        return _Patient(fileno=connection.detach()), ("local", next(self._numbers))


class _Patient(socket.socket):
    """A client whose reader may be slow: fakeredis reads without waiting, and would write so too."""

    def sendall(self, data: "Buffer", flags: int = 0, /) -> None:
        """Send all of it, however long it takes."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags) :]
            except BlockingIOError:
                select.select([], [self], [], 1.0)
