"""What can go wrong, and whose mistake is it?

::

    WarrenError
    ├── CallerMistake            the client sent something that cannot be answered
    │   ├── BadRequest           malformed target, header, body, argument
    │   ├── Unauthorized         no key, or a wrong one
    │   │   └── InvalidToken     an end user's token that proves nothing
    │   ├── Forbidden            a right key for something else
    │   ├── NotFound             no such deployment, route, version, variable, key
    │   ├── MethodNotAllowed     the path exists for other methods
    │   ├── NotServed            Convex has this, and nothing here answers it
    │   ├── Conflict             the name is taken
    │   ├── TooLarge             a body or target past its limit
    │   └── TooManyRequests      no permit in time
    ├── DeveloperMistake         the tenant's code or bundle is at fault
    │   ├── PushRefused          a bundle that cannot be deployed, with diagnostics
    │   └── SyscallRefused       a guest asked for something it may not have, or with wrong arguments
    └── OurMistake               nobody else's: the message stays in the log, the caller sees the request id
        ├── IsolateLost          the process behind a call died; the call may be tried again
        ├── CommitConflict       a transaction lost a race; it is run again
        ├── Overloaded           no capacity now; try again
        └── SandboxUnavailable   a promised layer of the wall is missing; refuse to start

Rules
1. Every leaf has a ``code`` for machines; statuses are chosen in one table in ``edge/problems.py``.
2. A tenant's function that fails is an outcome (`invocation.Failed`) and not an exception.
3. A message says what was observed and what to do next. It never holds a secret or a path of the host.
"""

from collections.abc import Sequence

from runtime.protocol.declaration import Diagnostic


class WarrenError(Exception):
    """Root of everything that Warren raises on purpose."""

    code = "Error"


class CallerMistake(WarrenError):
    """The client's request cannot be answered as it stands."""

    code = "BadRequest"


class BadRequest(CallerMistake):
    """Something in the request is malformed; the message names it."""


class Unauthorized(CallerMistake):
    """No key was sent, or one that nobody has."""

    code = "Unauthorized"


class InvalidToken(Unauthorized):
    """What was sent to say who calls proves nothing; ``code`` says what kind of mistake that is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Forbidden(CallerMistake):
    """The key is good, but not for this."""

    code = "Forbidden"


class NotFound(CallerMistake):
    """No such thing; the message says which."""

    code = "NotFound"


class MethodNotAllowed(CallerMistake):
    """The path exists, for the methods in ``allowed``."""

    code = "MethodNotAllowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class NotServed(CallerMistake):
    """Convex's tools ask for this, and nothing here answers it; the message says what to use."""

    code = "NotImplemented"


class Conflict(CallerMistake):
    """The name is taken, or the thing changed meanwhile."""

    code = "Conflict"


class TooLarge(CallerMistake):
    """A body or a target past its limit; the message names limit, value and what was observed."""

    code = "TooLarge"


class TooManyRequests(CallerMistake):
    """No permit came free in time; ``retry_after`` is in whole seconds."""

    code = "TooManyRequests"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeveloperMistake(WarrenError):
    """The tenant's bundle or code is at fault."""

    code = "DeveloperError"


class PushRefused(DeveloperMistake):
    """The bundle cannot be deployed; nothing was changed."""

    code = "PushRefused"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics[:3]))
        self.diagnostics = tuple(diagnostics)


class SyscallRefused(DeveloperMistake):
    """A guest asked for something it may not have; ``exception`` is what is raised in the tenant's code.

    ``exception`` is one of the names in `protocol.messages.RAISABLE`; ``data`` is an encoded value that travels with an
    application's own error.
    """

    code = "SyscallRefused"

    def __init__(self, message: str, exception: str = "ValueError", data: bytes | None = None) -> None:
        super().__init__(message)
        self.exception = exception
        self.data = data


class OurMistake(WarrenError):
    """Not the caller's and not the tenant's. The message is for the log."""

    code = "InternalError"


class IsolateLost(OurMistake):
    """The process behind a call is gone; the message says why."""

    code = "IsolateLost"


class CommitConflict(OurMistake):
    """What this transaction read has changed before it could commit; ``table`` is where."""

    code = "CommitConflict"

    def __init__(self, table: str) -> None:
        super().__init__(f"documents of table {table!r} changed while the mutation ran")
        self.table = table


class Overloaded(OurMistake):
    """No capacity now; try again in ``retry_after`` whole seconds."""

    code = "Overloaded"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Stopping(Overloaded):
    """The server has been told to stop, and this call had not ended in the time that calls have for that."""

    code = "Stopping"


class SandboxUnavailable(OurMistake):
    """A mandatory layer of the wall cannot be had on this machine."""

    code = "SandboxUnavailable"
