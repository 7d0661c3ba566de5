"""Who answers at a deployment's site, and how does the answer get out?

::

    which function? → an invocation → its answer → a log line

Rules
1. From the moment an `HttpInvocation` is made nobody looks at a header to decide anything.
2. Where nothing has to be waited for, a request has no task: the function is asked in the turn in which the head has
   come, and the client gets its answer in the turn in which that comes, if it is whole. Whatever is otherwise goes on
   in a task, and ends in the same way.
3. Only a server that stops cancels a request, when it has waited long enough; its client is told so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from runtime.edge import cors
from runtime.edge.connections.cycle import Cycle
from runtime.edge.diary import Diary
from runtime.edge.exchange import Answer, Exchange, Send
from runtime.edge.hosts import Place, Scope
from runtime.edge.intake import Body, ClientLeft, Receive, read_target
from runtime.edge.leaving import Departures
from runtime.edge.problems import Details, failed_action, paused, site_problem, status_of
from runtime.edge.routes import METHODS, Match, RouteTables
from runtime.errors import DeveloperMistake, MethodNotAllowed, NotFound, Stopping
from runtime.identification.callers import Callers
from runtime.identity import NOBODY
from runtime.invocation import Deployment, Failed, HttpInvocation, Version
from runtime.names import DeploymentName, RequestIds
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Reason

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_ANSWER = (Failed, Exception)


class Asking(Protocol):
    """A function that was asked and has not answered yet."""

    def silence(self) -> None: ...


class Hall(Protocol):
    """Who runs HTTP actions: the conductor."""

    def ask(
        self, invocation: HttpInvocation, heard: Callable[[Answer | Failed | Exception], None]
    ) -> Asking | None: ...
    async def answer(self, invocation: HttpInvocation) -> Answer | Failed: ...


class Rooms(NamedTuple):
    """What a site is answered with. ``known`` and ``find`` are the directory's."""

    hall: Hall
    known: Callable[[DeploymentName], Deployment | None]
    find: Callable[[DeploymentName], Awaitable[Deployment]]
    callers: Callers
    diary: Diary
    details: Details


