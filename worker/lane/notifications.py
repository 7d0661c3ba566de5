"""How does the host hear of a call that a lane's filter traps, and how does it answer?

By the listener of the filter (seccomp_unotify(2)). Knows nothing of what is allowed.

Rules
1. What a pointer of the caller leads to is read once. The caller may change it before and after; what was read is what
   is judged and what is used.
2. A read counts only if the call still waits afterwards: otherwise its number may belong to another process by now.
3. A connect never goes on: it is answered, or it fails. What goes on (SECCOMP_USER_NOTIF_FLAG_CONTINUE) is only the
   making of a process or thread, all of whose arguments the filter itself has seen.
"""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

# id, pid, flags; number, architecture, instruction, six arguments. The answer: id, value, error, flags.
_CALL = struct.Struct("=QII" + "iIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_DESCRIPTOR = struct.Struct("=QIIII")
_SET_DESCRIPTOR = 1
_GO_ON = 1
_CONNECTS = {"x86_64": 42, "aarch64": 203}


def _both_ways(number: int, size: int) -> int:
    return 3 << 30 | size << 16 | ord("!") << 8 | number


def _inwards(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | ord("!") << 8 | number


_RECEIVE = _both_ways(0, _CALL.size)
_SEND = _both_ways(1, _ANSWER.size)
_IS_VALID = _inwards(2, 8)
_ADD_DESCRIPTOR = _inwards(3, _DESCRIPTOR.size)
_PIDFD_GETFD = 438  # the same on every processor

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Call:
    """A call that waits: whose it is, and the arguments of a connect; ``number`` says what it is."""

    id: int
    number: int
    thread: int
    descriptor: int
    address: int
    length: int

    @property
    def is_connect(self) -> bool:
        """Whether it is a connect; what else is trapped makes a process or a thread."""
        return self.number == _CONNECTS[os.uname().machine]


class Gone(Exception):
    """The call does not wait any more: its thread was interrupted, or has ended."""


class Listener:
    """The descriptor on which a lane's trapped calls are heard of. Non-blocking to read from once it is readable."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._descriptor

    def receive(self) -> Call:
        """The next call; `Gone` when it was given up meanwhile, `OSError` when nobody is left who could call."""
        # Before Linux 6.6 the kernel would wait for a call even then.
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        seen = dict(waiting.poll(0)).get(self._descriptor, 0)
        if not seen & select.POLLIN:
            raise OSError(errno.ENOTCONN, "nobody is left") if seen else Gone
        buffer = bytearray(_CALL.size)
        self._control(_RECEIVE, buffer)
        id_, pid, _, number, _, _, first, second, third, *_ = _CALL.unpack(buffer)
        return Call(id_, number, pid, ctypes.c_int(first & 0xFFFFFFFF).value, second, third & 0xFFFFFFFF)

    def read(self, call: Call, length: int) -> bytes:
        """What the caller's address argument leads to; `PermissionError` where the host may not look at the caller."""
        try:
            memory = os.open(f"/proc/{call.thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Gone from None
        try:
            found = os.pread(memory, length, call.address)
        except (OSError, OverflowError):
            found = b""
        finally:
            os.close(memory)
        self._insist(call)
        return found

    def socket_of(self, call: Call) -> socket.socket:
        """A duplicate of the caller's descriptor; `OSError` (ENOTSOCK, EBADF) when that is no socket."""
        pidfd = os.pidfd_open(_process_of(call.thread))
        try:
            descriptor = _LIBC.syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, call.descriptor, 0)
            if descriptor < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
        finally:
            os.close(pidfd)
        try:
            self._insist(call)
            return socket.socket(fileno=descriptor)
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise

    def install(self, call: Call, made: socket.socket) -> None:
        """Put a socket in the place of the descriptor that the caller named."""
        # Whether the caller wanted it closed by an exec is not known; a program that is started should not get it.
        wanted = _DESCRIPTOR.pack(call.id, _SET_DESCRIPTOR, made.fileno(), call.descriptor, os.O_CLOEXEC)
        self._control(_ADD_DESCRIPTOR, bytearray(wanted))

    def answer(self, call: Call, error: int) -> None:
        """Let the call return 0, or fail with an errno."""
        with suppress(Gone):
            self._control(_SEND, bytearray(_ANSWER.pack(call.id, 0, -error, 0)))

    def let_go_on(self, call: Call) -> None:
        """Let the kernel make the call as it was made."""
        with suppress(Gone):
            self._control(_SEND, bytearray(_ANSWER.pack(call.id, 0, 0, _GO_ON)))

    def close(self) -> None:
        """Hear of nothing more; calls that wait fail with ENOSYS."""
        os.close(self._descriptor)

    def _insist(self, call: Call) -> None:
        self._control(_IS_VALID, bytearray(call.id.to_bytes(8, "little")))

    def _control(self, request: int, buffer: bytearray) -> None:
        try:
            fcntl.ioctl(self._descriptor, request, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                raise Gone from None
            raise


def _process_of(thread: int) -> int:
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(b"Tgid:"))
    except (OSError, StopIteration):
        raise Gone from None
