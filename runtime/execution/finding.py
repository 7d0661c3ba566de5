"""Is there such a function, and may it be called so?

Pure. Every door that calls functions by their path asks here, so that all of them refuse in the same words.

Rules
1. To a client an internal function looks exactly like a missing one; an administrator may call both.
2. A function of another kind is named with both kinds.
"""

from runtime.invocation import Version
from runtime.names import FunctionPath
from runtime.protocol.declaration import FunctionDeclaration, Kind, Visibility
from runtime.protocol.messages import Failure, Reason


def find_function(
    version: Version | None, path: FunctionPath, kind: Kind | None, administrator: bool
) -> FunctionDeclaration | Failure:
    """The function, or why it cannot be called so; ``kind`` is ``None`` where any will do."""
    function = version.functions.get(str(path)) if version is not None else None
    if function is None or (function.visibility is Visibility.INTERNAL and not administrator):
        return missing(str(path), administrator)
    if function.kind is Kind.HTTP_ACTION or kind not in (None, function.kind):
        asked = (kind or Kind.ACTION).value.capitalize()
        return _unknown(f"Trying to execute {path} as {asked}, but it is defined as {_spoken(function.kind)}.")
    return function


def missing(path: str, administrator: bool) -> Failure:
    """What a caller of a function that is not there is told."""
    public = "" if administrator else " public"
    return _unknown(
        f"Could not find{public} function for '{path[:200]}'. Did you forget to run `warren dev` or `warren deploy`?"
    )


def _unknown(message: str) -> Failure:
    return Failure(Reason.UNKNOWN, "FunctionNotFound", message)


def _spoken(kind: Kind) -> str:
    return "HTTP action" if kind is Kind.HTTP_ACTION else kind.value.capitalize()
