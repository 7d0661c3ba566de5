"""What do the host and its zygote say to each other?

One datagram is one message. Descriptors travel beside it: `Fork` carries the guest's end of the channel and the write
end of its standard error, `Forked` a pidfd. Both sides are ours: this is no part of the wall, and no isolate ever holds
this socket. No I/O here.

Rules
1. Every `Fork` gets exactly one `Forked` or `Refused` with its number.
2. Every pid of a `Forked` gets exactly one `Exited`, later.
3. `Prepared` is the zygote's first word, said once.
"""

from enum import StrEnum

import msgspec


class Requirement(StrEnum):
    """What it means when a layer of the wall is missing."""

    MANDATORY = "mandatory"  # no server starts
    RECOMMENDED = "recommended"  # a warning: the wall stands, with one lock less
    EXTRA = "extra"  # taken where the machine gives it


class Layer(msgspec.Struct, frozen=True):
    """One layer of the wall, as it was really tried on this machine."""

    name: str
    requirement: Requirement
    holds: bool
    detail: str


class Fork(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make an isolate of the two descriptors that come with this."""

    number: int


class Prepared(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Everything is imported and tried; what each layer of the wall can do here."""

    layers: tuple[Layer, ...]


class Forked(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The isolate lives; its pidfd comes with this."""

    number: int
    pid: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The kernel gave no process; the message says why."""

    number: int
    message: str


class Exited(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The isolate is gone: its exit code, or the negative number of the signal that ended it."""

    pid: int
    status: int


ZygoteMessage = Prepared | Forked | Refused | Exited
