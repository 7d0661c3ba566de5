"""Which of the kernel's namespaces can a zygote have to itself?

Network, ipc, uts, mount and cgroup namespaces of its own, entered once by the zygote and shared by its isolates, which
cannot name each other anyway. An extra: the wall stands without them. Knows nothing of isolates.

Rules
1. What the machine refuses is left out and not reported as an error; `enter` says what it got.
2. A user namespace is taken only where the others are refused without it, and never together with uids of their own for
   isolates: a process in it has one uid, and those are worth more.
3. No pid namespace: host and isolates must mean the same process by the same number.
"""

import os

from runtime.sandbox.kernel.libc import unshare

_USER = 0x10000000
_KINDS = {"uts": 0x04000000, "net": 0x40000000, "ipc": 0x08000000, "mount": 0x00020000, "cgroup": 0x02000000}


def enter() -> tuple[str, ...]:
    """Enter every namespace that the machine gives to a process as it is, and name them."""
    return tuple(kind for kind, flag in _KINDS.items() if _try(flag))


def enter_as_anybody() -> tuple[str, ...]:
    """Enter every namespace that the machine gives, if need be from inside a user namespace, and name them."""
    entered = enter()
    if not entered and _enter_user_namespace():
        entered = ("user", *enter())
    return entered


def _try(flag: int) -> bool:
    try:
        unshare(flag)
    except OSError:
        return False
    return True


def _enter_user_namespace() -> bool:
    uid, gid = os.getuid(), os.getgid()
    if not _try(_USER):
        return False
    # Without a mapping the process would be "nobody" to itself. Groups must be given up before a group can be mapped.
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{file}", "w", encoding="ascii") as map_:
                map_.write(text)
        except OSError:
            return True
    return True
