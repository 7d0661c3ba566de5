"""Which layers of the wall hold on this machine?

Nothing is concluded from version numbers: every layer is put on in a child process, and what it should stop is tried.
Knows nothing of isolates; decides with which `Plan` they are locked down.

Rules
1. A layer "holds" only if the attempt it should stop was made, and was stopped.
2. What is missing and mandatory stops a server. What is missing and not mandatory is left out of the plan, and said.
3. Trying changes nothing in the process that asks, and leaves nothing behind.
"""

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from runtime.limits import GUEST_MEMORY, MIB
from runtime.protocol.forking import Layer, Requirement
from runtime.sandbox.kernel import landlock, libc, lockdown, seccomp
from runtime.sandbox.kernel.libc import prctl
from runtime.sandbox.kernel.lockdown import Plan
from runtime.sandbox.kernel.numbers import this_processor
from runtime.sandbox.kernel.rules import CHANNEL

ENVIRONMENT = frozenset({"LANG", "TZ", "PYTHONHASHSEED", "LC_CTYPE"})

# A uid per isolate from a range that no distribution gives out; "nobody" where only 65536 uids are mapped.
_UIDS = (range(0x7000_0000, 0x7000_0000 + (1 << 22)), range(65534, 65535))
_CAP_SETGID, _CAP_SETUID, _CAP_KILL = 6, 7, 5


class Hole(Exception):
    """What the layer should have stopped was not stopped."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: int
    text: str


def examine() -> tuple[Plan, tuple[Layer, ...]]:
    """Try every layer; return the plan for this machine, and what was found."""
    processor = this_processor()
    abi = landlock.version(processor)
    deny_all = landlock.DenyAll(processor, abi) if abi else None
    plan = Plan(processor, seccomp.Filter(processor, seccomp.build(processor)), deny_all, None)

    landlock_layer = tried("landlock", Requirement.RECOMMENDED, lambda: _try_landlock(plan, abi))
    if not landlock_layer.holds:
        plan = replace(plan, landlock=None)
    plan, uid_layer = _choose_uids(plan)
    return plan, (
        tried("no_new_privileges", Requirement.MANDATORY, _try_no_new_privileges),
        _try_filter(plan),
        tried("rlimits", Requirement.MANDATORY, _try_limits),
        tried("closed_descriptors", Requirement.MANDATORY, _try_closed_descriptors),
        tried("empty_environment", Requirement.MANDATORY, _try_environment),
        tried("no_capabilities", Requirement.MANDATORY, partial(_try_capabilities, plan)),
        tried("parent_death", Requirement.MANDATORY, _try_parent_death),
        tried("self_proof", Requirement.MANDATORY, partial(_try_everything, plan)),
        landlock_layer,
        tried("no_executable_memory", Requirement.EXTRA, _try_executable_memory),
        tried("bounding_set", Requirement.EXTRA, _try_bounding_set),
        uid_layer,
        tried("namespaces", Requirement.EXTRA, partial(_try_namespaces, plan)),
        Layer("cgroup", Requirement.EXTRA, False, "not used; memory is bounded by rlimits, CPU by the host's watchdog"),
    )


def _in_child(attempt: Callable[[], str]) -> _Outcome:
    """Run an attempt in a child process; its text comes back through descriptor 3, which every layer leaves open."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os.dup2(writer, CHANNEL)
            try:
                text, status = attempt(), 0
            except (OSError, Hole, RuntimeError, MemoryError) as error:
                text, status = str(error), 1
            os.write(CHANNEL, text.encode()[:4000])
            os._exit(status)
        os._exit(2)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    return _Outcome(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text)


def tried(name: str, requirement: Requirement, attempt: Callable[[], str]) -> Layer:
    """Run an attempt in a child process; the layer holds if it returns, and its text is the detail."""
    outcome = _in_child(attempt)
    return Layer(name, requirement, outcome.status == 0, outcome.text or f"the trial ended with {outcome.status}")


def expect(refused: type[OSError], attempt: Callable[[], object], what: str) -> None:
    """Raise `Hole` unless the attempt is refused in this way."""
    try:
        attempt()
    except refused:
        return
    except OSError as error:
        raise Hole(f"{what}: {error}") from None
    raise Hole(f"{what} was permitted")


def _try_no_new_privileges() -> str:
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if prctl(libc.PR_GET_NO_NEW_PRIVS) != 1:
        raise Hole("the kernel does not remember it")
    return "set, and cannot be cleared"


