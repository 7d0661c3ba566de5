"""In which order does a process give up what it must not have, and become the tenant's program?

Knows how to confine the process it runs in. Knows nothing of who watches it (`keeper`) or what the program is for.

Rules
1. The order is that of an isolate (`kernel.lockdown`), and for the same reasons. The filter goes last, and execve(2)
   is the only thing that follows the proof.
2. A step that fails ends the process before the program's first instruction, and says which.
3. What the program may read is what it is given, and what every program needs (`_SYSTEM`). Nothing of /proc or /sys
   that speaks of other processes, nothing of /etc but certificates and the loader's cache: without /etc/resolv.conf
   the C library asks 127.0.0.1:53, and that question is trapped like every connect.
4. It may write its scratch folder, but not execute there.
"""

import fcntl
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from runtime.limits import LANE_CPU, LANE_DATA, LANE_DESCRIPTORS, LANE_FILE, LANE_TASKS
from runtime.protocol.lanes import Listening, Order
from runtime.sandbox.kernel import libc, lockdown, namespaces
from runtime.sandbox.kernel.landlock import Access, DenyAllBut
from runtime.sandbox.kernel.libc import prctl
from runtime.sandbox.kernel.numbers import Processor
from runtime.sandbox.kernel.rules import CHANNEL, STDERR
from runtime.sandbox.lane.filter import Choice, Network, Signals, Tasks, lane_filter

# Where the line and the word about the exec are kept until the program takes over; both close by themselves then.
_LINE, _STATUS = 10, 11
_FIRST_FREE = 12
_OUT_OF_THE_WAY = 32
_NICENESS = 5
_ROOM_FOR_OTHERS = 2048
# Scopes of Landlock, with which the kernel keeps signals inside the lane.
SCOPES_SINCE = 6

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin"),
    *("/etc/ld.so.cache", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/ca-certificates"),
    *("/etc/localtime", "/etc/timezone", "/etc/mime.types"),
    # What a program reads to find out how much machine there is.
    *("/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/sys/devices/system/cpu"),
)
_SOURCES = ("/dev/zero", "/dev/urandom", "/dev/random")
_SINK = "/dev/null"


@dataclass(frozen=True, slots=True)
class LanePlan:
    """What a lane's wall is made of on this machine. ``uids``: those that lanes may take; ``None``: they keep ours."""

    processor: Processor
    landlock: int
    uids: range | None
    namespaces: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """The descriptors that a lane begins with: its channel, its standard error, its line to the host."""

    channel: int
    stderr: int
    line: int


def become(plan: LanePlan, order: Order, ends: Ends, status: int, keeper: int) -> NoReturn:
    """Turn this process into the ordered program; what fails is written to ``status``, which closes when it runs."""
    try:
        _arrange_descriptors(ends, status)
        counted = confine(plan, order, keeper)
        if not (counted or order.heard):
            raise RuntimeError("lane_tasks: nothing would bound its processes")
        os.execve(order.command[0], order.command, order.environment)
    except BaseException as error:
        os.write(_STATUS, f"{type(error).__name__}: {error}".encode()[:2000])
    os._exit(lockdown.LOCKDOWN_FAILED)


def confine(plan: LanePlan, order: Order, keeper: int) -> bool:
    """Give up all that the lane does not have, for good, and prove it; whether the kernel counts its processes.

    The line must be at its place.
    """
    os.setpgid(0, 0)
    lockdown.be_first_to_go()
    lockdown.die_with(keeper)
    uid = _choose_uid(plan, order)
    if plan.namespaces:
        namespaces.enter() if os.getuid() == 0 else namespaces.enter_as_anybody()
    lockdown.give_up_the_bounding_set()
    set_limits(order.memory, counted=uid is not None)
    if uid is not None:
        lockdown.become_nobody(uid)
    lockdown.die_with(keeper)
    os.nice(_NICENESS)
    os.umask(0o077)
    os.chdir(order.scratch)
    lockdown.drop_capabilities(plan.processor)
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    rules = DenyAllBut(plan.processor, plan.landlock, _paths(order))
    rules.put_on()
    _reset_signals()
    _put_on_the_filter(plan, order, counted=uid is not None)
    prove()
    return uid is not None


def _arrange_descriptors(ends: Ends, status: int) -> None:
    """0 is nothing, 1 and 2 the standard error, 3 the channel; line and status behind them close with the exec."""
    # Out of the way first: any of them may stand where another one belongs.
    given = (os.open(os.devnull, os.O_RDONLY), ends.stderr, ends.channel, ends.line, status)
    null, stderr, channel, line, kept = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for each in given)
    for source, target in ((null, 0), (stderr, 1), (stderr, STDERR), (channel, CHANNEL)):
        os.dup2(source, target)
    os.dup2(line, _LINE, inheritable=False)
    os.dup2(kept, _STATUS, inheritable=False)
    os.closerange(CHANNEL + 1, _LINE)
    lockdown.close_from(_FIRST_FREE)


