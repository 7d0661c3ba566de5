"""What do the tools of Convex ask a deployment about itself?

The functions under ``_system/cli/`` that ``npx convex env``, ``run``, ``data``, ``function-spec`` and ``network-test``
call, answered in the host from the deployment and a transaction. They can be subscribed to like any query.

Rules
1. For administrators only: whoever calls has made sure of that.
2. A function that is not served looks like any missing function: the tools then say so and stop.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from runtime.errors import SyscallRefused
from runtime.execution.finding import missing
from runtime.index_keys import LAST, NEXT, encode_value
from runtime.invocation import Deployment, Failed, Outcome, Succeeded
from runtime.names import InvalidName, parse_function_path
from runtime.ports import KeyRange, Order
from runtime.protocol import values
from runtime.protocol.declaration import FunctionDeclaration, Kind
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.schemas.tables import BY_NAME
from runtime.syscalls.transaction import Transaction

OWN_VARIABLES = ("WARREN_SITE_URL", "WARREN_CLOUD_URL")
_PREFIX = "_system/"
_PAGE_AT_MOST = 1_024
_END = "end"

Serve = Callable[[Deployment, Mapping[str, Any], Transaction], Awaitable[Any]]


def is_system(path: str) -> bool:
    """Whether this path names one of the system's own functions."""
    return path.startswith(_PREFIX)


class _Wrong(Exception):
    """The arguments are not what the function takes."""


class SystemFunctions:
    """The system's own queries."""

    def __init__(self) -> None:
        cli = f"{_PREFIX}cli/"
        self._served: dict[str, Serve] = {
            f"{cli}queryEnvironmentVariables:default": _variables,
            f"{cli}queryEnvironmentVariables:get": _variable,
            f"{cli}tables:default": _tables,
            f"{cli}tableData:default": _table_data,
            f"{cli}modules:apiSpec": _api_spec,
            f"{cli}convexUrl:cloudUrl": _cloud_url,
            f"{cli}convexUrl:siteUrl": _site_url,
        }

    async def answer(self, deployment: Deployment, path: str, args: bytes, transaction: Transaction) -> Outcome:
        """Answer one of them; what is asked wrongly is a failure, like a tenant's."""
        try:
            serve = self._served.get(str(parse_function_path(path)))
        except InvalidName:
            serve = None
        if serve is None:
            return Failed(missing(path, administrator=True))
        try:
            value = await serve(deployment, values.decode(args), transaction)
            return Succeeded(values.encode(value))
        except (_Wrong, SyscallRefused) as error:
            return Failed(Failure(Reason.ARGUMENTS, "ArgumentValidationError", str(error)))
        except values.InvalidValue as error:
            return Failed(Failure(Reason.RETURNS, "ReturnsValidationError", str(error)))


# --- about the deployment ---------------------------------------------------------------------------------------------


async def _variables(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    shown = sorted(name for name in deployment.environment if name not in OWN_VARIABLES)
    return [{"name": name, "value": deployment.environment[name]} for name in shown]


async def _variable(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    name = _text(args, "name")
    value = deployment.environment.get(name)
    return None if value is None else {"name": name, "value": value}


async def _cloud_url(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    return deployment.environment.get("WARREN_CLOUD_URL")


async def _site_url(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    return deployment.environment.get("WARREN_SITE_URL")


async def _api_spec(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    if deployment.version is None:
        return []
    declared = deployment.version.declaration
    functions = [_spec(function) for function in declared.functions if function.kind is not Kind.HTTP_ACTION]
    routes = [
        {"functionType": "HttpAction", "method": route.method, "path": route.pattern} for route in declared.routes or ()
    ]
    return functions + routes


def _spec(function: FunctionDeclaration) -> dict[str, Any]:
    module, _, name = function.path.partition(":")
    anything = {"type": "any"}
    return {
        "identifier": f"{module}.js:{name}",
        "functionType": function.kind.value.capitalize(),
        "visibility": {"kind": function.visibility.value},
        "args": function.args if function.args is not None else anything,
        "returns": function.returns if function.returns is not None else anything,
    }


# --- about its documents ----------------------------------------------------------------------------------------------


async def _tables(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    cursor, most = _pagination(args)
    if cursor == _END:
        return _page([], None)
    start = BY_NAME if cursor is None else BY_NAME + encode_value(cursor) + NEXT
    found = await transaction.records(KeyRange(start, BY_NAME + LAST), most)
    names = [values.decode(document)["name"] for document in found]
    return _page([{"name": name} for name in names], names[-1] if len(names) == most else None)


async def _table_data(deployment: Deployment, args: Mapping[str, Any], transaction: Transaction) -> Any:
    cursor, most = _pagination(args)
    if cursor == _END:
        return _page([], None)
    order = Order.DESCENDING if args.get("order") == "desc" else Order.ASCENDING
    everything = Bounds([], True, [], True)
    found = await transaction.scan(
        _text(args, "table"), "by_creation_time", everything, order, None if cursor is None else _key(cursor), most
    )
    documents = [values.decode(document) for document in found.documents]
    return _page(documents, None if found.cursor is None else base64.urlsafe_b64encode(found.cursor).decode())


def _page(items: list[Any], cursor: str | None) -> dict[str, Any]:
    return {"page": items, "isDone": cursor is None, "continueCursor": _END if cursor is None else cursor}


def _pagination(args: Mapping[str, Any]) -> tuple[str | None, int]:
    options = args.get("paginationOpts")
    if not isinstance(options, dict):
        raise _Wrong("paginationOpts is {numItems, cursor}")
    items, cursor = options.get("numItems"), options.get("cursor")
    if not isinstance(items, int | float) or items < 1 or not isinstance(cursor, str | None):
        raise _Wrong("paginationOpts needs numItems, 1 or more, and cursor, a string or null")
    return cursor, min(int(items), _PAGE_AT_MOST)


def _text(args: Mapping[str, Any], name: str) -> str:
    text = args.get(name)
    if not isinstance(text, str):
        raise _Wrong(f"{name} is a string")
    return text


def _key(cursor: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(cursor)
    except (binascii.Error, ValueError):
        raise _Wrong("this cursor is not one of this table; begin again with null") from None
