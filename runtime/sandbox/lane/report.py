"""Which layers of the lane's wall hold on this machine?

As for isolates (`kernel.report`): every layer is put on in a child process, and what it should stop is tried. Whether
the network can be judged is tried by the host, which does the judging, with a lane made for it.

Rules
1. What is missing and mandatory stops Node-style actions, and nothing else of a server.
2. A uid of its own is taken only where the host may still look at the lane: without CAP_SYS_PTRACE it could neither
   read where a connect leads nor count deleted files.
"""

import errno
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from runtime.limits import LANE_DATA, MIB
from runtime.protocol.forking import Layer, Requirement
from runtime.protocol.lanes import Order
from runtime.sandbox.kernel import landlock, libc, namespaces
from runtime.sandbox.kernel.landlock import Access, DenyAllBut
from runtime.sandbox.kernel.libc import prctl
from runtime.sandbox.kernel.lockdown import become_nobody
from runtime.sandbox.kernel.numbers import Processor, this_processor
from runtime.sandbox.kernel.report import Hole, capabilities, expect, tried
from runtime.sandbox.lane import confine, counting
from runtime.sandbox.lane.confine import LanePlan
from runtime.sandbox.lane.filter import Choice, Network, Signals, Tasks, lane_filter

# Beside the isolates' range, given out by no distribution either.
_UIDS = range(0x7100_0000, 0x7100_0000 + (1 << 22))
_CAP_SETGID, _CAP_SETUID, _CAP_KILL, _CAP_SYS_PTRACE = 6, 7, 5, 19


def examine() -> tuple[LanePlan | None, tuple[Layer, ...]]:
    """Try every layer; return the plan for this machine, ``None`` without its foundation, and what was found."""
    processor = this_processor()
    abi = landlock.version(processor)
    plan = LanePlan(processor, abi, None, False)
    files = tried("lane_landlock", Requirement.MANDATORY, partial(_try_landlock, processor, abi))
    signals = tried("lane_signals", Requirement.MANDATORY, partial(_try_signals, processor, abi))
    uid = tried("lane_other_uid", Requirement.EXTRA, _try_uid)
    if uid.holds:
        plan = replace(plan, uids=_UIDS)
    spaces = tried("lane_namespaces", Requirement.EXTRA, partial(_try_namespaces, plan))
    plan = replace(plan, namespaces=spaces.holds)
    layers = (
        tried("lane_seccomp", Requirement.MANDATORY, partial(_try_filter, processor)),
        files,
        signals,
        tried("lane_memory", Requirement.MANDATORY, _try_memory),
        tried("lane_keeper", Requirement.MANDATORY, _try_keeper),
        tried("lane_self_proof", Requirement.MANDATORY, partial(_try_everything, plan)),
        uid,
        spaces,
    )
    return plan if abi else None, layers


def _try_filter(processor: Processor) -> str:
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    program = lane_filter(processor, _closed())
    program.put_on()
    expect(PermissionError, lambda: socket.socket(socket.AF_UNIX), "a unix socket")
    expect(PermissionError, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "a UDP socket")
    expect(PermissionError, lambda: socket.socket().connect(("127.0.0.1", 9)), "a connect")
    expect(PermissionError, lambda: socket.socket().bind(("127.0.0.1", 0)), "a bind")
    expect(PermissionError, lambda: os.kill(os.getppid(), 0), "a signal to the parent")
    expect(PermissionError, os.setsid, "a session of its own")
    return f"{len(program)} instructions for {processor.name}; sockets, bind, connect, sessions refused"


def _closed() -> Choice:
    return Choice(Network.NONE, Signals.ITSELF, Tasks.COUNTED, os.getpid())


def _try_landlock(processor: Processor, abi: int) -> str:
    if abi == 0:
        raise Hole("this kernel has no Landlock, or hides it (Linux 5.13 has it): files could not be kept apart")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("in", "out"):
            os.mkdir(os.path.join(folder, name))
        prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        inside, outside = os.path.join(folder, "in", "file"), os.path.join(folder, "out", "file")
        permitted = Access.READ | Access.CHANGE
        text = _in_another(partial(_try_files, processor, abi, inside, outside, permitted))
    return text


