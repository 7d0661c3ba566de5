"""In which order does a process give up everything but its channel?

Knows how to lock down the process it runs in, and how to prove that it is locked. Knows nothing of zygotes, channels'
contents or tenants.

Rules
1. The order is measured, not a matter of taste: changing the uid clears the parent-death signal and the dumpable flag,
   so both are set after it; capabilities go after the uid, because changing it needs them; the filter goes last,
   because it refuses everything above it.
2. A step that fails ends the process (`LOCKDOWN_FAILED`). No tenant code has been read by then.
3. Only what `Plan` names is left out, and a plan leaves out only what is not mandatory.
4. The proof is made with the ways out that the wall exists to close: a file, a socket, a pipe, a process.
"""

import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from runtime.limits import GUEST_MEMORY, ISOLATE_AGE
from runtime.sandbox.kernel import libc, namespaces
from runtime.sandbox.kernel.landlock import DenyAll
from runtime.sandbox.kernel.libc import kernel_call, prctl
from runtime.sandbox.kernel.numbers import Processor
from runtime.sandbox.kernel.rules import CHANNEL, STDERR
from runtime.sandbox.kernel.seccomp import Filter

LOCKDOWN_FAILED = 97
_FIRST_FREE = CHANNEL + 1

# Nice 5 and not SCHED_BATCH: the router (nice 0) gets three times the share of an isolate that burns CPU, and one that
# wakes up for a request still pre-empts another tenant's that burns. Tried, one processor, a burner beside a
# ping-pong: nice 5 answers in 0.02 ms (p99 0.08), batch in 1.9 ms (p99 5.3), neither in 0.02 ms (p99 3.4).
_NICENESS = 5

_PAGE = resource.getpagesize()
_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
_NONE = (ctypes.c_uint32 * 6)()

# What may be used up after the lock-down, hard and soft. Memory is added to these.
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_NOFILE, _FIRST_FREE),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
    # A backstop for the day on which the host's watchdog sleeps: twice what an isolate could honestly burn in its life.
    (resource.RLIMIT_CPU, 2 * ISOLATE_AGE // 1000),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a lock-down is made of on this machine. ``uids`` are those isolates may take; ``None``: they keep ours."""

    processor: Processor
    filter: Filter
    landlock: DenyAll | None
    uids: range | None


def settle(plan: Plan) -> tuple[str, ...]:
    """Do once, in the zygote, what its isolates inherit and need not do again; name the namespaces it entered."""
    entered = namespaces.enter_as_anybody() if plan.uids is None else namespaces.enter()
    give_up_the_bounding_set()
    refuse_new_executable_memory()
    return entered


def give_up_the_bounding_set(limit: int = 64) -> bool:
    """Make sure that no capability can ever come back; say whether that was permitted. Inherited by every child."""
    for capability in range(limit):
        try:
            prctl(libc.PR_CAPBSET_DROP, capability)
        except OSError as error:
            return error.errno == errno.EINVAL  # one past the last capability there is
    return True


def refuse_new_executable_memory() -> bool:
    """Ask the kernel never to make written memory executable; say whether it can (Linux 6.3). Children inherit it."""
    with suppress(OSError):
        prctl(libc.PR_SET_MDWE, libc.PR_MDWE_REFUSE_EXEC_GAIN)
        return True
    return False


def keep_only(channel: int, stderr: int) -> None:
    """Move the channel to 3 and the standard error to 2, and close every other descriptor. Both must be above 3."""
    os.dup2(channel, CHANNEL)
    os.dup2(stderr, STDERR)
    os.closerange(0, STDERR)
    close_from(_FIRST_FREE)


def close_from(first: int) -> None:
    """Close every descriptor from this number on."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Bounded by the limit on open files: where the C library has no close_range(2), this is a loop.
    os.closerange(first, max(soft, _FIRST_FREE))


def lock_down(plan: Plan, parent: int) -> None:
    """Give up everything but the channel, standard error, memory and clocks, for good. ``parent`` must be alive."""
    be_first_to_go()
    die_with(parent)
    set_limits()
    if plan.uids is not None:
        become_nobody(plan.uids[os.getpid() % len(plan.uids)])
    die_with(parent)
    prctl(libc.PR_SET_DUMPABLE, 0)
    drop_capabilities(plan.processor)
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if plan.landlock is not None:
        plan.landlock.put_on()
    # Late, so that an isolate for which a request waits gets this far at the host's own pace.
    os.nice(_NICENESS)
    plan.filter.put_on()


def be_first_to_go() -> None:
    """Be the first that the kernel ends when memory runs out."""
    # Refused only where /proc is read-only or hidden; then the kernel chooses by size, which is often right, too.
    with suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)


def die_with(parent: int) -> None:
    """Be killed when the parent ends, even if it ended before this was asked."""
    prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent ended during the lock-down")


def set_limits(memory: int = GUEST_MEMORY) -> None:
    """Bound what the kernel counts. ``memory`` is what may be added to the address space from here on, in bytes."""
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    in_use = int(os.read(statm, 100).split()[0]) * _PAGE
    os.close(statm)
    for which, value in _LIMITS:
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))
    resource.setrlimit(resource.RLIMIT_AS, (in_use + memory, in_use + memory))


def become_nobody(uid: int) -> None:
    """Take a uid, and a gid of the same number, that nobody else has; leave every group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities(processor: Processor) -> None:
    """Empty the three sets of capabilities."""
    kernel_call("capset", processor.numbers["capset"], ctypes.addressof(_CAPABILITIES), ctypes.addressof(_NONE))


def prove(processor: Processor) -> None:
    """Try the ways out; EPERM from each is the proof, anything else is a hole and raises `RuntimeError`."""
    for name, way_out in _WAYS_OUT.items():
        try:
            way_out(processor)
        except OSError as error:
            if error.errno == errno.EPERM:
                continue
            # Landlock would say EACCES: then the filter, which is asked first, has let it pass.
            raise RuntimeError(f"{name}: {error.strerror!r} where EPERM was due") from None
        raise RuntimeError(f"{name}: permitted after the lock-down")


def _fork(processor: Processor) -> None:
    # Not os.fork(): what Python does around it costs more than all the other proofs.
    if kernel_call("clone", processor.numbers["clone"], signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(LOCKDOWN_FAILED)


_WAYS_OUT: dict[str, Callable[[Processor], object]] = {
    "open": lambda _: os.open("/", os.O_RDONLY),
    "socket": lambda _: socket.socket(socket.AF_UNIX),
    "pipe": lambda _: os.pipe(),
    "fork": _fork,
}


def give_up(error: BaseException) -> NoReturn:
    """End a process that could not be locked down, with a word about why on its standard error."""
    with suppress(OSError):
        os.write(STDERR, f"lock-down failed: {type(error).__name__}: {error}\n".encode())
    os._exit(LOCKDOWN_FAILED)
