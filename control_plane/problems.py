"""What does a client see of an error?

RFC 9457 documents, for every answer of 400 and above. Knows the tree in `runtime/errors.py`, the statuses, and nothing
of what went on.

Rules
1. A caller's or a developer's mistake is explained; one of ours is logged and the client gets the request id. What may
   succeed a moment later is one line of the log, and no traceback.
2. One shape: ``type title status detail code request_id``, with ``errors`` where fields are at fault and
   ``diagnostics`` where a bundle is.
3. What a client sent in a body is not echoed, except numbers: it may be a secret.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from control_plane.bodies import TooSlow
from control_plane.refusals import BadImport, InvalidField, LimitPassed
from runtime import errors, limits
from runtime.names import InvalidName
from runtime.protocol.declaration import Diagnostic

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("warren.control_plane")

# The first class that an error is an instance of decides.
_STATUSES: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT),
    (InvalidField, HTTPStatus.UNPROCESSABLE_ENTITY),
    (BadImport, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidName, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.PushRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.Unauthorized, HTTPStatus.UNAUTHORIZED),
    (errors.Forbidden, HTTPStatus.FORBIDDEN),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.MethodNotAllowed, HTTPStatus.METHOD_NOT_ALLOWED),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.TooManyRequests, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.CallerMistake, HTTPStatus.BAD_REQUEST),
    (errors.DeveloperMistake, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.Overloaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.IsolateLost, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.SandboxUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Exception, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class FieldError(BaseModel):
    """One field that is at fault, the limit it broke and what was observed, where there are such."""

    field: str
    message: str
    limit: int | float | None = None
    value: int | float | str | bool | None = None


class DiagnosticModel(BaseModel):
    """Why a bundle was refused, or a warning. ``line`` 0 is the file as a whole, an empty ``file`` the bundle."""

    file: str
    line: int
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457), with a code for machines and the id that the logs have."""

    type: str = Field(examples=["urn:warren:problem:NotFound"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None
    diagnostics: list[DiagnosticModel] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route for OpenAPI; `app.py` gives them their media type."""
    every = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR, *map(HTTPStatus, statuses)}
    return {int(status): {"model": Problem, "description": status.phrase} for status in sorted(every)}


def diagnostics_of(diagnostics: Sequence[Diagnostic]) -> list[DiagnosticModel]:
    """Diagnostics for a client: no more than it can read, with the rest counted."""
    shown = [DiagnosticModel(file=d.file, line=d.line, message=d.message) for d in diagnostics[: limits.DIAGNOSTICS]]
    if len(diagnostics) > limits.DIAGNOSTICS:
        more = len(diagnostics) - limits.DIAGNOSTICS
        shown.append(DiagnosticModel(file="", line=0, message=f"and {more} more"))
    return shown


def request_id_of(request: Request) -> str:
    """The id of this request, as the client and the log see it."""
    request_id: str = request.state.request_id
    return request_id


def answer(error: Exception, request_id: str) -> Response:
    """The answer for anything that was raised; what is ours to mend is logged with its traceback."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    code = error.code if isinstance(error, errors.WarrenError) else "InvalidField"
    detail, headers, more = str(error), dict[str, str](), dict[str, Any]()
    match error:
        case errors.Unauthorized():
            headers["www-authenticate"] = 'Bearer realm="warren"'
        case errors.MethodNotAllowed():
            headers["allow"] = ", ".join(error.allowed)
        case errors.TooManyRequests() | errors.Overloaded():
            headers["retry-after"] = str(error.retry_after)
        case errors.PushRefused() | BadImport():
            more["diagnostics"] = [model.model_dump() for model in diagnostics_of(error.diagnostics)]
        case InvalidField() | LimitPassed():
            field = FieldError(field=error.field, message=detail, limit=error.limit, value=error.value)
            more["errors"] = [field.model_dump(exclude_none=True)]
    if not isinstance(error, errors.CallerMistake | errors.DeveloperMistake | InvalidName):
        code = code if isinstance(error, errors.WarrenError) else "InternalError"
        detail = f"something failed on our side; the log has it under request id {request_id}"
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            _log.warning("request %s was refused: %s", request_id, error)
            headers.setdefault("retry-after", "1")
            detail = "a part of this server is busy, stops or cannot be reached (/readyz says which); try again"
        else:
            _log.error("request %s failed", request_id, exc_info=error)
    return document(status, code, detail, request_id, headers, **more)


def document(
    status: int, code: str, detail: str, request_id: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """One problem document."""
    content = {
        "type": f"urn:warren:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **more,
    }
    return JSONResponse(content, int(status), dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document. Anything else is caught in `app.py`."""
    app.add_exception_handler(errors.WarrenError, _known)
    app.add_exception_handler(InvalidName, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _left)


async def _known(request: Request, error: Exception) -> Response:
    return answer(error, request_id_of(request))


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code = "".join(word.capitalize() for word in phrase.replace("-", " ").split())
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path[:200]}: /openapi.json lists what there is"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible at {request.url.path[:200]}; the Allow header lists what is"
    return document(error.status_code, code, detail, request_id_of(request), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [_field_error(item) for item in error.errors()[:20]]
    detail = "; ".join(f"{item.field}: {item.message}" for item in found[:3])
    malformed = any(item["type"] == "json_invalid" for item in error.errors())
    return document(
        HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.UNPROCESSABLE_ENTITY,
        "BadRequest" if malformed else "InvalidField",
        f"the body is not JSON: {found[0].message}" if malformed else detail,
        request_id_of(request),
        errors=[item.model_dump(exclude_none=True) for item in found],
    )


def _field_error(item: Mapping[str, Any]) -> FieldError:
    place = [str(part) for part in item["loc"]]
    observed = item.get("input")
    from_body = place[:1] == ["body"]
    if not isinstance(observed, int | float | bool) and (from_body or not isinstance(observed, str)):
        observed = None
    context = item.get("ctx", {})
    names = ("le", "ge", "lt", "gt", "max_length", "min_length")
    limit = next((context[name] for name in names if isinstance(context.get(name), int | float)), None)
    message = str(context.get("error", item["msg"])) if item["type"] == "json_invalid" else str(item["msg"])
    return FieldError(
        field=".".join(place[1:]) or place[0],
        message=message,
        limit=limit,
        value=observed[:80] if isinstance(observed, str) else observed,
    )
