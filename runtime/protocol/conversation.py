"""Who may say what, and when?

The host's record of one invocation as the guest talks about it. A table and a few counters; no I/O. Every message of a
guest that names a conversation passes `Ledger.admit` before anything is done with it.

Rules
1. What the table does not list is a `ProtocolViolation`.
2. Counters only grow, and each has its limit. Passing one is a violation when an honest guest could not have done it:
   the guest's own runtime keeps tenants inside these limits and tells them so.
3. After the last word there is no conversation.
"""

from enum import IntEnum, auto

from runtime import limits
from runtime.protocol.framing import ProtocolViolation
from runtime.protocol.messages import Chunk, Failed, Head, Line, Returned, Syscall, Taken


class State(IntEnum):
    """Where a conversation stands."""

    CALLED = auto()  # a query, mutation or action runs
    ASKED = auto()  # an HTTP action runs, no head yet
    STREAMING = auto()  # its head was said, its body goes on
    ENDED = auto()


AboutACall = Syscall | Returned | Failed | Head | Chunk | Taken | Line

# state → what may be said in it → the state that follows, when it is not the last word
TABLE: dict[State, dict[type, State]] = {
    State.CALLED: {
        Syscall: State.CALLED,
        Line: State.CALLED,
        Returned: State.ENDED,
        Failed: State.ENDED,
    },
    State.ASKED: {
        Syscall: State.ASKED,
        Line: State.ASKED,
        Taken: State.ASKED,
        Head: State.STREAMING,
        Failed: State.ENDED,
    },
    State.STREAMING: {
        Syscall: State.STREAMING,
        Line: State.STREAMING,
        Taken: State.STREAMING,
        Chunk: State.STREAMING,
        Failed: State.ENDED,
    },
    State.ENDED: {},
}

# An honest guest drops a call's lines past LOG_LINES and cuts what is longer than LOG_LINE_BYTES; it may add a few
# notices of its own (dropped lines, work left behind).
_LINES = limits.LOG_LINES + 8
_LINE_CHARACTERS = limits.LOG_LINE_BYTES + 256


class Ledger:
    """What one conversation has said so far, and what it may say next."""

    __slots__ = ("_fed", "_in_flight", "_lines", "_sids", "_syscalls", "body_bytes", "state", "syscalls_open")

    def __init__(self, state: State) -> None:
        self.state = state
        self.syscalls_open = 0
        self._sids = -1
        self._lines = 0
        self._in_flight = 0
        self._fed = 0
        self.body_bytes = 0

    def admit(self, message: AboutACall) -> None:
        """Let the message through and remember it, or raise `ProtocolViolation`."""
        kind = type(message)
        following = TABLE[self.state].get(kind)
        if following is None:
            raise ProtocolViolation(f"{kind.__name__} while {self.state.name.lower()}")
        if isinstance(message, Head):
            following = self._admit_body(len(message.body), message.last, whole=message.last, following=following)
        elif isinstance(message, Chunk):
            if not message.data and not message.last:
                raise ProtocolViolation("an empty piece of a body")  # they would cost nothing and never end
            following = self._admit_body(len(message.data), message.last, whole=False, following=following)
        elif isinstance(message, Syscall):
            self._admit_syscall(message.sid)
        elif isinstance(message, Line):
            self._admit_line(message.text)
        elif isinstance(message, Taken):
            self._admit_taken(message.amount)
        self.state = following

    def answered(self) -> None:
        """The host has answered a syscall."""
        self.syscalls_open -= 1

    def credited(self, amount: int) -> None:
        """The host told the guest that the client took so many bytes of the response."""
        self._in_flight -= amount

    def fed(self, amount: int) -> None:
        """The host sent so many bytes of the request body."""
        self._fed += amount

    @property
    def unread(self) -> int:
        """How many bytes of the request body are under way and not yet taken."""
        return self._fed

    def _admit_body(self, size: int, last: bool, *, whole: bool, following: State) -> State:
        self.body_bytes += size
        self._in_flight += size
        # A whole body in the head is the common case and needs no credit: it is bounded by the frame.
        if self._in_flight > limits.BODY_WINDOW and not whole:
            raise ProtocolViolation(f"{self._in_flight} bytes of a body under way, limit {limits.BODY_WINDOW}")
        return State.ENDED if last else following

    def _admit_syscall(self, sid: int) -> None:
        if sid != self._sids + 1:
            raise ProtocolViolation("syscall out of sequence")
        self._sids = sid
        self.syscalls_open += 1
        if self.syscalls_open > limits.SYSCALLS_AT_ONCE:
            raise ProtocolViolation(f"more than {limits.SYSCALLS_AT_ONCE} syscalls at once")
        if sid >= limits.SYSCALLS_PER_CALL:
            raise ProtocolViolation(f"more than {limits.SYSCALLS_PER_CALL} syscalls in one call")

    def _admit_line(self, text: str) -> None:
        self._lines += 1
        if self._lines > _LINES or len(text) > _LINE_CHARACTERS:
            raise ProtocolViolation("log past its limits")

    def _admit_taken(self, amount: int) -> None:
        self._fed -= amount
        if amount <= 0 or self._fed < 0:
            raise ProtocolViolation("took more of the request body than was fed")
