"""What is known of the socket that a lane wants to connect?

Where the host may duplicate a lane's descriptors (pidfd_getfd(2)), everything: the socket itself is looked at. Where it
may not, as in a container with Docker's usual filter, the kernel's lists of sockets say enough. Knows no policy.

Rules
1. What is read here decides how a connect fails and how it waits, never where it may go: the caller can put another
   descriptor in the place of this one at any moment, and gains a judged connection by it.
2. A fresh TCP socket is one that no list holds: a lane can make TCP sockets and pairs of Unix sockets, and no others.
"""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from worker.lane.notifications import Call, Gone, Listener

_FRESH = 7  # TCP_CLOSE
_CONNECTING = (2, 3)  # TCP_SYN_SENT, TCP_SYN_RECV
_SOCKET = re.compile(r"socket:\[(\d+)\]\Z")
_FLAGS = re.compile(r"^flags:\s*([0-7]+)$", re.MULTILINE)

_CARRIED = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_PRIORITY),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
)
_TIMES = (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO, socket.SO_LINGER)


class Refused(Exception):
    """The connect fails with this errno."""

    def __init__(self, error: int) -> None:
        super().__init__(os.strerror(error))
        self.error = error


class Theirs(Protocol):
    """A TCP socket of a lane that is not connected. ``family`` is ``None`` where it cannot be known."""

    @property
    def family(self) -> int | None:
        """Of which family it is."""
        ...

    @property
    def is_blocking(self) -> bool:
        """Whether its caller wants to wait until it is connected."""
        ...

    def carry_over(self, made: socket.socket) -> None:
        """Give the options that were set to the socket that takes its place, as far as they can be known."""
        ...


class _Seen:
    """A duplicate of it."""

    def __init__(self, duplicate: socket.socket) -> None:
        self._duplicate = duplicate
        self.family: int | None = _insist_on_a_fresh_one(duplicate)
        self.is_blocking = not fcntl.fcntl(duplicate, fcntl.F_GETFL) & os.O_NONBLOCK

    def carry_over(self, made: socket.socket) -> None:
        """See `Theirs.carry_over`."""
        options: Sequence[tuple[int, int]] = _CARRIED
        for level, option in options:
            # An option that one of the two does not take is one that does not matter.
            with suppress(OSError):
                made.setsockopt(level, option, self._duplicate.getsockopt(level, option))
        for option in _TIMES:
            with suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, option, self._duplicate.getsockopt(socket.SOL_SOCKET, option, 16))


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the kernel's lists say of it. Its options are not among that: they are set anew after the connect."""

    is_blocking: bool
    family: int | None = None

    def carry_over(self, made: socket.socket) -> None:
        """See `Theirs.carry_over`."""


@contextmanager
def socket_of(listener: Listener, call: Call) -> Iterator[Theirs]:
    """The caller's socket; raises `Refused` when it is none that can be connected, as the kernel would."""
    try:
        duplicate = listener.socket_of(call)
    except PermissionError:
        yield _look_it_up(call)
        return
    with duplicate:
        yield _Seen(duplicate)


def _insist_on_a_fresh_one(theirs: socket.socket) -> int:
    domain = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
    if domain == socket.AF_UNIX:
        raise Refused(errno.EISCONN)
    if (
        domain not in (socket.AF_INET, socket.AF_INET6)
        or theirs.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) != socket.IPPROTO_TCP
    ):
        raise Refused(errno.EACCES)
    state = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0]
    if state != _FRESH:
        raise Refused(errno.EALREADY if state in _CONNECTING else errno.EISCONN)
    return domain


def _look_it_up(call: Call) -> _Listed:
    of_thread = f"/proc/{call.thread}"
    try:
        found = _SOCKET.match(os.readlink(f"{of_thread}/fd/{call.descriptor}"))
        if found is None:
            raise Refused(errno.ENOTSOCK)
        for line in _lines(f"{of_thread}/net/unix"):
            if line[6] == found[1]:
                raise Refused(errno.EISCONN)
        for line in (*_lines(f"{of_thread}/net/tcp"), *_lines(f"{of_thread}/net/tcp6")):
            if line[9] == found[1]:
                raise Refused(errno.EALREADY if int(line[3], 16) in _CONNECTING else errno.EISCONN)
        with open(f"{of_thread}/fdinfo/{call.descriptor}", encoding="ascii") as about:
            flags = _FLAGS.search(about.read())
    except FileNotFoundError:
        raise (Refused(errno.EBADF) if os.path.exists(of_thread) else Gone()) from None
    if flags is None:
        raise Refused(errno.EACCES)
    return _Listed(is_blocking=not int(flags[1], 8) & os.O_NONBLOCK)


def _lines(path: str) -> Iterator[list[str]]:
    """The rows of a list of sockets, without its heading."""
    with open(path, encoding="ascii", errors="replace") as rows:
        next(rows, None)
        for row in rows:
            yield row.split()
