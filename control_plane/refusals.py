"""What does only the control plane refuse?

Leaves of the tree in `runtime/errors.py`. They carry what a client's program wants beside the sentence: the field, the
limit, the observed value. Knows nothing of HTTP.

Rules
1. A secret is never an observed value: its size is.
"""

from collections.abc import Sequence
from typing import Any

from runtime.errors import BadRequest, TooLarge
from runtime.limits import Limit
from runtime.names import InvalidName
from runtime.protocol.declaration import Diagnostic

__all__ = ["BadArchive", "BadImport", "InvalidField", "LimitPassed", "invalid_name"]


class BadArchive(BadRequest):
    """The body is no archive, or a broken one; the message says what was found."""

    code = "BadArchive"


class BadImport(BadRequest):
    """Lines of a file of documents that cannot be taken; nothing of the file was."""

    code = "BadImport"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        first = diagnostics[0]
        more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
        place = f"{first.file} line {first.line}" if first.line else first.file
        super().__init__(f"nothing was imported: {place}: {first.message}{more}")
        self.diagnostics = diagnostics


class InvalidField(BadRequest):
    """One field of a request does not hold what it must."""

    code = "InvalidField"

    def __init__(self, field: str, message: str, *, limit: int | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.field = field
        self.limit = limit
        self.value = value


class LimitPassed(TooLarge):
    """Something is past its limit. ``subject`` begins the sentence; ``name`` is the limit's in `runtime/limits.py`."""

    code = "TooLarge"

    def __init__(self, subject: str, name: str, limit: Limit, observed: int, field: str = "body") -> None:
        super().__init__(f"{subject}: {observed} {limit.unit} observed, the limit {name} is {int(limit)} ({limit.why})")
        self.field = field
        self.limit = int(limit)
        self.value = observed


def invalid_name(field: str, error: InvalidName) -> InvalidField:
    """The refusal of a name that a field holds."""
    return InvalidField(field, str(error))
