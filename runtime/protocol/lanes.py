"""What do the host and the launcher of Node-style actions say to each other?

One datagram is one message. A lane is a tenant's program behind its wall, and its keeper. For each lane the host makes
a line of its own, a socket of datagrams, whose other end goes with `Open` to the launcher and from there to the lane's
keeper. Both sides are ours: no program of a tenant ever holds one of these sockets. No I/O here.

Rules
1. `Prepared` is the launcher's first word on its control socket, said once. `Open` carries four descriptors: the
   lane's line, its channel, the write end of its standard error, and a file that holds the `Order`.
2. On a line the keeper says `Opened` (then the program runs) or `Refused`, once; then `Closed`, once, as its last word.
   `Listening` carries the descriptor on which the lane's trapped calls are heard of, and comes before `Opened`.
3. The host says nothing on a line but `Kill`. The end of a line is the end of its lane.
"""

import msgspec

from runtime.protocol.forking import Layer


class Order(msgspec.Struct, frozen=True):
    """What is to run, and what it may have. ``environment`` is all of it; ``memory`` is in bytes, for all processes.

    ``network``: connects are judged. ``heard``: the host can be told of calls at all, and lets processes be made.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    readable: tuple[str, ...]
    scratch: str
    memory: int
    network: bool
    heard: bool


class Prepared(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The launcher can open lanes; what each layer of their wall does here."""

    layers: tuple[Layer, ...]


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Open a lane; the descriptors come with this."""


class Listening(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The program is locked down, and its trapped calls can be heard of."""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The program runs; ``pid`` is that of its first process and of its process group."""

    pid: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The program does not run; the message says why."""

    message: str


class Closed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Nothing of the lane is left. ``reason`` says which limit it passed, if it did."""

    status: int
    reason: str | None


class Kill(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """End the lane, whatever it does."""


LineMessage = Listening | Opened | Refused | Closed
