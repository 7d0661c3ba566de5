"""What does a deployment's cloud host answer?

The function API that Convex's clients speak (their HTTP API): ``/api/query``, ``/api/mutation``, ``/api/action``,
``/api/function``, ``/api/run/…``, several queries at one moment, stored files, and what their tools ask for. Reads JSON
(`functions/`), makes an `Invocation`, writes JSON. Knows no isolate.

Rules
1. A function that fails is HTTP 200 with ``"status": "error"``; only the platform's own refusals have other statuses.
2. To a client an internal function looks exactly like a missing one. A deploy key may call both, and sees details.
3. Any page may call it: CORS is open, on refusals too.
4. A token or key that proves nothing is a 401 before anything runs, never an anonymous call.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qs

from runtime import limits
from runtime.edge import cors
from runtime.edge.exchange import Exchange
from runtime.edge.files.door import FileDoor
from runtime.edge.files.door import methods as methods_of_file
from runtime.edge.functions import tools
from runtime.edge.functions.aside import aside, weight
from runtime.edge.functions.calls import ENDPOINTS, RUN, Batch, Call, make_call, read_call, read_json
from runtime.edge.functions.results import result
from runtime.edge.functions.tools import Tools, json_reply
from runtime.edge.problems import Details, to_json
from runtime.edge.sync.messages import Malformed, read_position, write_position
from runtime.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, NotServed, TooLarge
from runtime.execution.finding import find_function
from runtime.execution.live.moments import Moments
from runtime.execution.live.shared import Observed, Question
from runtime.execution.system_functions import is_system
from runtime.identification.callers import ANONYMOUS, Callers, Found
from runtime.identity import Settled
from runtime.invocation import Deployment, Failed, Invocation, Outcome
from runtime.names import DeploymentName
from runtime.ports import Snapshot
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure

_SYNC = re.compile(r"/api/(?:[^/]+/)?sync\Z")
_OWN_PATHS = ("/instance_name", "/instance_version", "/echo")
_SEVERAL = {"/api/query_batch": ("POST",), "/api/query_ts": ("POST",)}

Observe = Callable[[DeploymentName, Question, bytes, Settled, Snapshot], Awaitable[Observed]]


class Runner(Protocol):
    """Who runs functions: the conductor."""

    async def run(self, invocation: Invocation) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries at moments that are given out."""

    observe: Observe
    moments: Moments


@dataclass(frozen=True, slots=True)
class Services:
    """What the function API works with. Without ``queries`` nothing is asked at a moment, without ``files`` none."""

    runner: Runner
    callers: Callers
    details: Details
    tools: Tools
    queries: Queries | None = None
    files: FileDoor | None = None


def is_function_path(path: str) -> bool:
    """Whether this path is the function API's where it shares a host with others."""
    path = _collapsed(path)
    return path.startswith("/api/") or path in _OWN_PATHS


