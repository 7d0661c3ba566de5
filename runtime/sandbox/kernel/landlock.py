"""How is a process cut off from files, ports, abstract sockets and other processes' signals a second time?

Landlock with a rule set that allows nothing. It is the lock that still holds should the filter have a hole. Knows
nothing of the filter.

Rules
1. Everything that the running kernel's Landlock can refuse, is refused. There is no list of exceptions.
2. A kernel without it is weaker, not unusable: `version` says 0, and who calls decides.
3. Connecting to a socket by its path is not covered before ABI 9; the filter has no socket() to begin with.
"""

import ctypes
import os

from runtime.sandbox.kernel.libc import kernel_call
from runtime.sandbox.kernel.numbers import Processor

_ASK_VERSION = 1

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
            kernel_call("landlock_restrict_self", self._restrict, descriptor, 0)
        finally:
            os.close(descriptor)


def _newest(bits: dict[int, int], abi: int) -> int:
    return max((value for since, value in bits.items() if since <= abi), default=0)