def _choose_uid(plan: LanePlan, order: Order) -> int | None:
    """The uid of this lane's own, and its scratch folder given to it; ``None`` where it could not reach its files.

    One folder, one uid: what an earlier process left there can be read by the next.
    """
    # Never by a link: the folder is the host's to make, but what stood in its place may be somebody else's.
    folder = os.open(order.scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if plan.uids is None:
            return None
        uid = plan.uids[os.fstat(folder).st_ino % len(plan.uids)]
        if not _reaches(uid, order):
            return None
        os.fchown(folder, uid, uid)
        return uid
    finally:
        os.close(folder)


def _reaches(uid: int, order: Order) -> bool:
    """Whether somebody with this uid gets to the program, to what it reads, and to the folder above its scratch."""
    os.setresuid(-1, uid, 0)
    try:
        above = os.path.dirname(order.scratch.rstrip("/"))
        return (
            os.access(order.command[0], os.X_OK, effective_ids=True)
            and os.access(above, os.X_OK, effective_ids=True)
            and all(os.access(path, os.R_OK, effective_ids=True) for path in order.readable)
        )
    finally:
        os.setresuid(-1, 0, 0)


def set_limits(memory: int, counted: bool) -> None:
    """Bound what the kernel counts. ``counted``: nobody else runs under this uid, so its tasks can be counted."""
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, LANE_FILE),
        (resource.RLIMIT_NOFILE, LANE_DESCRIPTORS),
        (resource.RLIMIT_MEMLOCK, 65_536),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_CPU, LANE_CPU // 1000),
        # Not the address space: V8 reserves hundreds of gigabytes of it that it never touches.
        (resource.RLIMIT_DATA, memory + LANE_DATA),
    ]
    # Where others run under this uid, the kernel's count is only there to outlast a moment of the keeper's.
    limits.append((resource.RLIMIT_NPROC, LANE_TASKS if counted else _tasks_of_this_uid() + _ROOM_FOR_OTHERS))
    for which, value in limits:
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))


def _tasks_of_this_uid() -> int:
    uid, tasks = os.getuid(), 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    tasks += len(os.listdir(f"/proc/{name}/task"))
    return tasks


def _paths(order: Order) -> Sequence[tuple[str, int]]:
    look = Access.READ | Access.EXECUTE
    return (
        *((path, look) for path in _SYSTEM),
        *((path, look) for path in order.readable),
        (os.path.realpath(order.command[0]), look),
        *((path, Access.READ) for path in _SOURCES),
        (_SINK, Access.READ | Access.DEVICE),
        (order.scratch, Access.READ | Access.CHANGE),
    )


def _reset_signals() -> None:
    """Every signal as a program expects it: Python ignores some, and an exec does not undo that."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _put_on_the_filter(plan: LanePlan, order: Order, counted: bool) -> None:
    signals = Signals.LANE if plan.landlock >= SCOPES_SINCE else Signals.ITSELF
    network = Network.JUDGED if order.network else Network.NONE
    tasks = Tasks.COUNTED if counted or not order.heard else Tasks.PACED
    program = lane_filter(plan.processor, Choice(network, signals, tasks, os.getpid()))
    if network is Network.NONE and tasks is Tasks.COUNTED:
        program.put_on()
        return
    listener = program.put_on_with_listener()
    with socket.socket(fileno=os.dup(_LINE)) as line:
        socket.send_fds(line, [msgspec.msgpack.encode(Listening())], [listener])
    os.close(listener)


def prove() -> None:
    """Try the ways out; each must be refused, or `RuntimeError` names the one that is not."""
    for name, way_out in WAYS_OUT.items():
        try:
            way_out()
        except PermissionError:
            continue
        except OSError as error:
            raise RuntimeError(f"{name}: {error.strerror!r} where a refusal was due") from None
        raise RuntimeError(f"{name}: permitted after the lock-down")


WAYS_OUT: dict[str, Callable[[], object]] = {
    "list /": lambda: os.listdir("/"),
    "open /proc/self/mem": lambda: os.open("/proc/self/mem", os.O_RDWR),
    "a unix socket": lambda: socket.socket(socket.AF_UNIX),
    "a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "a session of its own": os.setsid,
    "the keeper": lambda: os.kill(os.getppid(), 0),
}
