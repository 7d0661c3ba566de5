"""How does Convex's command line read the log?

A long poll: it names the time of the last entry that it has, and gets what came after, or nothing for a while.

Rules
1. An answer comes within `_PATIENCE` seconds, also when nothing was logged.
2. A line that a function logged is an entry of kind ``Progress``, the end of a call one of kind ``Completion``.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from runtime.errors import BadRequest
from runtime.names import DeploymentName
from runtime.ports import Following, LogEntry, LogQuery, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level

_PATIENCE = 20.0
_AT_ONCE = 1_000
_KINDS = {Kind.QUERY: "Query", Kind.MUTATION: "Mutation", Kind.ACTION: "Action", Kind.HTTP_ACTION: "HttpAction"}
_USAGE = {
    "databaseReadBytes": 0,
    "databaseWriteBytes": 0,
    "databaseReadDocuments": 0,
    "storageReadBytes": 0,
    "storageWriteBytes": 0,
    "vectorIndexReadBytes": 0,
    "vectorIndexWriteBytes": 0,
    "actionMemoryUsedMb": 0,
}


async def read_log(logs: Logs, name: DeploymentName, query: str) -> dict[str, Any]:
    """The entries after the cursor in this query string, and the next cursor."""
    try:
        cursor = float(parse_qs(query).get("cursor", ["0"])[-1])
    except ValueError:
        raise BadRequest("cursor is a time in milliseconds, as an earlier answer gave it") from None
    following = logs.follow(name, LogQuery())
    try:
        found = _after(await logs.read(name, LogQuery(since=cursor, limit=_AT_ONCE)), cursor)
        if not found:
            found = _after(await _wait(following), cursor)
    finally:
        await following.aclose()
    newest = max((entry.at for entry in found), default=cursor)
    return {"entries": [_entry(entry) for entry in found], "newCursor": newest}


async def _wait(following: Following) -> Sequence[LogEntry]:
    try:
        async with asyncio.timeout(_PATIENCE):
            return [await anext(following)]
    except (TimeoutError, StopAsyncIteration):
        return ()


def _after(entries: Sequence[LogEntry], cursor: float) -> list[LogEntry]:
    return [entry for entry in entries if entry.at > cursor]


def _entry(entry: LogEntry) -> dict[str, Any]:
    ended = entry.kind == "request"
    failed = ended and entry.level is Level.ERROR
    line = {"messages": [entry.text], "level": entry.level.upper(), "timestamp": entry.at, "isTruncated": False}
    return {
        "kind": "Completion" if ended else "Progress",
        "udfType": _KINDS.get(entry.function_kind or Kind.HTTP_ACTION, "HttpAction"),
        "identifier": entry.function,
        "componentPath": None,
        "timestamp": entry.at / 1000,
        "executionTime": (entry.duration or 0) / 1000,
        "logLines": [] if ended else [line],
        "error": entry.text if failed else None,
        "success": None if failed else {"status": str(entry.status or 200)},
        "requestId": entry.request_id,
        "executionId": entry.request_id,
        "caller": "HttpApi",
        "cachedResult": False,
        "environment": "isolate",
        "identityType": "unknown",
        "parentExecutionId": None,
        "returnBytes": None,
        "usageStats": _USAGE,
    }
