"""How do results travel in JSON?

Two formats (Convex's HTTP API): ``convex_encoded_json`` keeps everything (``{"$integer": …}``), ``json`` is for people
and loses types: an Int64 is a decimal string, bytes are base64, NaN and the infinities are words.

Rules
1. What a client may see of a failure is the operator's choice; an administrator sees all, and so does everybody where
   the failure only says what the caller did (no such function).
2. The data of an ``ApplicationError`` is never hidden.
"""

import base64
import math
from enum import Enum
from typing import Any, assert_never

from runtime.edge.problems import Details, server_error
from runtime.errors import BadRequest
from runtime.invocation import Failed, Outcome, Succeeded, traceback_text
from runtime.names import RequestId
from runtime.protocol import values
from runtime.protocol.messages import Failure, Reason


class Format(Enum):
    """How values are written."""

    PLAIN = "json"
    ENCODED = "convex_encoded_json"


_FORMATS = {
    "json": Format.PLAIN,
    "convex_clean_json": Format.PLAIN,
    "convex_encoded_json": Format.ENCODED,
    "convex_json": Format.ENCODED,
}


def read_format(name: str | None) -> Format:
    """The format that a client asked for; raise `BadRequest` for one that nobody knows."""
    if name is None:
        return Format.PLAIN
    found = _FORMATS.get(name)
    if found is None:
        raise BadRequest(f"format is {name[:40]!r}; use one of {', '.join(_FORMATS)}")
    return found


def result(outcome: Outcome, format: Format, request_id: RequestId, details: Details) -> dict[str, Any]:
    """The answer of the function API to a call that ended so."""
    match outcome:
        case Succeeded(value, lines):
            shown = list(lines) if details is Details.SHOW else []
            return {"status": "success", "value": write(value, format), "logLines": shown}
        case Failed(failure, lines):
            shown = list(lines) if details is Details.SHOW else []
            message = error_message(failure, request_id, details)
            return {"status": "error", "errorMessage": message, **error_data(failure, format), "logLines": shown}
        case _:
            assert_never(outcome)


def error_message(failure: Failure, request_id: RequestId, details: Details) -> str:
    """What a client reads about a failed function."""
    if failure.reason is Reason.UNKNOWN:
        details = Details.SHOW  # it tells nothing but what the caller said
    message = server_error(failure, request_id, details)
    if details is Details.SHOW and failure.frames:
        message += "\n" + traceback_text(failure)
    return message


def error_data(failure: Failure, format: Format) -> dict[str, Any]:
    """The data of an ``ApplicationError``, under the name that clients know, or nothing."""
    if failure.data is None or failure.reason is not Reason.APPLICATION:
        return {}
    try:
        return {"errorData": write(failure.data, format)}
    except values.InvalidValue:
        return {}  # only a guest that lies sends such a thing


def write(encoded: bytes, format: Format) -> Any:
    """A value as JSON can hold it."""
    value = values.decode(encoded)
    return values.to_json(value) if format is Format.ENCODED else plain(value)


def plain(value: Any) -> Any:
    """A value as JSON for people."""
    kind = type(value)
    if kind is dict:
        return {key: plain(item) for key, item in value.items()}
    if kind is list:
        return [plain(item) for item in value]
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind is values.Int64:
        return str(int(value))
    if kind is float and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
