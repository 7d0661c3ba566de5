"""How is a kernel call made that Python has no function for?

Through the C library's ``syscall(2)`` and ``prctl(2)``, by ctypes. Knows nothing of what the calls mean.

Rules
1. A refusal is an `OSError` with the kernel's errno and the name of the call; nothing returns -1.
2. What is needed after a fork is looked up before it: the first use of a ctypes function costs page faults.
"""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_LIBC.prctl.restype = ctypes.c_int

# The words of <linux/prctl.h> that the wall uses.
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_SET_MDWE = 65
PR_GET_MDWE = 66
PR_MDWE_REFUSE_EXEC_GAIN = 1

_POLLIN = 1
_SIGNALS = ctypes.c_uint64(0)


class _Watched(ctypes.Structure):
    _fields_ = (("descriptor", ctypes.c_int), ("wanted", ctypes.c_short), ("seen", ctypes.c_short))


def kernel_call(name: str, number: int, *arguments: int) -> int:
    """Make a kernel call by its number and return its result."""
    result: int = _LIBC.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """Ask something about this process, or change it, for good."""
    # All five are always given: some options refuse when an argument they do not use is not zero.
    padded = (*arguments, 0, 0, 0, 0)[:4]
    result: int = _LIBC.prctl(ctypes.c_int(option), *(ctypes.c_ulong(argument) for argument in padded))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    """Leave namespaces that are shared with the parent for fresh ones."""
    if _LIBC.unshare(ctypes.c_int(flags)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare({flags:#x}): {os.strerror(error)}")


def wait_for(descriptor: int, ppoll: int) -> bool:
    """Wait until there is something to read, or a signal arrives that is blocked outside of this call; say which.

    Python's own poll() cannot unblock signals only while it waits, so a child's end could be missed in between.
    """
    watched = _Watched(descriptor, _POLLIN, 0)
    try:
        kernel_call("ppoll", ppoll, ctypes.addressof(watched), 1, 0, ctypes.addressof(_SIGNALS), 8)
    except InterruptedError:
        return False
    return True
