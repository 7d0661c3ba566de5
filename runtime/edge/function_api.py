"""What does a deployment's cloud host answer?

The function API that Convex's clients speak (their HTTP API): ``/api/query``, ``/api/mutation``, ``/api/action``,
``/api/function``, ``/api/run/…``, ``/version``. Reads JSON, makes an `Invocation`, writes JSON. Knows no isolate.

Rules
1. A function that fails is HTTP 200 with ``"status": "error"``; only the platform's own refusals have other statuses.
2. To a client an internal function looks exactly like a missing one. A deploy key may call both, and sees details.
3. Any page may call it: CORS is open, on refusals too.
4. Large arguments and results are converted in a thread: others wait for a turn of the loop, not for the whole of it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, assert_never
from urllib.parse import parse_qs

import msgspec

from runtime import limits
from runtime.edge import cors
from runtime.edge.exchange import Exchange
from runtime.edge.intake import read_all
from runtime.edge.problems import TEXT, Details, application_data, server_error, to_json
from runtime.errors import BadRequest, MethodNotAllowed, NotFound, TooLarge, Unauthorized
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version, traceback_text
from runtime.names import DeploymentName, FunctionPath, InvalidName, parse_function_path
from runtime.protocol import values
from runtime.protocol.declaration import Kind, Visibility
from runtime.protocol.messages import Failure, Reason
from runtime.protocol.weighing import SHORT, json_holds_more_than

# What each endpoint calls; ``None`` is whatever kind the function has.
_ENDPOINTS: Mapping[str, Kind | None] = {
    "/api/query": Kind.QUERY,
    "/api/mutation": Kind.MUTATION,
    "/api/action": Kind.ACTION,
    "/api/function": None,
}
_RUN = "/api/run/"
_SYNC = re.compile(r"/api/(?:[^/]+/)?sync\Z")
_FORMATS = ("json", "convex_encoded_json")
_JSON_ITEMS = 2 * int(limits.VALUE_ITEMS)  # what counts them may count each twice
T = TypeVar("T")

Admits = Callable[[DeploymentName, str], Awaitable[bool]]


class Runner(Protocol):
    """Who runs functions: the conductor."""

    async def run(self, invocation: Invocation) -> Outcome: ...


class _Request(msgspec.Struct):
    """The body of a call."""

    path: str = ""
    args: Any = msgspec.field(default_factory=dict)
    format: str | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """A call as it was asked for. ``kind`` is ``None`` where any will do."""

    path: FunctionPath
    kind: Kind | None
    args: bytes


class FunctionApi:
    """The function API of every deployment."""

    def __init__(self, runner: Runner, admits: Admits, details: Details, release: str) -> None:
        self._runner = runner
        self._admits = admits
        self._details = details
        self._release = release

    async def answer(self, deployment: Deployment, path: str, exchange: Exchange) -> None:
        """Answer one request; raises the caller's mistakes."""
        method = exchange.method
        allowed = _allowed_methods(path)
        if method == "OPTIONS":
            await exchange.reply(204, [(b"allow", ", ".join((*allowed, "OPTIONS")).encode())], b"")
        elif method not in allowed:
            raise MethodNotAllowed(f"{path} answers {' and '.join(allowed)}, not {method}", (*allowed, "OPTIONS"))
        elif path == "/version":
            await exchange.reply(200, [(b"content-type", TEXT)], self._release.encode())
        else:
            await self._run(deployment, await _read_call(path, exchange), exchange)

    async def _run(self, deployment: Deployment, call: _Call, exchange: Exchange) -> None:
        administrator = await self._is_administrator(deployment.name, exchange)
        details = Details.SHOW if administrator else self._details
        exchange.function, exchange.kind = str(call.path), call.kind
        version = deployment.version
        if version is None:
            raise NotFound(
                f"nothing has been pushed to the deployment {deployment.name!r} yet; "
                "run 'warren deploy' in your project"
            )
        refusal, kind = _look_up(version, call, administrator)
        if refusal is not None:
            outcome: Outcome = Failed(refusal)
            details = Details.SHOW  # it tells nothing but what the caller said
        else:
            exchange.kind = kind
            outcome = await self._runner.run(
                Invocation(deployment, version, call.path, kind, call.args, exchange.request_id)
            )
        size = len(outcome.value if isinstance(outcome, Succeeded) else outcome.failure.data or b"")
        body = await _aside(size, lambda: to_json(_result(outcome, exchange, details)))
        await exchange.reply(200, [(b"content-type", b"application/json")], body)

    async def _is_administrator(self, name: DeploymentName, exchange: Exchange) -> bool:
        authorization = cors.header(exchange.headers, b"authorization") or b""
        if authorization[:7].lower() != b"convex ":
            return False
        if not await self._admits(name, authorization.decode("latin-1")):
            raise Unauthorized(f"this is no deploy key of the deployment {name!r}; make one with 'warren keys'")
        return True