class FunctionApi:
    """The function API of every deployment."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, deployment: Deployment, path: str, exchange: Exchange) -> None:
        """Answer one request; raises the caller's mistakes."""
        path, method, files = _collapsed(path), exchange.method, self._services.files
        of_file = methods_of_file(path) if files is not None else None
        allowed = of_file or _allowed_methods(path)
        if method == "OPTIONS":
            await exchange.reply(204, [(b"allow", ", ".join((*allowed, "OPTIONS")).encode())], b"")
        elif method not in allowed:
            raise MethodNotAllowed(f"{path} answers {' and '.join(allowed)}, not {method}", (*allowed, "OPTIONS"))
        elif of_file and files is not None:
            await files.answer(deployment.name, path, exchange)
        elif path in tools.METHODS:
            if path in tools.FOR_ADMINISTRATORS:
                _require_administrator(await self._caller(deployment, exchange), path)
            await self._services.tools.answer(deployment, path, exchange)
        elif path == "/api/query_batch":
            await self._run_batch(deployment, exchange)
        elif path == "/api/query_ts":
            moment = await self._queries().moments.give_out(deployment.name)
            await json_reply(exchange, {"ts": write_position(moment)})
        else:
            await self._run(deployment, path, exchange)

    async def _run(self, deployment: Deployment, path: str, exchange: Exchange) -> None:
        call = await read_call(path, exchange)
        exchange.function, exchange.kind = str(call.path), call.kind
        caller = await self._caller(deployment, exchange)
        if path == "/api/function":
            _require_administrator(caller, path)
        if call.ts is not None and path == "/api/query_at_ts":
            moment = await self._queries().moments.at(deployment.name, _moment(call.ts))
            outcome = await self._observe(deployment, call, caller, moment)
        elif caller.administrator and is_system(str(call.path)):
            moment = await self._queries().moments.now(deployment.name)
            outcome = await self._observe(deployment, call, caller, moment)
        else:
            outcome = await self._call(deployment, call, caller, exchange)
        body = await aside(weight(outcome), lambda: to_json(self._result(outcome, call, caller, exchange)))
        await exchange.reply(200, [(b"content-type", b"application/json")], body)

    async def _call(self, deployment: Deployment, call: Call, caller: Found, exchange: Exchange) -> Outcome:
        version = deployment.version
        if version is None:
            raise NotFound(
                f"nothing has been pushed to the deployment {deployment.name!r} yet; "
                "run 'warren deploy' in your project"
            )
        found = find_function(version, call.path, call.kind, caller.administrator)
        if isinstance(found, Failure):
            return Failed(found)
        exchange.kind = found.kind
        identity = caller.identity
        return await self._services.runner.run(
            Invocation(deployment, version, call.path, found.kind, call.args, exchange.request_id, identity=identity)
        )

    async def _run_batch(self, deployment: Deployment, exchange: Exchange) -> None:
        """Several queries that see one moment."""
        batch = await read_json(exchange, Batch)
        if len(batch.queries) > limits.BATCH_QUERIES:
            raise TooLarge(f"{len(batch.queries)} queries in one batch, limit {limits.BATCH_QUERIES}")
        calls = [make_call(request, Kind.QUERY) for request in batch.queries]
        caller = await self._caller(deployment, exchange)
        shared = await self._queries().moments.now(deployment.name)
        try:
            outcomes = [await self._observe(deployment, call, caller, shared.share()) for call in calls]
        finally:
            shared.release()
        pairs = zip(outcomes, calls, strict=True)
        results = [
            await aside(weight(outcome), partial(self._result, outcome, call, caller, exchange))
            for outcome, call in pairs
        ]
        await json_reply(exchange, {"results": results})

    async def _observe(self, deployment: Deployment, call: Call, caller: Found, moment: Snapshot) -> Outcome:
        """Run a query at a moment, which ends with it."""
        try:
            question = Question(str(call.path), b"", caller.administrator)
            observed = await self._queries().observe(deployment.name, question, call.args, caller.identity, moment)
            return observed.outcome
        finally:
            moment.release()

    def _result(self, outcome: Outcome, call: Call, caller: Found, exchange: Exchange) -> dict[str, Any]:
        details = Details.SHOW if caller.administrator else self._services.details
        if isinstance(outcome, Failed):
            exchange.note = outcome.failure.exception
        return result(outcome, call.format, exchange.request_id, details)

    async def _caller(self, deployment: Deployment, exchange: Exchange) -> Found:
        authorization = cors.header(exchange.headers, b"authorization") or _admin_key(exchange)
        return await self._services.callers.find(deployment, authorization) if authorization else ANONYMOUS

    def _queries(self) -> Queries:
        if self._services.queries is None:
            raise NotServed("this server keeps no moments")
        return self._services.queries


def _collapsed(path: str) -> str:
    # Clients put a base URL and a path together as they are, so a base that ends with a slash makes two.
    return "/" + path.lstrip("/") if path.startswith("//") else path


def _allowed_methods(path: str) -> tuple[str, ...]:
    if path == "/api/query":
        return ("GET", "POST")
    if path in ENDPOINTS or path.startswith(RUN):
        return ("POST",)
    allowed = tools.METHODS.get(path) or _SEVERAL.get(path)
    if allowed is not None:
        return allowed
    if _SYNC.match(path):
        raise BadRequest(f"{path[:200]} speaks WebSocket: ask for an upgrade, or call functions with POST /api/query")
    tools.refuse_unserved(path)
    raise NotFound(
        f"there is nothing at {path[:200]}: this host answers /api/query, /api/mutation, /api/action, /api/function, "
        "/api/run and /api/sync; HTTP actions are on the deployment's site host"
    )


def _admin_key(exchange: Exchange) -> bytes | None:
    query: bytes = exchange.scope["query_string"]
    if b"adminKey=" not in query:
        return None
    found = parse_qs(query.decode("latin-1"), max_num_fields=32).get("adminKey")
    return b"Convex " + found[-1].encode("latin-1", "replace") if found else None


def _require_administrator(caller: Found, path: str) -> None:
    if not caller.administrator:
        raise Forbidden(f"You do not have permission to perform this operation: {path} needs a deploy key")


def _moment(ts: str) -> int:
    try:
        return read_position(ts)
    except Malformed as error:
        raise BadRequest(str(error)) from None
