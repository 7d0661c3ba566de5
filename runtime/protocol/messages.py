"""What can be said through the hatch?

Every message is a tagged array in MessagePack. ``cid`` names a conversation: 53 random bits chosen by the host for one
invocation. ``sid`` numbers the syscalls of one conversation, chosen by the guest. Values travel as `Raw`: encoded once
where they are made, decoded once where they are used, carried unread in between.

Rules
1. Data only. No message names a file, a class or a callable of the other side.
2. Every conversation ends with exactly one last word of the guest: `Returned`, `Failed`, or a `Head` or `Chunk` with
   ``last`` set. After it the id is unknown.
3. `HostMessage` and `GuestMessage` are closed unions: a tag that is not listed does not decode.
"""

from enum import StrEnum

import msgspec
from msgspec import Raw

from runtime.protocol.declaration import Declaration, Diagnostic, Kind

# What a refused syscall or a failed nested call may raise in the tenant's code. ``ApplicationError`` carries ``data``.
RAISABLE = (
    *("ValueError", "TypeError", "RuntimeError"),
    *("LimitExceeded", "FunctionError", "ApplicationError", "InvalidToken", "TimeoutError"),
)

HeaderList = list[tuple[bytes, bytes]]


class Level(StrEnum):
    """How serious a log line is."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Reason(StrEnum):
    """Why a function failed, as the guest tells it."""

    RAISED = "raised"  # the tenant's code raised
    APPLICATION = "application"  # it raised ApplicationError; `data` is set
    ARGUMENTS = "arguments"  # what it was called with does not fit its validators
    RETURNS = "returns"  # what it returned does not, is no value, or is no Response
    UNKNOWN = "unknown"  # the bundle has no such function, or it is of another kind
    TIME = "time"  # interrupted: a turn burnt too much CPU, or the deadline passed
    MEMORY = "memory"  # it ran out of memory
    CRASHED = "crashed"  # it ended, or broke, the process that it ran in
    PROTOCOL = "protocol"  # it did something that its kind of function may not do


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a traceback, of the tenant's own code only."""

    file: str
    line: int
    function: str
    text: str


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a function failed: the exception's type and text, the tenant's frames (outermost first), encoded data."""

    reason: Reason
    exception: str
    message: str
    frames: tuple[Frame, ...] = ()
    data: bytes | None = None


# --- said by the host -------------------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Import this bundle (path → source). Said once, first. ``manners`` switches the language layer on.

    ``checked`` says that an isolate has loaded the same bundle before: its text need not be read again.
    """

    bundle: dict[str, bytes]
    environment: dict[str, str]
    deployment: str
    manners: bool
    checked: bool = False


class SetEnvironment(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The deployment's environment variables, whole, from now on."""

    environment: dict[str, str]


class CallFunction(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """Run a query, mutation or action; ``now`` (ms since 1970) is its clock, ``seed`` (16 bytes) its random."""

    cid: int
    path: str
    kind: Kind
    args: Raw
    request_id: str
    now: float
    seed: bytes


class CallHttp(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Run an HTTP action. ``body`` is ``None`` where the method has none; more comes in `Feed` until ``body_last``."""

    cid: int
    route: str
    method: str
    url: str
    headers: HeaderList
    parameters: dict[str, str]
    body: bytes | None
    body_last: bool
    request_id: str


class Feed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """More of a request body."""

    cid: int
    data: bytes
    last: bool


class Credit(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """The client took ``amount`` bytes of the response body: the guest may send as many more."""

    cid: int
    amount: int


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """The result of a syscall."""

    cid: int
    sid: int
    value: Raw


class Refuse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """A syscall failed: raise ``exception`` (one of `RAISABLE`) with this message where it was asked."""

    cid: int
    sid: int
    exception: str
    message: str
    data: bytes | None = None


class Disconnected(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """The client of an HTTP action has gone: fire ``request.signal``, stop the response body. The handler goes on."""

    cid: int


class Stop(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """The deadline passed: cancel this conversation's work and end it."""

    cid: int


class Ping(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """Say `Pong` with this number at the next turn of the loop."""

    number: int


HostMessage = (
    Load | SetEnvironment | CallFunction | CallHttp | Feed | Credit | Answer | Refuse | Disconnected | Stop | Ping
)

# --- said by the guest ------------------------------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Locked down and proved it. Said once, first. ``layers`` are the names of what holds."""

    layers: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The bundle is imported. One of the two answers to `Load`."""

    declaration: Declaration


class LoadRefused(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """The bundle cannot be imported. The other answer to `Load`."""

    diagnostics: tuple[Diagnostic, ...]


class Syscall(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Please do this for me; ``args`` is an encoded array."""

    cid: int
    sid: int
    name: str
    args: Raw


class Returned(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The function's result. A last word."""

    cid: int
    value: Raw


class Failed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """The function failed, or an HTTP action did, before its head or after. A last word."""

    cid: int
    failure: Failure


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """Status and headers of the response, and the beginning of its body; all of it when ``last`` is set."""

    cid: int
    status: int
    headers: HeaderList
    body: bytes
    last: bool


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """More of the response body. Never more than was credited (the first `BODY_WINDOW` bytes are free)."""

    cid: int
    data: bytes
    last: bool


class Taken(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """The tenant read ``amount`` bytes of the request body: the host may feed as many more."""

    cid: int
    amount: int


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """A log line of an invocation. ``cid`` 0 is the isolate's own: import time, work that outlived its call."""

    cid: int
    level: Level
    text: str


class Pong(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """The answer to `Ping`."""

    number: int


GuestMessage = Ready | Loaded | LoadRefused | Syscall | Returned | Failed | Head | Chunk | Taken | Line | Pong
