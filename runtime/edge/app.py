"""The story of one request.

::

    a request id → whose house? → what do they run? → which function? → an invocation → its answer → a log line

The outermost room: a raw ASGI application, one per listening port. It decides by the Host header between a deployment's
site, its function API and whatever stands beside them (`fallback`: the control plane).

Rules
1. From the moment an `HttpInvocation` is made nobody looks at a header to decide anything.
2. Every answer carries ``X-Request-Id`` and ``Server-Timing``, refusals too; every finished request of a deployment is
   one line of its log.
3. An exception that nobody foresaw is ours: it is logged with the request id, and the client reads only that.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.edge import cors
from runtime.edge.exchange import Answer, Exchange, Send
from runtime.edge.files.door import FileDoor
from runtime.edge.function_api import FunctionApi, Queries, Services, is_function_path
from runtime.edge.functions.tools import METHODS as UNLOGGED
from runtime.edge.functions.tools import Steward, Tools
from runtime.edge.hosts import Addresses, Face, Hosts, Listener, Place, Scope
from runtime.edge.intake import ClientLeft, Receive, read_target
from runtime.edge.leaving import Departures
from runtime.edge.problems import (
    DeploymentPaused,
    Details,
    failed_action,
    json_problem,
    public_words,
    site_problem,
    status_of,
)
from runtime.edge.routes import METHODS, Match, RouteTables
from runtime.edge.sync.door import SYNC_PATH, SyncDoor, nothing_here, refuse
from runtime.edge.sync.session import Rooms as SyncRooms
from runtime.edge.sync.session import Runner
from runtime.errors import CallerMistake, DeveloperMistake, MethodNotAllowed, NotFound
from runtime.execution.live.live import Live
from runtime.identification.callers import Admits, Callers, Identify
from runtime.identity import NOBODY
from runtime.invocation import Deployment, Failed, HttpInvocation, Version
from runtime.names import DeploymentName, RequestIds
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Level, Reason

log = logging.getLogger("warren.edge")

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Hall(Runner, Protocol):
    """Who runs things: the conductor."""

    async def answer(self, invocation: HttpInvocation) -> Answer | Failed: ...


class Lookup(Protocol):
    """Who knows the deployments: the directory."""

    def known(self, name: DeploymentName) -> Deployment | None: ...
    async def find(self, name: DeploymentName) -> Deployment | None: ...
    async def find_domain(self, domain: str) -> Deployment | None: ...


@dataclass(frozen=True, slots=True)
class House:
    """What stands behind the door."""

    hall: Hall
    directory: Lookup
    logs: Logs
    clock: Clock
    admits: Admits
    identify: Identify
    details: Details
    release: str = "unknown"
    queries: Queries | None = None
    live: Live | None = None
    steward: Steward | None = None
    files: FileDoor | None = None


class Door:
    """The ASGI application of one listener."""

    def __init__(self, house: House, addresses: Addresses, listener: Listener, fallback: App | None = None) -> None:
        self._house = house
        self._default = addresses.default
        self._listener = listener
        self._fallback = fallback
        self._hosts = Hosts(addresses, listener)
        self._trusts_proxies = bool(addresses.proxies)
        self._tables = RouteTables()
        self._ids = RequestIds()
        self._departures = Departures()
        self._callers = Callers(house.identify, house.admits)
        tools = Tools(house.logs, house.steward, house.release)
        self._functions = FunctionApi(
            Services(house.hall, self._callers, house.details, tools, house.queries, house.files)
        )
        self._sync = _sync_door(house, self._callers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._answer_others(scope, receive, send)
            return
        if self._trusts_proxies:
            scope = self._hosts.believe(scope)
        try:
            place = self._hosts.find(scope["headers"])
        except CallerMistake as error:
            exchange = Exchange(scope, receive, send, self._ids.next())
            await exchange.refuse(json_problem(error, exchange.request_id))
            return
        if place.face is Face.SITE and place.name is not None:
            await self._answer_site(place.name, place, scope, receive, send)
        else:
            await self._answer_place(place, scope, receive, send)

    # --- a deployment's site ----------------------------------------------------------------------------------------

    async def _answer_site(
        self, name: DeploymentName, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(scope, receive, send, self._ids.next())
        self._departures.enter(exchange)
        deployment: Deployment | None = None
        try:
            deployment = self._house.directory.known(name) or await self._find(name)
            await self._tell(deployment, place.origins[scope["scheme"]], exchange)
        except ClientLeft as error:
            exchange.note = str(error)
            exchange.status = exchange.status or status_of(error)
        except DeveloperMistake as error:
            await self._refuse_failed(name, Failure(Reason.RETURNS, error.code, str(error)), exchange)
        except Exception as error:
            self._note(error, exchange)
            await exchange.refuse(site_problem(error, exchange.request_id))
        finally:
            self._departures.close(exchange)
            if deployment is not None:
                self._write(name, exchange)

    async def _tell(self, deployment: Deployment, origin: str, exchange: Exchange) -> None:
        version = _version(deployment)
        scope = exchange.scope
        path, target = read_target(scope["raw_path"], scope["query_string"])
        method = exchange.method
        match = self._tables.of(version).find(method, path)
        allowance = version.declaration.cors
        if match is not None and match.route.cors is not None:
            allowance = match.route.cors
        if allowance is not None:
            exchange.cors = cors.answer_headers(allowance, exchange.headers)
        if match is None:
            await self._answer_unmatched(version, path, exchange)
            return
        exchange.function, exchange.kind = match.route.key, Kind.HTTP_ACTION
        authorization = cors.header(exchange.headers, b"authorization")
        invocation = HttpInvocation(
            deployment,
            version,
            match.route.key,
            method,
            origin + target,
            exchange.headers,
            match.parameters,
            None if method in _BODILESS else await exchange.open_body(),
            exchange.request_id,
            exchange.client,
            self._callers.claimed(deployment, authorization) if authorization else NOBODY,
        )
        answer = await self._house.hall.answer(invocation)
        if isinstance(answer, Failed):
            await self._refuse_failed(deployment.name, answer.failure, exchange)
        else:
            await exchange.deliver(answer)

    async def _answer_unmatched(self, version: Version, path: str, exchange: Exchange) -> None:
        """A pre-flight that the tenant left to us, or a refusal that says what the path is good for."""
        if version.declaration.routes is None:
            raise NotFound(
                "this deployment has no HTTP actions: its bundle has no http.py; "
                "define `http = HttpRouter()` there and push again"
            )
        table = self._tables.of(version)
        allowed = table.allowed(path)
        if cors.is_preflight(exchange.method, exchange.headers):
            wanted = (cors.header(exchange.headers, b"access-control-request-method") or b"").decode("latin-1")
            match: Match | None = table.find(wanted, path)
            allowance = (match.route.cors if match is not None else None) or version.declaration.cors
            if allowance is not None:
                exchange.cors = cors.preflight_headers(allowance, exchange.headers, allowed)
                await exchange.reply(204, [], b"")
                return
        if not allowed and exchange.method in METHODS:
            raise NotFound(
                f"no route of this deployment matches {exchange.method} {path[:200]}; 'warren functions' lists its "
                "routes, and function calls go to the deployment's cloud host"
            )
        allowed = allowed or METHODS
        raise MethodNotAllowed(f"{path[:200]} does not answer {exchange.method}, only {', '.join(allowed)}", allowed)

    async def _refuse_failed(self, name: DeploymentName, failure: Failure, exchange: Exchange) -> None:
        """Tell the client of a failed function as much as the operator allows; an administrator always sees all."""
        exchange.note = f"{failure.exception}: {failure.message[:200]}"
        details = self._house.details
        authorization = cors.header(exchange.headers, b"authorization") or b""
        if details is Details.HIDE and authorization and await self._callers.is_administrator(name, authorization):
            details = Details.SHOW
        await exchange.refuse(failed_action(failure, exchange.request_id, details))

    # --- everything else --------------------------------------------------------------------------------------------

    async def _answer_place(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        if place.may_be_custom:
            owner = await self._owner(place.domain)
            if owner is not None:
                await self._answer_site(owner, place, scope, receive, send)
                return
        if place.face is Face.ELSEWHERE and self._listener is Listener.SITE and self._default is not None:
            await self._answer_site(self._default, place, scope, receive, send)
        elif place.face is Face.FUNCTIONS and place.name is not None:
            await self._answer_functions(place.name, scope, receive, send)
        elif place.face is Face.ELSEWHERE and self._default is not None and is_function_path(scope["path"]):
            await self._answer_functions(self._default, scope, receive, send)
        elif place.face is Face.ELSEWHERE and self._fallback is not None:
            await self._fallback(scope, receive, send)
        else:
            exchange = Exchange(scope, receive, send, self._ids.next())
            await exchange.refuse(site_problem(NotFound(_nowhere(place)), exchange.request_id))

    async def _answer_functions(self, name: DeploymentName, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._ids.next())
        exchange.cors = cors.open_headers(exchange.method, exchange.headers)
        deployment: Deployment | None = None
        try:
            deployment = self._house.directory.known(name) or await self._find(name)
            path, _ = read_target(scope["raw_path"], scope["query_string"])
            if deployment.paused:
                raise _paused(deployment)
            await self._functions.answer(deployment, path, exchange)
        except ClientLeft as error:
            exchange.status = status_of(error)
        except Exception as error:
            self._note(error, exchange)
            await exchange.refuse(json_problem(error, exchange.request_id))
        finally:
            # Who reads the log must not find that they read it.
            if deployment is not None and scope["path"] not in UNLOGGED:
                self._write(name, exchange)

    async def _find(self, name: DeploymentName) -> Deployment:
        found = await self._house.directory.find(name)
        if found is None:
            raise NotFound(f"there is no deployment called {name!r} here; check the name, or create it first")
        return found

    async def _owner(self, domain: str) -> DeploymentName | None:
        try:
            found = await self._house.directory.find_domain(domain)
        except Exception:
            # The control plane must stay within reach when the registry is not.
            log.exception("looking up the custom domain %s failed", domain)
            return None
        return found.name if found is not None else None

    async def _answer_others(self, scope: Scope, receive: Receive, send: Send) -> None:
        """WebSockets, and the server's start and end."""
        if scope["type"] == "websocket":
            await self._answer_websocket(scope, receive, send)
        elif self._fallback is not None:
            await self._fallback(scope, receive, send)
        elif scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})

    async def _answer_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The sync protocol, on the hosts that answer the function API."""
        if self._trusts_proxies:
            scope = self._hosts.believe(scope)
        try:
            place = self._hosts.find(scope["headers"])
            name = place.name if place.face is Face.FUNCTIONS else None
            if place.face is Face.ELSEWHERE and self._listener is Listener.MAIN:
                owner = await self._owner(place.domain) if place.may_be_custom else None
                name = self._default if owner is None else None
            if name is None or self._sync is None or not SYNC_PATH.match(scope["path"]):
                raise nothing_here(scope["path"])
            deployment = self._house.directory.known(name) or await self._find(name)
            if deployment.paused:
                raise _paused(deployment)
        except Exception as error:
            request_id = self._ids.next()
            if status_of(error) == 500:
                log.error("request %s failed", request_id, exc_info=error)
            await receive()
            await refuse(error, request_id, send)
        else:
            await self._sync.serve(name, scope, receive, send)

    # --- the log ----------------------------------------------------------------------------------------------------

    def _note(self, error: Exception, exchange: Exchange) -> None:
        code, message = public_words(error, exchange.request_id)
        exchange.note = f"{code}: {message[:200]}"
        if status_of(error) == 500:
            log.error("request %s failed", exchange.request_id, exc_info=error)

    def _write(self, name: DeploymentName, exchange: Exchange) -> None:
        status = exchange.status or 500
        took = exchange.elapsed()
        # As it was sent: a decoded path could hold line breaks, and two paths would look like one.
        path = exchange.scope["raw_path"].decode("ascii", "backslashreplace")
        what = path if exchange.kind in (None, Kind.HTTP_ACTION) else exchange.function
        text = f"{exchange.method} {what[:200]} {status} in {took:.1f} ms"
        if exchange.note:
            text = f"{text}: {exchange.note}"
        entry = LogEntry(
            self._house.clock.now(),
            _level(status, exchange.note),
            text,
            kind="request",
            request_id=exchange.request_id,
            function=exchange.function,
            function_kind=exchange.kind,
            status=status,
            duration=took,
        )
        self._house.logs.write(name, entry)


def _sync_door(house: House, callers: Callers) -> SyncDoor | None:
    if house.live is None:
        return None
    rooms = (house.hall, house.live, house.directory, callers, house.logs, house.clock, house.details)
    return SyncDoor(SyncRooms(*rooms))


def _version(deployment: Deployment) -> Version:
    if deployment.paused:
        raise _paused(deployment)
    if deployment.version is None:
        raise NotFound(
            f"nothing has been pushed to the deployment {deployment.name!r} yet; run 'warren deploy' in your project"
        )
    return deployment.version


def _paused(deployment: Deployment) -> DeploymentPaused:
    return DeploymentPaused(f"the deployment {deployment.name!r} is paused by its operator")


def _nowhere(place: Place) -> str:
    if place.face is Face.NOWHERE:
        return f"there is no deployment called {place.label!r} here: exactly one name stands in front of the domain"
    return f"nothing answers at the host {place.domain!r} here; use a deployment's host name"


def _level(status: int, note: str) -> Level:
    if status >= 500 or (note and status < 400):
        return Level.ERROR  # a function that failed, or a stream that was cut
    return Level.WARN if note else Level.INFO
