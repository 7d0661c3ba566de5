"""Which function does a request call, and with what?

Reads the bodies and query strings of the function API. Runs nothing.

Rules
1. A body is JSON, whatever it calls itself; one that says it is something else is refused.
2. A path, a format or arguments that are none are refused before anything runs.
3. What is large is weighed before it is decoded, and decoded aside: others wait for a turn of the loop, no longer.
"""

from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from runtime import limits
from runtime.edge import cors
from runtime.edge.exchange import Exchange
from runtime.edge.functions.arguments import read_arguments
from runtime.edge.functions.aside import aside
from runtime.edge.functions.results import Format, read_format
from runtime.edge.intake import read_all
from runtime.errors import BadRequest, TooLarge
from runtime.names import FunctionPath, InvalidName, parse_function_path
from runtime.protocol.declaration import Kind
from runtime.protocol.weighing import json_holds_more_than

Shape = TypeVar("Shape")

_JSON_ITEMS = 2 * int(limits.VALUE_ITEMS)  # what counts them may count each twice

RUN = "/api/run/"

# What each endpoint calls; ``None`` is whatever kind the function has.
ENDPOINTS: dict[str, Kind | None] = {
    "/api/query": Kind.QUERY,
    "/api/mutation": Kind.MUTATION,
    "/api/action": Kind.ACTION,
    "/api/function": None,
    "/api/query_at_ts": Kind.QUERY,
}


class Request(msgspec.Struct):
    """The body of a call."""

    path: str = ""
    args: Any = msgspec.field(default_factory=dict)
    format: str | None = None
    ts: str | None = None


class Batch(msgspec.Struct):
    """The body of several calls."""

    queries: list[Request]


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was asked for. ``kind`` is ``None`` where any will do; ``ts`` names a moment."""

    path: FunctionPath
    kind: Kind | None
    args: bytes
    format: Format
    ts: str | None = None


async def read_call(path: str, exchange: Exchange) -> Call:
    """The call of one request; raise `BadRequest` or `TooLarge`."""
    if exchange.method == "GET":
        return _call_of(path, _read_query(exchange.scope["query_string"]))
    body = await _read_body(exchange)
    return await aside(len(body), lambda: _call_of(path, _decode(body, Request)))


def _call_of(path: str, request: Request) -> Call:
    if path.startswith(RUN):
        module, slash, function = path.removeprefix(RUN).rpartition("/")
        request.path = f"{module}:{function}" if slash else function
    return make_call(request, ENDPOINTS.get(path))


def make_call(request: Request, kind: Kind | None) -> Call:
    """What a request calls."""
    format = read_format(request.format)
    if not request.path:
        raise BadRequest('the call names no function; send its path, as in {"path": "messages:list", "args": {}}')
    try:
        function = parse_function_path(request.path)
    except InvalidName as error:
        raise BadRequest(str(error)) from None
    return Call(function, kind, read_arguments(request.args), format, request.ts)


async def read_json(exchange: Exchange, shape: type[Shape]) -> Shape:
    """The body of a request, as this shape; raise `BadRequest` or `TooLarge`."""
    body = await _read_body(exchange)
    return await aside(len(body), lambda: _decode(body, shape))


async def _read_body(exchange: Exchange) -> bytes:
    said = (cors.header(exchange.headers, b"content-type") or b"application/json").partition(b";")[0].strip().lower()
    if said != b"application/json" and not said.endswith(b"+json"):
        raise BadRequest(f"the request body is {said[:60].decode('latin-1')}; send application/json")
    return await read_all(exchange.receive, exchange.headers)


def _decode(body: bytes, shape: type[Shape]) -> Shape:
    if json_holds_more_than(_JSON_ITEMS, body):
        raise TooLarge(f"args hold more than {limits.VALUE_ITEMS} items (limit VALUE_ITEMS): send smaller parts")
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not the JSON of a call: {error}") from None


def _read_query(query: bytes) -> Request:
    try:
        found = parse_qs(query.decode(), keep_blank_values=True, max_num_fields=16, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise BadRequest("the query string is not path=…&args=…&format=… in UTF-8") from None
    last = {key: texts[-1] for key, texts in found.items()}
    try:
        args = msgspec.json.decode(last.get("args") or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"args in the query string is not JSON: {error}") from None
    return Request(last.get("path", ""), args, last.get("format"))
