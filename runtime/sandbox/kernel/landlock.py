"""How is a process cut off from files, ports, abstract sockets and other processes' signals a second time?

Landlock: a rule set that allows nothing, or one that allows what is beneath some paths. For an isolate it is the lock
that still holds should the filter have a hole. Knows nothing of the filter.

Rules
1. Everything that the running kernel's Landlock can refuse, is refused. What is allowed is said where a rule set is
   made, path by path.
2. A kernel without it is weaker, not unusable: `version` says 0, and who calls decides.
3. Connecting to a socket by its path is not covered before ABI 9; the filter has no socket() to begin with.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Sequence

from runtime.sandbox.kernel.libc import kernel_call
from runtime.sandbox.kernel.numbers import Processor

_ASK_VERSION = 1
_PATH_BENEATH = 1

# What each version can refuse: bits for files, for TCP, for scopes (abstract unix sockets, signals).
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_PORTS = {4: 0b11}
_SCOPES = {6: 0b11}


class _RuleSet(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version(processor: Processor) -> int:
    """Say which Landlock the running kernel offers; 0 for none."""
    try:
        return kernel_call("landlock", processor.numbers["landlock_create_ruleset"], 0, 0, _ASK_VERSION)
    except OSError:
        return 0


class Access:
    """What may be done beneath a path. Nothing here makes devices or sockets."""

    READ = 0b1100  # files and directories
    EXECUTE = 0b1
    # Write, remove, make directories, files, pipes and links, rename across directories, truncate.
    CHANGE = 1 << 1 | 0b11 << 4 | 0b11 << 7 | 1 << 10 | 0b111 << 12
    DEVICE = 1 << 1 | 1 << 14 | 1 << 15
    _OF_FILES = 0b111 | 0b11 << 14


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class DenyAll:
    """A rule set without a rule, for one version of Landlock."""

    def __init__(self, processor: Processor, abi: int) -> None:
        self._create = processor.numbers["landlock_create_ruleset"]
        self._restrict = processor.numbers["landlock_restrict_self"]
        self._rules = _RuleSet(_newest(_FILES, abi), _newest(_PORTS, abi), _newest(_SCOPES, abi))
        # An older kernel refuses a structure that is longer than the one it knows.
        self._size = 24 if abi >= 6 else 16 if abi >= 4 else 8
        self._address = ctypes.addressof(self._rules)

    def put_on(self) -> None:
        """Bind this thread, and all that comes of it, to the rule set. There is no way back."""
        descriptor = kernel_call("landlock_create_ruleset", self._create, self._address, self._size, 0)
        try:
            self._allow(descriptor)
            kernel_call("landlock_restrict_self", self._restrict, descriptor, 0)
        finally:
            os.close(descriptor)

    def _allow(self, descriptor: int) -> None:
        """Make exceptions: there is none."""


class DenyAllBut(DenyAll):
    """A rule set that allows what is beneath some paths: ``(path, access)``. A path that is not there is left out."""

    def __init__(self, processor: Processor, abi: int, paths: Sequence[tuple[str, int]]) -> None:
        super().__init__(processor, abi)
        self._add = processor.numbers["landlock_add_rule"]
        self._paths = paths

    def _allow(self, descriptor: int) -> None:
        for path, access in self._paths:
            try:
                parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                    continue
                raise
            try:
                # The kernel refuses a rule about a file that speaks of directories, and bits that it does not know.
                known = self._rules.files
                if not stat.S_ISDIR(os.fstat(parent).st_mode):
                    known &= Access._OF_FILES
                beneath = _Beneath(access & known, parent)
                kernel_call("landlock_add_rule", self._add, descriptor, _PATH_BENEATH, ctypes.addressof(beneath), 0)
            finally:
                os.close(parent)


def _newest(bits: dict[int, int], abi: int) -> int:
    return max((value for since, value in bits.items() if since <= abi), default=0)
