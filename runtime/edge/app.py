"""The story of one request.

::

    a request id → whose house? → what do they run? → which function? → an invocation → its answer → a log line

The outermost room: a raw ASGI application, one per listening port. It decides by the Host header between a deployment's
site, its function API and whatever stands beside them (`fallback`: the control plane).

Rules
1. Every answer carries ``X-Request-Id`` and ``Server-Timing``, refusals too; every finished request of a deployment is
   one line of its log.
2. An exception that nobody foresaw is ours: it is logged with the request id, and the client reads only that.
3. Only a server that stops cancels a request, when it has waited long enough; its client is told so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.edge import cors
from runtime.edge.connections.cycle import Cycle
from runtime.edge.diary import Diary
from runtime.edge.exchange import Exchange, Send
from runtime.edge.files.door import FileDoor
from runtime.edge.function_api import FunctionApi, Queries, Services, is_function_path
from runtime.edge.functions.tools import METHODS as UNLOGGED
from runtime.edge.functions.tools import Steward, Tools
from runtime.edge.hosts import Addresses, Face, Hosts, Listener, Place, Scope
from runtime.edge.intake import ClientLeft, Receive, read_target
from runtime.edge.problems import Details, json_problem, paused, site_problem, status_of
from runtime.edge.site.door import BODILESS, SiteDoor
from runtime.edge.site.door import Hall as SiteHall
from runtime.edge.site.door import Rooms as SiteRooms
from runtime.edge.sync.door import SYNC_PATH, SyncDoor, nothing_here, refuse
from runtime.edge.sync.session import Rooms as SyncRooms
from runtime.edge.sync.session import Runner
from runtime.errors import CallerMistake, NotFound, Stopping
from runtime.execution.live.live import Live
from runtime.identification.callers import Admits, Callers, Identify
from runtime.invocation import Deployment
from runtime.names import DeploymentName, RequestIds
from runtime.ports import Clock, Logs

log = logging.getLogger("warren.edge")

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Hall(Runner, SiteHall, Protocol):
    """Who runs things: the conductor."""


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
        self._ids = RequestIds()
        self._diary = Diary(house.logs, house.clock)
        self._callers = Callers(house.identify, house.admits)
        tools = Tools(house.logs, house.steward, house.release)
        self._functions = FunctionApi(
            Services(house.hall, self._callers, house.details, tools, house.queries, house.files)
        )
        self._site = SiteDoor(
            SiteRooms(house.hall, house.directory.known, self._find, self._callers, self._diary, house.details),
            self._ids,
        )
        self._sync = _sync_door(house, self._callers)

    def begin(self, scope: Scope, receive: Receive, send: Send, cycle: Cycle) -> bool:
        """Have a request answered without a task, if nothing has to be waited for; else nothing is done."""
        if scope["method"] not in BODILESS:
            return False
        if self._trusts_proxies:
            scope = self._hosts.believe(scope)
        try:
            place = self._hosts.find(scope["headers"])
        except CallerMistake:
            return False
        if place.face is not Face.SITE or place.name is None:
            return False
        return self._site.begin(place.name, place, Exchange(scope, receive, send, self._ids.next()), cycle)

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
            await self._site.answer(place.name, place, scope, receive, send)
        else:
            await self._answer_place(place, scope, receive, send)

    # --- everything else --------------------------------------------------------------------------------------------

    async def _answer_place(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        if place.may_be_custom:
            owner = await self._owner(place.domain)
            if owner is not None:
                await self._site.answer(owner, place, scope, receive, send)
                return
        if place.face is Face.ELSEWHERE and self._listener is Listener.SITE and self._default is not None:
            await self._site.answer(self._default, place, scope, receive, send)
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
        try:
            deployment = self._house.directory.known(name) or await self._find(name)
            exchange.deployment = name
            path, _ = read_target(scope["raw_path"], scope["query_string"])
            if deployment.paused:
                raise paused(name)
            await self._functions.answer(deployment, path, exchange)
        except ClientLeft as error:
            exchange.status = status_of(error)
        except asyncio.CancelledError:
            stopping = Stopping("the server stopped")
            self._diary.note(stopping, exchange)
            await exchange.refuse(json_problem(stopping, exchange.request_id))
        except Exception as error:
            self._diary.note(error, exchange)
            await exchange.refuse(json_problem(error, exchange.request_id))
        finally:
            # Who reads the log must not find that they read it.
            if scope["path"] not in UNLOGGED:
                self._diary.write(exchange)

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
                raise paused(name)
        except Exception as error:
            request_id = self._ids.next()
            if status_of(error) == 500:
                log.error("request %s failed", request_id, exc_info=error)
            await receive()
            await refuse(error, request_id, send)
        else:
            await self._sync.serve(name, scope, receive, send)


def _sync_door(house: House, callers: Callers) -> SyncDoor | None:
    if house.live is None:
        return None
    rooms = (house.hall, house.live, house.directory, callers, house.logs, house.clock, house.details)
    return SyncDoor(SyncRooms(*rooms))


def _nowhere(place: Place) -> str:
    if place.face is Face.NOWHERE:
        return f"there is no deployment called {place.label!r} here: exactly one name stands in front of the domain"
    return f"nothing answers at the host {place.domain!r} here; use a deployment's host name"
