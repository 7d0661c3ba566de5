"""Which status does each error get, and what does the client read?

One table. Errors of ours keep their message in the log; the client gets the request id to quote. How much of a failed
function's story a client sees is the operator's choice (`Details`).

Rules
1. Every class of `errors.py` that can reach a door has a line in `STATUSES`; the most exact line counts.
2. A function that raised is a 500, and an ``ApplicationError`` keeps its data even where details are hidden.
3. Whatever may succeed a moment later says so with ``Retry-After``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from runtime import errors
from runtime.edge.intake import ClientLeft, SlowRequest
from runtime.invocation import traceback_text
from runtime.names import DeploymentName, RequestId
from runtime.protocol import values
from runtime.protocol.messages import Failure, HeaderList, Reason

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

STATUSES: Mapping[type[errors.WarrenError], int] = MappingProxyType(
    {
        errors.CallerMistake: 400,
        errors.BadRequest: 400,
        errors.Unauthorized: 401,
        errors.InvalidToken: 401,
        errors.Forbidden: 403,
        errors.NotFound: 404,
        errors.MethodNotAllowed: 405,
        SlowRequest: 408,
        errors.Conflict: 409,
        errors.TooLarge: 413,
        errors.PushRefused: 422,
        errors.TooManyRequests: 429,
        ClientLeft: 499,  # nobody reads it; proxies write this number into their logs, and so do we
        errors.DeveloperMistake: 500,
        errors.OurMistake: 500,
        errors.NotServed: 501,
        errors.IsolateLost: 503,
        errors.CommitConflict: 503,
        errors.Overloaded: 503,
        errors.Stopping: 503,
        errors.SandboxUnavailable: 503,
    }
)

Found = TypeVar("Found")

# What a client reads in place of our own messages.
_PUBLIC: Mapping[type[errors.WarrenError], str] = MappingProxyType(
    {
        errors.IsolateLost: "the process that ran this request ended before it had answered; try again",
        errors.CommitConflict: "the data changed each time while the mutation ran; try again",
        errors.Overloaded: "the server has no capacity for this request now; try again",
        errors.Stopping: "the server stopped before this request was answered; try again",
        errors.SandboxUnavailable: "this server cannot run functions safely now; try again later",
        errors.OurMistake: "the server could not answer this request; the reason is in its log under this request id",
    }
)

_FAILURES: Mapping[Reason, int] = MappingProxyType({Reason.TIME: 504})


class Details(StrEnum):
    """What clients may see of a function that failed."""

    HIDE = "hide"
    SHOW = "show"


class DeploymentPaused(errors.CallerMistake):
    """The operator has paused this deployment."""

    code = "DeploymentPaused"


def paused(name: DeploymentName) -> DeploymentPaused:
    """Why a deployment that is paused answers nothing."""
    return DeploymentPaused(f"the deployment {name!r} is paused by its operator")


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that the platform makes in the place of a tenant."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: HeaderList = field(default_factory=list)


def status_of(error: BaseException) -> int:
    """The status for this error; 500 for what nobody foresaw."""
    if isinstance(error, DeploymentPaused):
        return 503
    return _nearest(STATUSES, type(error)) or 500


def json_problem(error: BaseException, request_id: RequestId) -> Problem:
    """The answer to this error on a face that speaks JSON."""
    code, message = public_words(error, request_id)
    return Problem(status_of(error), to_json({"code": code, "message": message}), JSON, _headers(error))


def site_problem(error: BaseException, request_id: RequestId) -> Problem:
    """The answer to this error on a deployment's site: a sentence where a person with a browser would land."""
    if isinstance(error, errors.NotFound | errors.MethodNotAllowed):
        return Problem(status_of(error), f"{error}\n".encode(errors="replace"), TEXT, _headers(error))
    return json_problem(error, request_id)


def public_words(error: BaseException, request_id: RequestId) -> tuple[str, str]:
    """Code and message of this error, fit for strangers."""
    if isinstance(error, errors.CallerMistake):
        return error.code, str(error)
    if isinstance(error, errors.WarrenError):
        message = _nearest(_PUBLIC, type(error)) or _PUBLIC[errors.OurMistake]
        return error.code, f"[Request ID: {request_id}] {message}"
    return errors.OurMistake.code, f"[Request ID: {request_id}] {_PUBLIC[errors.OurMistake]}"


def failed_action(failure: Failure, request_id: RequestId, details: Details) -> Problem:
    """The answer when an HTTP action failed before its head (Convex: ``{code, trace?, data?}``)."""
    answer: dict[str, Any] = {"code": server_error(failure, request_id, details)}
    if details is Details.SHOW:
        answer["trace"] = traceback_text(failure)
    answer |= application_data(failure, "data")
    return Problem(_FAILURES.get(failure.reason, 500), to_json(answer))


def server_error(failure: Failure, request_id: RequestId, details: Details) -> str:
    """The one line about a failed function, with the id under which the log tells more."""
    if details is Details.HIDE:
        return f"[Request ID: {request_id}] Server Error"
    what = f"{failure.exception}: {failure.message}" if failure.message else failure.exception
    return f"[Request ID: {request_id}] Server Error: {what}"


def application_data(failure: Failure, key: str) -> dict[str, Any]:
    """The data of an ``ApplicationError`` under this key, or nothing."""
    if failure.data is None or failure.reason is not Reason.APPLICATION:
        return {}
    try:
        return {key: values.to_json(values.decode(failure.data))}
    except values.InvalidValue:
        return {}  # only a guest that lies sends such a thing


def to_json(value: Any) -> bytes:
    """JSON as a client may read it: UTF-8, without spaces, lone surrogates escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _headers(error: BaseException) -> HeaderList:
    match error:
        case errors.MethodNotAllowed():
            return [(b"allow", ", ".join(error.allowed).encode())]
        case errors.TooManyRequests() | errors.Overloaded():
            return [(b"retry-after", b"%d" % error.retry_after)]
        case errors.IsolateLost() | errors.CommitConflict():
            return [(b"retry-after", b"1")]
        case errors.InvalidToken():
            return [(b"www-authenticate", b'Bearer error="invalid_token"')]
        case errors.Unauthorized():
            return [(b"www-authenticate", b'Convex realm="deploy key"')]
        case _:
            return []


def _nearest(table: Mapping[type[errors.WarrenError], Found], kind: type[BaseException]) -> Found | None:
    for ancestor in kind.__mro__:
        if ancestor in table:
            return table[ancestor]
    return None