class SiteDoor:
    """Answers what comes to the sites of deployments."""

    def __init__(self, rooms: Rooms, ids: RequestIds) -> None:
        self._rooms = rooms
        self._ids = ids
        self._tables = RouteTables()
        self._departures = Departures()

    def begin(self, name: DeploymentName, place: Place, exchange: Exchange, cycle: Cycle) -> bool:
        """Ask the function of a request without a body at once; ``False``, and nothing is done, where something has to
        be waited for or said."""
        deployment = self._rooms.known(name)
        if deployment is None:
            return False
        exchange.deployment = name
        visit = _Visit(self, exchange, cycle)
        try:
            version, _, url, match = self._read(deployment, place, exchange)
            if match is None:
                return False
            invocation = self._invocation(deployment, version, url, match, exchange, None)
            visit.asking = self._rooms.hall.ask(invocation, visit.heard)
        except Exception:
            return False  # a task will come upon the same, and tell the client
        if visit.asking is None:
            return False
        cycle.under_way.add(visit)
        self._departures.enter(exchange)
        return True

    async def answer(self, name: DeploymentName, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it takes."""
        exchange = Exchange(scope, receive, send, self._ids.next())
        self._departures.enter(exchange)
        await self.see_through(exchange, self._tell(name, place, exchange))

    async def see_through(self, exchange: Exchange, work: Awaitable[None]) -> None:
        """Do what is left of a request, to its line in the log."""
        diary = self._rooms.diary
        try:
            await work
        except ClientLeft as error:
            exchange.note = str(error)
            exchange.status = exchange.status or status_of(error)
        except DeveloperMistake as error:
            await self._refuse_failed(Failure(Reason.RETURNS, error.code, str(error)), exchange)
        except asyncio.CancelledError:
            stopping = Stopping("the server stopped")
            diary.note(stopping, exchange)
            await exchange.refuse(site_problem(stopping, exchange.request_id))
        except Exception as error:
            diary.note(error, exchange)
            await exchange.refuse(site_problem(error, exchange.request_id))
        finally:
            self.close(exchange)

    def close(self, exchange: Exchange) -> None:
        """A request is over."""
        self._departures.close(exchange)
        self._rooms.diary.write(exchange)

    async def hand_over(self, answer: Answer | Failed | Exception, exchange: Exchange) -> None:
        """Send what a function answered, or raise why it did not."""
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Failed):
            await self._refuse_failed(answer.failure, exchange)
        else:
            await exchange.deliver(answer)

    async def _tell(self, name: DeploymentName, place: Place, exchange: Exchange) -> None:
        deployment = self._rooms.known(name) or await self._rooms.find(name)
        exchange.deployment = name
        version, path, url, match = self._read(deployment, place, exchange)
        if match is None:
            await self._answer_unmatched(version, path, exchange)
            return
        body = None if exchange.method in BODILESS else await exchange.open_body()
        invocation = self._invocation(deployment, version, url, match, exchange, body)
        await self.hand_over(await self._rooms.hall.answer(invocation), exchange)

    def _read(self, deployment: Deployment, place: Place, exchange: Exchange) -> tuple[Version, str, str, Match | None]:
        """The version, path and URL that a request is about, and the route; the rules for other origins are kept."""
        version = _version(deployment)
        scope = exchange.scope
        path, target = read_target(scope["raw_path"], scope["query_string"])
        match = self._tables.of(version).find(exchange.method, path)
        allowance = version.declaration.cors
        if match is not None and match.route.cors is not None:
            allowance = match.route.cors
        if allowance is not None:
            exchange.cors = cors.answer_headers(allowance, exchange.headers)
        return version, path, place.origins[scope["scheme"]] + target, match

    def _invocation(
        self,
        deployment: Deployment,
        version: Version,
        url: str,
        match: Match,
        exchange: Exchange,
        body: bytes | Body | None,
    ) -> HttpInvocation:
        exchange.function, exchange.kind = match.route.key, Kind.HTTP_ACTION
        authorization = cors.header(exchange.headers, b"authorization")
        return HttpInvocation(
            deployment,
            version,
            match.route.key,
            exchange.method,
            url,
            exchange.headers,
            match.parameters,
            body,
            exchange.request_id,
            exchange.client,
            self._rooms.callers.claimed(deployment, authorization) if authorization else NOBODY,
        )

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
            match = table.find(wanted, path)
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

    async def _refuse_failed(self, failure: Failure, exchange: Exchange) -> None:
        """Tell the client of a failed function as much as the operator allows; an administrator always sees all."""
        exchange.note = f"{failure.exception}: {failure.message[:200]}"
        details, callers, name = self._rooms.details, self._rooms.callers, exchange.deployment
        authorization = cors.header(exchange.headers, b"authorization") or b""
        if details is Details.HIDE and name and authorization and await callers.is_administrator(name, authorization):
            details = Details.SHOW
        await exchange.refuse(failed_action(failure, exchange.request_id, details))


class _Visit:
    """A request without a task."""

    __slots__ = ("_cycle", "_exchange", "_site", "asking")

    def __init__(self, site: SiteDoor, exchange: Exchange, cycle: Cycle) -> None:
        self._site = site
        self._exchange = exchange
        self._cycle = cycle
        self.asking: Asking | None = None

    def heard(self, answer: Answer | Failed | Exception) -> None:
        """The function has answered, or cannot."""
        if self.asking is None:
            return  # it was cancelled meanwhile
        self.asking = None  # which holds us
        try:
            done = not isinstance(answer, _NO_ANSWER) and self._exchange.deliver_at_once(answer)
        except Exception:
            done = False  # a task will come upon the same, and tell the client
        if done:
            self._cycle.under_way.discard(self)
            self._site.close(self._exchange)
        else:
            self._go_on(answer)

    def cancel(self, msg: str | None = None) -> None:
        """The server stops, and does not wait for the answer."""
        if self.asking is not None:
            self.asking.silence()
            self.asking = None
            # Not now: who cancels goes through all that is under way.
            asyncio.get_running_loop().call_soon(self._go_on, Stopping("the server stopped"))

    def _go_on(self, answer: Answer | Failed | Exception) -> None:
        site, exchange = self._site, self._exchange

        async def rest(scope: Scope, receive: Receive, send: Send) -> None:
            await site.see_through(exchange, site.hand_over(answer, exchange))

        self._cycle.under_way.discard(self)
        self._cycle.go_on(rest).add_done_callback(self._see_to_it)

    def _see_to_it(self, task: asyncio.Task[None]) -> None:
        if not self._exchange.over:  # the task was cancelled before its first step
            self._go_on(Stopping("the server stopped"))


def _version(deployment: Deployment) -> Version:
    if deployment.paused:
        raise paused(deployment.name)
    if deployment.version is None:
        raise NotFound(
            f"nothing has been pushed to the deployment {deployment.name!r} yet; run 'warren deploy' in your project"
        )
    return deployment.version