def _allowed_methods(path: str) -> tuple[str, ...]:
    if path == "/version":
        return ("GET", "HEAD")
    if path == "/api/query":
        return ("GET", "POST")
    if path in _ENDPOINTS or path.startswith(_RUN):
        return ("POST",)
    if _SYNC.match(path):
        raise NotFound("the sync protocol is not served by this version; call functions with POST /api/query")
    raise NotFound(
        f"there is nothing at {path[:200]}: this host answers /api/query, /api/mutation, /api/action, /api/function "
        "and /api/run; HTTP actions are on the deployment's site host"
    )


async def _aside(size: int, work: Callable[[], T]) -> T:
    """Do what takes as long as its ``size``: at once when it is small, else where the loop need not wait for it."""
    return work() if size < SHORT else await asyncio.to_thread(work)


async def _read_call(path: str, exchange: Exchange) -> _Call:
    if exchange.method == "GET":
        return _call_of(path, _read_query(exchange.scope["query_string"]))
    body = await read_all(exchange.receive, exchange.headers)
    return await _aside(len(body), lambda: _call_of(path, _read_json(body)))


def _call_of(path: str, request: _Request) -> _Call:
    if request.format not in (None, *_FORMATS):
        raise BadRequest(f"format is {request.format!r}; use one of {', '.join(_FORMATS)}")
    name = request.path
    if path.startswith(_RUN):
        module, slash, function = path.removeprefix(_RUN).rpartition("/")
        name = f"{module}:{function}" if slash else function
    if not name:
        raise BadRequest('the call names no function; send its path, as in {"path": "messages:list", "args": {}}')
    try:
        return _Call(parse_function_path(name), _ENDPOINTS.get(path), _read_args(request.args))
    except InvalidName as error:
        raise BadRequest(str(error)) from None


def _read_json(body: bytes) -> _Request:
    if json_holds_more_than(_JSON_ITEMS, body):
        raise TooLarge(f"args hold more than {limits.VALUE_ITEMS} items (limit VALUE_ITEMS): send smaller parts")
    try:
        return msgspec.json.decode(body, type=_Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not the JSON of a call: {error}") from None


def _read_query(query: bytes) -> _Request:
    try:
        found = parse_qs(query.decode(), keep_blank_values=True, max_num_fields=16, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise BadRequest("the query string is not path=…&args=…&format=… in UTF-8") from None
    last = {key: texts[-1] for key, texts in found.items()}
    try:
        args = msgspec.json.decode(last.get("args") or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"args in the query string is not JSON: {error}") from None
    return _Request(last.get("path", ""), args, last.get("format"))


def _read_args(args: Any) -> bytes:
    if isinstance(args, list) and len(args) <= 1:
        args = args[0] if args else {}
    if not isinstance(args, dict):
        raise BadRequest("args is neither an object nor an array with one object in it; functions take named arguments")
    try:
        encoded = values.encode(values.from_json(args, "args"), "args")
    except values.InvalidValue as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise BadRequest(f"args is nested deeper than {limits.VALUE_DEPTH} levels") from None
    if len(encoded) > limits.VALUE_BYTES:
        raise TooLarge(f"args are {len(encoded)} bytes when encoded, limit {limits.VALUE_BYTES}")
    return encoded


def _look_up(version: Version, call: _Call, administrator: bool) -> tuple[Failure | None, Kind]:
    """Why this function cannot be called so, or ``None``; and its kind."""
    function = version.functions.get(str(call.path))
    if function is None or (function.visibility is Visibility.INTERNAL and not administrator):
        public = "" if administrator else " public"
        missing = f"Could not find{public} function for '{call.path}'."
        return _unknown(f"{missing} Did you forget to run `warren dev` or `warren deploy`?"), Kind.QUERY
    if function.kind is Kind.HTTP_ACTION or call.kind not in (None, function.kind):
        asked = (call.kind or Kind.ACTION).value.capitalize()
        refused = f"Trying to execute {call.path} as {asked}, but it is defined as {_spoken(function.kind)}."
        return _unknown(refused), function.kind
    return None, function.kind


def _unknown(message: str) -> Failure:
    return Failure(Reason.UNKNOWN, "FunctionNotFound", message)


def _spoken(kind: Kind) -> str:
    return "HTTP action" if kind is Kind.HTTP_ACTION else kind.value.capitalize()


def _result(outcome: Outcome, exchange: Exchange, details: Details) -> dict[str, Any]:
    lines = list(outcome.lines) if details is Details.SHOW else []
    match outcome:
        case Succeeded(value):
            return {"status": "success", "value": values.to_json(values.decode(value)), "logLines": lines}
        case Failed(failure):
            exchange.note = failure.exception
            message = server_error(failure, exchange.request_id, details)
            if details is Details.SHOW and failure.frames:
                message += "\n" + traceback_text(failure)
            data = application_data(failure, "errorData")
            return {"status": "error", "errorMessage": message, **data, "logLines": lines}
        case _:
            assert_never(outcome)
