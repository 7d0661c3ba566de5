"""How is an attack written down?

As a function that tries to get out, the way in which the kernel must stop it, and whether it may be run without a wall:
the positive control that shows the attack to be a real one. Knows no attack.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from runtime.sandbox.kernel.numbers import this_processor

NUMBERS = this_processor().numbers
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


class End(StrEnum):
    """How an attack must end."""

    EPERM = "EPERM"
    ENOSYS = "ENOSYS"
    EMFILE = "EMFILE"
    BAD_FILE = "EBADF"
    KILLED = "killed by the filter"
    MEMORY = "MemoryError"
    NO_THREAD = "RuntimeError"
    CRASHED = "crashed"
    ENDLESS = "ended by the host"
    SAYS = "says something"


class Control(StrEnum):
    """Whether the attack is run without a wall as well, to see it succeed."""

    RUN = "run"
    HARMFUL = "harmful, useless, or refused by many machines anyway"


@dataclass(frozen=True, slots=True)
class Target:
    """What an attacker knows of the world outside."""

    canary: str
    folder: str
    tcp: int
    udp: int
    path_socket: str
    abstract_socket: str
    host: int
    peer: int


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to try to get out."""

    run: Callable[[Target], object]
    end: End
    control: Control


ATTACKS: dict[str, Attack] = {}


def attack(end: End = End.EPERM, control: Control = Control.RUN) -> Callable[[Callable[[Target], object]], object]:
    """Write down a function as an attack of its name."""

    def keep(run: Callable[[Target], object]) -> Callable[[Target], object]:
        assert run.__name__ not in ATTACKS, run.__name__
        ATTACKS[run.__name__] = Attack(run, end, control)
        return run

    return keep


def call(name: str, *arguments: int | bytes | None) -> int:
    """Make a kernel call as native code would, past everything that Python puts around it."""
    return raw(NUMBERS[name], *arguments)


def raw(number: int, *arguments: int | bytes | None) -> int:
    """Make a kernel call by a number, which may be of no call at all."""
    ctypes.set_errno(0)
    result: int = LIBC.syscall(ctypes.c_long(number), *(_word(argument) for argument in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _word(argument: int | bytes | None) -> ctypes.c_ulong | ctypes.c_char_p:
    if argument is None or isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return ctypes.c_ulong(argument)


def outcome_of(run: Callable[[], object]) -> str:
    """Run something and say in one word how it ended; a return is "done"."""
    try:
        run()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "OSError")
    except BaseException as error:
        return type(error).__name__
    return "done"