def _try_files(processor: Processor, abi: int, inside: str, outside: str, permitted: int) -> str:
    DenyAllBut(processor, abi, [(os.path.dirname(inside), permitted)]).put_on()
    os.close(os.open(inside, os.O_WRONLY | os.O_CREAT))
    expect(PermissionError, lambda: os.open(outside, os.O_WRONLY | os.O_CREAT), "a file outside")
    expect(PermissionError, lambda: os.listdir("/"), "listing a directory")
    return f"version {abi}: files in the lane's folders, and no others"


def _in_another(attempt: Callable[[], str]) -> str:
    """Run an attempt in a child, so that what it cannot do any more can be done after it."""
    layer = tried("", Requirement.MANDATORY, attempt)
    if not layer.holds:
        raise Hole(layer.detail)
    return layer.detail


def _try_signals(processor: Processor, abi: int) -> str:
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    scoped = abi >= confine.SCOPES_SINCE
    if scoped:
        DenyAllBut(processor, abi, []).put_on()
    else:
        lane_filter(processor, _closed()).put_on()
    expect(PermissionError, lambda: os.kill(os.getppid(), 0), "a signal to the parent")
    os.kill(os.getpid(), 0)
    return "the kernel keeps them inside the lane" if scoped else "by the filter: a process reaches itself, its group"


def _try_memory() -> str:
    confine.set_limits(0, counted=False)
    try:
        taken = bytearray(LANE_DATA + 64 * MIB)
    except MemoryError:
        return "bounded for each process by the kernel, for all of a lane by its keeper"
    raise Hole(f"{len(taken) >> 20} MiB were given")


def _try_keeper() -> str:
    """A process that leaves its parent must come to the keeper and be found there."""
    prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    reader, writer = os.pipe()
    if (first := os.fork()) == 0:
        if (orphan := os.fork()) == 0:
            signal.pause()
        os.write(writer, str(orphan).encode())
        os._exit(0)
    os.waitpid(first, 0)
    orphan = int(os.read(reader, 20))
    found = counting.children(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    os.waitpid(orphan, 0)
    if found != [orphan]:
        raise Hole("an orphan is not found among its keeper's children (CONFIG_PROC_CHILDREN)")
    return "orphans come to the keeper, who finds and ends them"


def _try_uid() -> str:
    needed = (1 << _CAP_SETUID) | (1 << _CAP_SETGID) | (1 << _CAP_KILL) | (1 << _CAP_SYS_PTRACE)
    if os.getuid() != 0 or capabilities() & needed != needed:
        raise Hole("not permitted; lanes run as the server's user, kept apart by Landlock and the filter")
    become_nobody(_UIDS[-1])
    expect(PermissionError, lambda: os.kill(os.getppid(), 0), "a signal to the parent")
    return "one for each scratch folder, where it can reach its files"


def _try_namespaces(plan: LanePlan) -> str:
    entered = namespaces.enter() if plan.uids is not None else namespaces.enter_as_anybody()
    if "net" not in entered:
        raise Hole("this machine gives none")
    with suppress(OSError), socket.socket() as probe:
        probe.connect(("127.0.0.1", 9))
        raise Hole("a connection out of an empty network")
    return ", ".join(entered)


def _try_everything(plan: LanePlan) -> str:
    with tempfile.TemporaryDirectory() as folder:
        order = Order(("/bin/true",), {}, (), folder, 64 * MIB, network=False, heard=False)
        try:
            return _in_another(partial(_confined, plan, order))
        finally:
            # Given away for the trial; taken back to be removed.
            with suppress(OSError):
                os.chown(folder, os.getuid(), os.getgid())


def _confined(plan: LanePlan, order: Order) -> str:
    confine.confine(plan, order, os.getppid())
    try:
        os.open("/etc/passwd", os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.EACCES:
            return "after the whole lock-down, " + ", ".join(confine.WAYS_OUT) + " are refused"
    raise Hole("a file outside of the lane was opened")
