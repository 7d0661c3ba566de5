"""What does every generated client begin with?

Everything below the line is copied into the module that `python.py` writes, so it needs nothing but httpx and the
standard library, and this page can be checked, formatted and read like any other.

Rules
1. Nothing here imports from this project.
2. A call has a result or raises a `CallError`.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

import httpx

# --- copied from here ---


class Int64(int):
    """A 64-bit integer, which is another kind of value than a number."""

    def __new__(cls, value: int = 0) -> Self:
        """The same integer; raises `ValueError` when it has more than 64 bits."""
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"Int64 holds -2**63 to 2**63 - 1, not {value}")
        return super().__new__(cls, value)


class Unset(Enum):
    """What an argument is that was not given."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET


class CallError(Exception):
    """A call has no result."""


class NotReached(CallError):
    """The server was not reached, or the connection broke: whether the function ran is not known."""


class CallRefused(CallError):
    """The function was not called: it does not exist, the token is bad, there are too many calls."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class FunctionFailed(CallError):
    """The function was called and raised, or its arguments did not fit."""

    def __init__(self, message: str, log_lines: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.log_lines = log_lines


class ApplicationError(FunctionFailed):
    """The function raised an ``ApplicationError``; ``data`` is what it carried."""

    def __init__(self, message: str, log_lines: list[str], data: Any) -> None:
        super().__init__(message, log_lines)
        self.data = data


class Caller:
    """Calls functions by their path. ``token`` is the JWT of whoever is calling, and may be changed."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._headers = dict(headers or {})
        self._own = http is None
        self._http = http if http is not None else httpx.Client(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections, unless the client was handed in."""
        if self._own:
            self._http.close()

    def call(self, kind: str, path: str, arguments: Mapping[str, Any]) -> Any:
        """Call a query, mutation or action."""
        given = {name: _to_json(value) for name, value in arguments.items() if value is not UNSET}
        headers = dict(self._headers)
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        body = {"path": path, "args": given, "format": "convex_encoded_json"}
        try:
            answer = self._http.post(f"{self.url}/api/{kind}", json=body, headers=headers)
        except httpx.TransportError as error:
            raise NotReached(f"{self.url}: {error or type(error).__name__}") from error
        return _result(answer)


def _result(answer: httpx.Response) -> Any:
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {}
    match told.get("status"):
        case "success":
            return _from_json(told.get("value"))
        case "error":
            message, lines = str(told.get("errorMessage")), list(told.get("logLines") or [])
            if "errorData" in told:
                raise ApplicationError(message, lines, _from_json(told["errorData"]))
            raise FunctionFailed(message, lines)
    code = str(told.get("code") or answer.reason_phrase)
    raise CallRefused(answer.status_code, code, str(told.get("message") or "the answer is none of a function"))


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_json(item) for name, item in value.items() if item is not UNSET}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, Int64):
        return {"$integer": base64.b64encode(struct.pack("<q", value)).decode()}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        raise ValueError(f"{value} is no number that keeps all its digits: use Int64({value})")
    if isinstance(value, float) and (not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0)):
        return {"$float": base64.b64encode(struct.pack("<d", value)).decode()}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$integer": str(encoded)}:
            return Int64(struct.unpack("<q", base64.b64decode(encoded))[0])
        case {"$bytes": str(encoded)}:
            return base64.b64decode(encoded)
        case {"$float": str(encoded)}:
            return struct.unpack("<d", base64.b64decode(encoded))[0]
    return {name: _from_json(item) for name, item in value.items()}
