"""Who watches a lane, and sees to it that nothing of it is left?

Its keeper: a process of ours, the parent of the tenant's program and the heir of all that comes of it. Knows nothing of
what the program is for.

Rules
1. The lane ends when its first process does, when it passes a limit, when the host says so, when the host is gone, or
   when the launcher is. Then all of it is killed: the process group, as one, and again until the keeper has no child.
2. Orphans come to the keeper (it is their subreaper), so "no child" means that nothing of the lane is left anywhere.
3. A limit is counted from outside and never from what the lane says. Memory is a sum of resident sets; before somebody
   is killed for it, pages that processes share are counted once.
4. Nothing in the scratch folder is opened by its path from above, and no link in it is followed.
"""

import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from runtime.limits import LANE_TASKS
from runtime.protocol.lanes import Closed, Opened, Order, Refused
from runtime.sandbox.kernel import libc
from runtime.sandbox.lane import counting
from runtime.sandbox.lane.confine import Ends, LanePlan, become

_EVERY = 0.05
_LAST_WAIT = 5.0
_SCRATCH_EVERY = 0.25
# Counting files may take a tenth of the time and no more, however many there are.
_SCRATCH_SHARE = 10


def keep(plan: LanePlan, order: Order, ends: Ends, launcher: int) -> NoReturn:
    """Open a lane, watch it to its end, and end with it. Called in a process made for it."""
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    line = socket.socket(fileno=ends.line)
    ending = signal.SIGTERM
    reader, writer = os.pipe2(os.O_NONBLOCK)
    signal.signal(ending, lambda *_: None)
    signal.set_wakeup_fd(writer)
    libc.prctl(libc.PR_SET_PDEATHSIG, ending)
    if os.getppid() != launcher:
        os._exit(1)
    opened, why_not = _open(plan, order, ends)
    for descriptor in (ends.channel, ends.stderr):
        os.close(descriptor)
    if opened is None:
        _say(line, Refused(why_not))
        os._exit(0)
    _say(line, Opened(opened))
    reason = _Watch(opened, order, line, reader).until_it_ends()
    status = _bury(opened)
    _say(line, Closed(status, reason))
    _wait_until_it_is_heard(line)
    os._exit(0)


def _open(plan: LanePlan, order: Order, ends: Ends) -> tuple[int | None, str]:
    """Fork the program; its pid once it runs, or ``None`` and why it does not."""
    reader, writer = os.pipe()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        become(plan, order, ends, writer, keeper)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read(4000).decode(errors="replace")
    # A child that is killed on the way says nothing either, but it is gone: the watch sees it at once.
    if not said:
        return pid, ""
    os.waitpid(pid, 0)
    return None, said


@dataclass(slots=True)
class _Watch:
    """One lane under its keeper's eye."""

    pid: int
    order: Order
    line: socket.socket
    signalled: int
    clock: float | None = None
    next_files: float = 0.0

    def until_it_ends(self) -> str | None:
        """Return when the lane has to go, and which limit it has passed, if that is why."""
        pidfd = os.pidfd_open(self.pid)
        poll = select.poll()
        for descriptor in (pidfd, self.line.fileno(), self.signalled):
            poll.register(descriptor, select.POLLIN)
        try:
            while not poll.poll(_EVERY * 1000):
                if (passed := self._look()) is not None:
                    return passed
            return None
        finally:
            os.close(pidfd)

    def _look(self) -> str | None:
        clock = time.clock_gettime(_cpu_clock(self.pid))
        if clock == self.clock:
            # One process that has burnt nothing has neither forked nor taken nor written anything.
            return None
        members = counting.members(self.pid)
        if len(members) == 1:
            self.clock = clock
        _reap_orphans(self.pid)
        if (passed := self._processes(members)) is not None:
            return passed
        if (before := time.monotonic()) < self.next_files:
            self.clock = None
            return None
        passed = counting.files_passed(self.order.scratch, members)
        after = time.monotonic()
        self.next_files = after + max(_SCRATCH_EVERY, _SCRATCH_SHARE * (after - before))
        return passed

    def _processes(self, members: list[counting.Member]) -> str | None:
        tasks = sum(each.threads for each in members)
        if tasks > LANE_TASKS:
            return f"LANE_TASKS: {tasks} processes and threads, {LANE_TASKS} are allowed"
        if sum(each.rss for each in members) > self.order.memory:
            used = counting.shared_once(members)
            if used > self.order.memory:
                return f"memory: {used >> 20} MiB in use, {self.order.memory >> 20} MiB are allowed"
        return None


def _cpu_clock(pid: int) -> int:
    # The kernel's name for a process's CPU clock: the pid's complement, and 2 for "all its threads".
    return (~pid << 3) | 2


def _reap_orphans(pid: int) -> None:
    """Wait for what has come to the keeper and ended; not for the first process, whose number must stay taken."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == pid:
            return
        os.waitpid(found.si_pid, 0)


def _bury(pid: int) -> int:
    """Kill the lane until nothing is left; how its first process ended."""
    status = 0
    while True:
        # While its first process is not waited for, the group's number belongs to nobody else.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        for child in counting.children(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        # Wait for one, then for all that have ended with it: there may be thousands.
        options = 0
        try:
            while True:
                ended, code = os.waitpid(-1, options)
                if ended == 0:
                    break
                if ended == pid:
                    status = os.waitstatus_to_exitcode(code)
                options = os.WNOHANG
        except ChildProcessError:
            return status


def _wait_until_it_is_heard(line: socket.socket) -> None:
    """Wait until the host has closed the line: a `Kill` that was not read would reset it, and our last word with it."""
    line.settimeout(_LAST_WAIT)
    with suppress(OSError):
        while line.recv(64):
            pass


def _say(line: socket.socket, message: Opened | Refused | Closed) -> None:
    # The host may be gone; then there is nobody to tell.
    with suppress(OSError):
        line.send(msgspec.msgpack.encode(message))
