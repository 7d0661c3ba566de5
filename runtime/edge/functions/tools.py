"""What does Convex's command line ask of a deployment over HTTP?

``npx convex env``, ``logs`` and ``network-test`` against a self-hosted URL with a deploy key; the rest of what they ask
goes through functions (`execution/system_functions.py`).

Rules
1. Administrators only, but for the name of the instance and the echo.
2. What is not served is said at once, with 501: at a 404 the tools wait for half a minute.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from runtime.edge.exchange import Exchange
from runtime.edge.functions.calls import read_json
from runtime.edge.functions.streaming import read_log
from runtime.edge.intake import read_all
from runtime.edge.problems import TEXT, to_json
from runtime.errors import BadRequest, NotServed
from runtime.invocation import Deployment
from runtime.names import DeploymentName
from runtime.ports import Logs

# Convex has these, and nothing here answers them.
_NOT_SERVED = (
    *("/api/run_test_function", "/api/import/", "/api/perform_import", "/api/export/", "/api/deploy2/"),
    *("/api/get_config", "/api/push_config", "/api/prepare_schema", "/api/schema_state/", "/api/v1/", "/api/shapes2"),
    *("/api/list_snapshot", "/api/document_deltas", "/api/json_schemas", "/api/get_table_column_names"),
    *("/api/test_streaming_export_connection", "/api/streaming_import/", "/api/app_metrics/", "/api/dashboard_"),
    *("/api/cancel_", "/api/delete_", "/api/actions/", "/api/generate_", "/api/storage", "/api/logs/"),
)

METHODS: Mapping[str, tuple[str, ...]] = {
    "/": ("GET", "HEAD"),
    "/version": ("GET", "HEAD"),
    "/instance_name": ("GET", "HEAD"),
    "/instance_version": ("GET", "HEAD"),
    "/echo": ("POST",),
    "/api/debug_event": ("POST",),
    "/api/update_environment_variables": ("POST",),
    "/api/stream_function_logs": ("GET",),
}
FOR_ADMINISTRATORS = ("/api/update_environment_variables", "/api/stream_function_logs")


class Steward(Protocol):
    """Who changes a deployment for its administrator: the control plane."""

    async def change_variables(self, name: DeploymentName, wanted: Mapping[str, str | None]) -> Mapping[str, str]:
        """Set these variables, and remove those with ``None``: all or none; raises the caller's mistakes."""
        ...


class _Change(msgspec.Struct):
    name: str
    value: str | None = None


class _Changes(msgspec.Struct):
    changes: list[_Change]


class Tools:
    """Answers what is no call of a function."""

    def __init__(self, logs: Logs, steward: Steward | None, release: str) -> None:
        self._logs = logs
        self._steward = steward
        self._release = release

    async def answer(self, deployment: Deployment, path: str, exchange: Exchange) -> None:
        """Answer one of `METHODS`; the caller is who it must be."""
        match path:
            case "/":
                await _text(
                    exchange, f"This is {deployment.name}, a deployment on Warren. Its functions are at /api.\n"
                )
            case "/version" | "/instance_version":
                await _text(exchange, self._release)
            case "/instance_name":
                await _text(exchange, deployment.name)
            case "/echo":
                body = await read_all(exchange.receive, exchange.headers)
                await exchange.reply(200, [(b"content-type", b"application/octet-stream")], body)
            case "/api/update_environment_variables":
                await self._change_variables(deployment.name, await read_json(exchange, _Changes))
                await json_reply(exchange, None)
            case "/api/stream_function_logs":
                query = exchange.scope["query_string"].decode("latin-1")
                await json_reply(exchange, await read_log(self._logs, deployment.name, query))
            case _:
                await json_reply(exchange, None)

    async def _change_variables(self, name: DeploymentName, asked: _Changes) -> None:
        if self._steward is None:
            raise NotServed("this server's environment variables are set elsewhere")
        changes = {change.name: change.value for change in asked.changes}
        if len(changes) != len(asked.changes):
            raise BadRequest("changes names one variable twice")
        await self._steward.change_variables(name, changes)


def refuse_unserved(path: str) -> None:
    """Raise `NotServed` for what Convex has and nothing here answers."""
    if path.startswith(_NOT_SERVED):
        raise NotServed(f"{path[:200]} is not served here: this deployment runs Python, and is pushed to with 'warren'")


async def json_reply(exchange: Exchange, value: Any) -> None:
    """Answer with JSON."""
    await exchange.reply(200, [(b"content-type", b"application/json")], to_json(value))


async def _text(exchange: Exchange, text: str) -> None:
    await exchange.reply(200, [(b"content-type", TEXT)], text.encode())
