"""On which processors does this process run?

On all that it was given, unless somebody burns on one: then every thread of it keeps off, because what wakes there
would wait behind the burning for up to a tick of the kernel (4 ms). Knows nothing of who burns.

Rules
1. `ALL` is read once, before anything was changed.
2. Threads and processes inherit where their creator may run. Threads are called back with all others; who starts a
   process that lasts calls `leave_free` first, for nobody would call that back.
"""

import os
from contextlib import suppress

# That this process may use, and so everything that it starts.
ALL = frozenset(os.sched_getaffinity(0))

_kept_to = ALL  # or nothing, when that is not sure


def keep_to(processors: frozenset[int]) -> None:
    """Run on these and on no other, until told otherwise. For one caller, in the thread of the event loop.

    A courtesy: where the kernel refuses it, everything runs where it did.
    """
    global _kept_to
    if processors == _kept_to:
        return
    _kept_to = frozenset()
    # This thread first, then the others, until there is none that one of those before has started meanwhile.
    _place("0", processors)
    known = set[str]()
    with suppress(OSError):  # no descriptor is free: it is tried again
        while fresh := set(os.listdir("/proc/self/task")) - known:
            for thread in fresh:
                _place(thread, processors)
            known |= fresh
        _kept_to = processors


def leave_free() -> None:
    """What is started in this turn of the loop may run everywhere."""
    keep_to(ALL)


def _place(thread: str, processors: frozenset[int]) -> None:
    with suppress(OSError):  # it has just ended, or somebody took these processors away from us
        os.sched_setaffinity(int(thread), processors)
