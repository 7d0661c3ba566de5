"""What may uv and npm use, and when do they end?

A program that becomes another one: ``limiting.py PARENT CPU FILE DATA COMMAND…`` (a process, seconds, bytes, bytes). It
takes the limits first, so that nothing of what it becomes ever runs without them.

Rules
1. It ends with its parent, whatever ends that: what nobody waits for any more does not go on.
2. A limit that cannot be set is stricter already. It gains no privilege from the files that it executes.
"""

import ctypes
import os
import resource
import signal
import sys

_FILES = 4096
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main(parent: int, chosen: dict[int, int], command: list[str]) -> None:
    """Take the limits and become the command."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((_PR_SET_PDEATHSIG, int(signal.SIGKILL)), (_PR_SET_NO_NEW_PRIVS, 1)):
        if prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refuses what every run needs")
    if os.getppid() != parent:
        return  # it ended before it could be heard of
    for limit, value in chosen.items():
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))
    os.execv(command[0], command)


if __name__ == "__main__":
    _parent, _cpu, _file, _data = map(int, sys.argv[1:5])
    _chosen = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CPU: _cpu,
        resource.RLIMIT_FSIZE: _file,
        resource.RLIMIT_DATA: _data,
    }
    main(_parent, _chosen, sys.argv[5:])
