"""What does the host hold of one isolate's process?

The host's end of its channel, its standard error, and a pidfd, by which it is signalled: a pid could be another process
by the time the signal arrives. Knows nothing of what is said on the channel.

Rules
1. After `close` nothing of it is left in the host; the process, if it lives, sees the end of its channel and ends.
2. Signals to a process that is gone are not errors: it may always have ended a moment ago.
3. Standard error is a stranger's bytes: at most `GUEST_STDERR` of them are kept, and nobody waits for a reader.
"""

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress

from runtime.limits import GUEST_STDERR
from runtime.machine import processors

_PAGE = os.sysconf("SC_PAGE_SIZE")
# Where in a process's `stat` the processor stands that it ran on last, counted from its state.
_PROCESSOR = 36


class IsolateProcess:
    """One process behind the wall. ``stderr`` is a non-blocking descriptor, ``socket`` a non-blocking stream."""

    def __init__(self, socket: socket.socket, stderr: int, pid: int, pidfd: int) -> None:
        self.socket = socket
        self.stderr = stderr
        self.pid = pid
        self.pidfd = pidfd
        self.reason: str | None = None  # which limit ended it, where somebody counts from outside
        # The kernel's name for a process's CPU clock: the pid's complement, and 2 for "all its threads".
        self._clock = (~pid << 3) | 2
        self._cpu = 0.0
        self._kept_to = processors.ALL
        self._words = b""
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._closed = False

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended."""
        return self._exit.done()

    def cpu_seconds(self) -> float:
        """CPU that it has burnt in its life; for one that is gone, as far as it was seen."""
        if not self.gone:
            with suppress(OSError):
                self._cpu = time.clock_gettime(self._clock)
        return self._cpu

    def rss_bytes(self) -> int:
        """Memory that it has in use, shared pages included; 0 for one that is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as pages:
                return 0 if self.gone else int(pages.read().split()[1]) * _PAGE
        except OSError:
            return 0

    def asleep(self) -> bool:
        """Whether it waits for something in the kernel now, and not for a processor."""
        return self._stat()[:1] == [b"S"]

    def hold(self) -> frozenset[int]:
        """Keep it to the processor that it is on now, and tell where it is kept to."""
        if len(self._kept_to) > 1 and (stat := self._stat()):
            self.keep_to(frozenset({int(stat[_PROCESSOR])}))
        return self._kept_to

    def keep_to(self, places: frozenset[int]) -> None:
        """Let it run on these processors and on no other, until told otherwise.

        A courtesy to everybody else: where the kernel refuses it (an isolate of another user, without
        ``CAP_SYS_NICE``) it runs where it did.
        """
        if places != self._kept_to and not self._closed:
            with suppress(OSError):
                # By the pidfd first: a pid could be another process by now.
                signal.pidfd_send_signal(self.pidfd, 0)
                os.sched_setaffinity(self.pid, places)
                self._kept_to = places

    def interrupt(self) -> None:
        """Ask it to stop what it is running just now (SIGUSR1)."""
        self._signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End it, whatever it does (SIGKILL)."""
        self._signal(signal.SIGKILL)

    async def exit_status(self) -> int:
        """Wait for its end: the exit code, or the negative number of the signal that ended it."""
        return await asyncio.shield(self._exit)

    def last_words(self) -> bytes:
        """What it has written to its standard error so far; past `GUEST_STDERR` bytes, nothing more is read."""
        with suppress(OSError):
            while not self._closed and (room := GUEST_STDERR - len(self._words)) > 0:
                piece = os.read(self.stderr, room)
                if not piece:
                    break
                self._words += piece
        return self._words

    def close(self) -> None:
        """Let go of channel, standard error and pidfd. May be called twice."""
        if not self._closed:
            self._closed = True
            self.socket.close()
            os.close(self.stderr)
            os.close(self.pidfd)

    def ended(self, status: int) -> None:
        """Take note of the end. Called by the zygote's side, once."""
        if not self._exit.done():
            self._exit.set_result(status)

    def _stat(self) -> list[bytes]:
        """What the kernel says of it, beginning with its state; nothing of one that is gone."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                return [] if self.gone else stat.read().rpartition(b") ")[2].split()
        except OSError:
            return []

    def _signal(self, number: int) -> None:
        if not self._closed:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