def _try_filter(plan: Plan) -> Layer:
    """Both of the filter's refusals are tried: the error, and the death."""

    def put_on() -> None:
        prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        plan.filter.put_on()

    def polite() -> str:
        put_on()
        lockdown.prove(plan.processor)
        return f"{len(plan.filter)} instructions for {plan.processor.name}; open, socket, pipe and fork refused"

    def deadly() -> str:
        put_on()
        prctl(libc.PR_GET_DUMPABLE)
        return "prctl was permitted"

    layer = tried("seccomp", Requirement.MANDATORY, polite)
    death = _in_child(deadly)
    if layer.holds and death.status != -signal.SIGSYS:
        return Layer(layer.name, layer.requirement, False, f"a hostile call did not kill: {death.text}")
    return layer


def _try_limits() -> str:
    lockdown.set_limits(memory=16 * MIB)
    try:
        bytearray(32 * MIB)
    except MemoryError:
        pass
    else:
        raise Hole("memory past the limit was given")
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise Hole("core dumps are not off")
    return f"an isolate may add {GUEST_MEMORY // MIB} MiB; no files, core dumps, processes or further descriptors"


def _try_closed_descriptors() -> str:
    # Descriptor 3 is the way back; it stands for channel and standard error, both.
    lockdown.keep_only(os.dup(CHANNEL), os.dup(CHANNEL))
    for descriptor in (0, 1, *range(4, 64)):
        expect(OSError, partial(os.fstat, descriptor), f"descriptor {descriptor}")
    return "an isolate holds its channel and its standard error"


def _try_environment() -> str:
    extra = sorted(set(os.environ) - ENVIRONMENT)
    if extra:
        raise Hole(f"{len(extra)} variables are set that should not be: {', '.join(extra[:5])}")
    return "nothing but language, time zone and hash seed"


def _try_capabilities(plan: Plan) -> str:
    lockdown.drop_capabilities(plan.processor)
    if capabilities():
        raise Hole("capabilities are left")
    return "all given up"


def capabilities() -> int:
    """The capabilities that this process has in effect, as bits."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))


def _try_parent_death() -> str:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        middle = os.getpid()
        if os.fork() == 0:
            lockdown.die_with(middle)
            os.write(writer, b"!")
            signal.pause()
        os.read(reader, 1)
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(writer)
    # The orphan holds the other end of both pipes: they end when it does, or never.
    if os.read(reader, 1):
        raise Hole("a child said more than it should")
    return "a process ends with its parent"


def _try_everything(plan: Plan) -> str:
    lockdown.keep_only(os.dup(CHANNEL), os.dup(CHANNEL))
    lockdown.settle(plan)
    lockdown.lock_down(plan, os.getppid())
    lockdown.prove(plan.processor)
    return "after the whole lock-down, open, socket, pipe and fork fail"


def _try_landlock(plan: Plan, abi: int) -> str:
    if plan.landlock is None:
        raise Hole("this kernel has none, or hides it")
    prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    plan.landlock.put_on()
    expect(PermissionError, lambda: os.listdir("/"), "listing a directory")
    if abi >= 6:
        expect(PermissionError, lambda: os.kill(os.getppid(), 0), "a signal to the parent")
    covered = "files, TCP, abstract sockets, signals" if abi >= 6 else "files, TCP" if abi >= 4 else "files"
    return f"version {abi}: {covered}"


def _try_executable_memory() -> str:
    if not lockdown.refuse_new_executable_memory():
        raise Hole("this kernel cannot (Linux 6.3 can); the filter refuses it as well")
    return "the kernel refuses to make written memory executable"


def _try_bounding_set() -> str:
    if not lockdown.give_up_the_bounding_set():
        raise Hole("not permitted; no_new_privileges covers it")
    return "empty: no capability can come back"


def _choose_uids(plan: Plan) -> tuple[Plan, Layer]:
    needed = (1 << _CAP_SETUID) | (1 << _CAP_SETGID) | (1 << _CAP_KILL)
    layer = Layer("other_uid", Requirement.EXTRA, False, "not permitted; isolates run as the server's user")
    # Without the last of the three the host could not end an isolate that has another uid.
    if os.getuid() != 0 or capabilities() & needed != needed:
        return plan, layer
    for uids in _UIDS:
        layer = tried("other_uid", Requirement.EXTRA, partial(_try_uid, uids))
        if layer.holds:
            return replace(plan, uids=uids), layer
    return plan, layer


def _try_uid(uids: range) -> str:
    lockdown.become_nobody(uids[-1])
    expect(PermissionError, lambda: os.kill(os.getppid(), 0), "a signal to the parent")
    return "one for each isolate" if len(uids) > 1 else "nobody's"


def _try_namespaces(plan: Plan) -> str:
    entered = lockdown.settle(plan)
    if not entered:
        raise Hole("this machine gives none")
    return ", ".join(entered)
