"""What may one client say when, and what is done about it?

Messages are heard one by one, in the order in which they came. Mutations run one after the other, actions side by side,
queries in `updates`. Knows no socket: it hears messages and says others on a `Wire`.

Rules
1. Nothing that a function does ends the connection: a wrong name, a wrong kind, wrong arguments and what a function
   raises are answers. Only a broken protocol is fatal; what cannot be served now is a close, and clients come back.
2. A mutation's answer is said before any transition that shows it, and a transition always follows.
3. A token is verified before the next message is looked at. One that proves nothing ends the session: the client hears
   so and has a moment to close by itself.
4. A mutation carries its session's id and its number, and is run once however often it is sent. The id comes with
   `Connect`. The npm client leaves that out when it was made with ``expectAuth`` and is given its token only after
   the socket has opened; it is served, and its mutations are run whenever they are sent.
"""

import asyncio
import base64
import json
import logging
from collections import deque
from dataclasses import dataclass
from typing import Protocol, assert_never

from runtime import limits
from runtime.edge.functions.arguments import read_and_spell, read_arguments
from runtime.edge.problems import Details, public_words
from runtime.edge.sync import messages
from runtime.edge.sync.messages import Malformed
from runtime.edge.sync.updates import Caller, Updates, Wanted
from runtime.edge.sync.wire import Gone, Wire
from runtime.errors import BadRequest, NotFound, TooLarge, Unauthorized, WarrenError
from runtime.execution.finding import find_function
from runtime.execution.live.live import Attendance, Live
from runtime.identification.callers import Callers
from runtime.identity import KnownUser
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded
from runtime.names import DeploymentName, InvalidName, RequestId, RequestIds, parse_function_path
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Failure, Level, Reason
from runtime.syscalls.settling.tickets import Ticket

log = logging.getLogger("warren.sync")

GRACE = 2.0  # seconds for a client to close after an `AuthError`; who closes itself comes back sooner

Call = messages.Mutation | messages.Action


class Runner(Protocol):
    """Who runs functions: the conductor."""

    async def run(self, invocation: Invocation, ticket: Ticket | None = None) -> Outcome: ...


class Lookup(Protocol):
    """Who knows the deployments: the directory."""

    async def find(self, name: DeploymentName) -> Deployment | None: ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """What sessions work with."""

    runner: Runner
    live: Live
    directory: Lookup
    callers: Callers
    logs: Logs
    clock: Clock
    details: Details


class Over(Exception):
    """This session is to be closed, with this code and for this reason."""

    def __init__(self, code: int, reason: str, grace: float = 0.0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.grace = grace


class Session:
    """One client of one deployment."""

    def __init__(self, rooms: Rooms, name: DeploymentName, wire: Wire) -> None:
        self._rooms = rooms
        self._name = name
        self._wire = wire
        self._ids = RequestIds()
        self._id: str | None = None
        self._caller = Caller()
        self._attendance: Attendance | None = None
        self._updates: Updates | None = None
        self._mutations: deque[messages.Mutation] = deque()
        self._mutating: asyncio.Task[None] | None = None
        self._actions: set[asyncio.Task[None]] = set()
        self.over: asyncio.Future[Over] = asyncio.get_running_loop().create_future()

    async def begin(self) -> None:
        """Take a place in the deployment."""
        self._attendance = await self._rooms.live.attend(self._name, self)
        self._updates = Updates(self._attendance, self._wire, self._rooms.clock, self._rooms.details, self._failed)

    async def end(self) -> None:
        """The client has gone, or goes: what it asked for is stopped, but for the mutation that runs."""
        self._mutations.clear()
        for action in self._actions:
            action.cancel()
        if self._updates is not None:
            await self._updates.end()
        if self._attendance is not None:
            self._attendance.leave()

    async def say(self, text: str) -> None:
        """Send a message of the protocol."""
        await self._wire.say(text)

    def deployment_changed(self) -> None:
        """See `Attendant`."""
        if self._updates is None:
            return  # it has not begun, and asks for the newest anyway
        checking = asyncio.get_running_loop().create_task(self._check_deployment())
        self._actions.add(checking)
        checking.add_done_callback(self._actions.discard)
        self._updates.schedule()

    # --- messages -----------------------------------------------------------------------------------------------------

    async def hear(self, text: str) -> None:
        """Do what a client says; raises `Over` when that is the end."""
        try:
            message = messages.read(text)
            match message:
                case messages.Connect():
                    self._connect(message)
                case messages.Event():
                    self._greet()
                case messages.ModifyQuerySet():
                    self._modify(message)
                case messages.Mutation():
                    await self._queue_mutation(message)
                case messages.Action():
                    await self._begin_action(message)
                case messages.Authenticate():
                    await self._authenticate(message)
                case _:
                    assert_never(message)
        except Malformed as error:
            await self._wire.say(messages.fatal_error(str(error)))
            raise Over(1000, str(error)) from None

    def _connect(self, message: messages.Connect) -> None:
        if self._id is not None:
            raise Malformed("Connect was said twice; it is the first message and only that")
        self._id = message.session_id
        updates = self._greet()
        if message.client_ts:
            updates.skew = int(message.client_ts - self._rooms.clock.now())

    def _greet(self) -> Updates:
        self._wire.greeted = True
        assert self._updates is not None
        return self._updates

    def _modify(self, message: messages.ModifyQuerySet) -> None:
        updates = self._greet()
        if message.base_version != updates.wanted.query_set or message.new_version <= message.base_version:
            raise Malformed(
                f"ModifyQuerySet goes from version {message.base_version} to {message.new_version}, "
                f"and the query set is at {updates.wanted.query_set}"
            )
        changes: list[tuple[int, Wanted | None]] = []
        ids: dict[int, bool] = {}
        for change in message.modifications:
            added = isinstance(change, messages.Add)
            if ids.get(change.query_id, updates.knows(change.query_id)) is added:
                raise Malformed(f"query {change.query_id} is {'there already' if added else 'not there'}")
            ids[change.query_id] = added
            changes.append((change.query_id, _wanted(change) if isinstance(change, messages.Add) else None))
        if len(updates) + sum(1 if added else -1 for added in ids.values()) > limits.SYNC_QUERIES:
            raise Over(1000, f"TooManyQueries: more than {limits.SYNC_QUERIES} on one connection")
        updates.modify(message.new_version, changes)

    async def _authenticate(self, message: messages.Authenticate) -> None:
        updates = self._greet()
        if message.base_version != updates.wanted.identity:
            raise Malformed(
                f"Authenticate has the base version {message.base_version}, and the identity is at "
                f"{updates.wanted.identity}"
            )
        header = _header(message)
        try:
            if header is None:
                self._caller = Caller()
            else:
                found = await self._rooms.callers.find(await self._deployment(), header)
                self._caller = Caller(found.identity, found.administrator)
        except Unauthorized as error:
            await self._wire.say(messages.auth_error(str(error), updates.wanted.identity, attempted=True))
            raise Over(1000, "", GRACE) from None
        updates.speak_for(self._caller)

    # --- functions ----------------------------------------------------------------------------------------------------

    async def _queue_mutation(self, message: messages.Mutation) -> None:
        self._greet()
        await self._require_fresh()
        if len(self._mutations) >= limits.SYNC_MUTATIONS:
            raise Over(1013, f"TooManyConcurrentRequests: {limits.SYNC_MUTATIONS} mutations wait on this connection")
        self._mutations.append(message)
        if self._mutating is None:
            self._mutating = asyncio.get_running_loop().create_task(self._run_mutations())

    async def _run_mutations(self) -> None:
        try:
            while self._mutations:
                message = self._mutations.popleft()
                outcome, request_id = await self._run(message, Kind.MUTATION)
                # Between the commit and this word nothing is awaited that others could overtake.
                await self._wire.say(messages.mutation_response(message.request_id, outcome, request_id, self._shown()))
                assert self._updates is not None
                self._updates.owe()
        except Exception as error:
            self._failed(error)
        self._mutating = None

    async def _begin_action(self, message: messages.Action) -> None:
        self._greet()
        await self._require_fresh()
        if len(self._actions) >= limits.SYNC_ACTIONS:
            raise Over(1013, f"TooManyConcurrentRequests: {limits.SYNC_ACTIONS} actions run on this connection")
        action = asyncio.get_running_loop().create_task(self._run_action(message))
        self._actions.add(action)
        action.add_done_callback(self._actions.discard)

    async def _run_action(self, message: messages.Action) -> None:
        try:
            outcome, request_id = await self._run(message, Kind.ACTION)
            await self._wire.say(messages.action_response(message.request_id, outcome, request_id, self._shown()))
        except Exception as error:
            self._failed(error)

    async def _run(self, message: Call, kind: Kind) -> tuple[Outcome, RequestId]:
        request_id, began = self._ids.next(), self._rooms.clock.monotonic()
        try:
            outcome = await self._call(message, kind, request_id)
        except WarrenError as error:
            code, words = public_words(error, request_id)
            outcome = Failed(Failure(Reason.UNKNOWN, code, words))
        self._write(message.udf_path, kind, outcome, request_id, began)
        return outcome, request_id

    async def _call(self, message: Call, kind: Kind, request_id: RequestId) -> Outcome:
        deployment = await self._deployment()
        caller = self._caller
        try:
            path = parse_function_path(message.udf_path)
            args = read_arguments(message.args if message.args is not None else {})
        except InvalidName as error:
            return Failed(Failure(Reason.UNKNOWN, "InvalidName", str(error)))
        except (BadRequest, TooLarge) as error:
            return Failed(Failure(Reason.UNKNOWN, "ArgumentValidationError", str(error)))
        found = find_function(deployment.version, path, kind, caller.administrator)
        if isinstance(found, Failure):
            return Failed(found)
        assert deployment.version is not None
        invocation = Invocation(deployment, deployment.version, path, kind, args, request_id, identity=caller.identity)
        if isinstance(message, messages.Action):
            return await self._rooms.runner.run(invocation)
        ticket = None if self._id is None else Ticket(self._name, self._id, message.request_id)
        return await self._rooms.runner.run(invocation, ticket)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _deployment(self) -> Deployment:
        deployment = await self._rooms.directory.find(self._name)
        if deployment is None:
            raise NotFound(f"there is no deployment called {self._name!r} here any more")
        return deployment

    async def _check_deployment(self) -> None:
        try:
            if (await self._deployment()).paused:
                self._finish(Over(1013, "DeploymentPaused: the operator has paused this deployment"))
        except Exception as error:
            self._failed(error)

    async def _require_fresh(self) -> None:
        identity = self._caller.identity
        if isinstance(identity, KnownUser) and identity.expires_at is not None:
            if identity.expires_at > self._rooms.clock.now():
                return
            assert self._updates is not None
            version = self._updates.wanted.identity
            await self._wire.say(messages.auth_error("the token has expired", version, attempted=False))
            raise Over(1000, "", GRACE)

    def _failed(self, error: Exception) -> None:
        """Something that serves this client cannot go on."""
        match error:
            case Gone():
                return
            case Over():
                self._finish(error)
            case NotFound():
                self._finish(Over(1000, f"NotFound: {error}"))
            case WarrenError():
                self._finish(Over(1013, f"{error.code}: try again"))
            case _:
                log.error("a sync session of %s failed", self._name, exc_info=error)
                self._finish(Over(1011, "InternalServerError: try again"))

    def _finish(self, over: Over) -> None:
        if not self.over.done():
            self.over.set_result(over)

    def _shown(self) -> Details:
        return Details.SHOW if self._caller.administrator else self._rooms.details

    def _write(self, path: str, kind: Kind, outcome: Outcome, request_id: RequestId, began: float) -> None:
        took = (self._rooms.clock.monotonic() - began) * 1000
        worked = isinstance(outcome, Succeeded)
        text = f"{kind} {path[:200]} {'done' if worked else 'failed'} in {took:.1f} ms"
        if isinstance(outcome, Failed):
            text = f"{text}: {outcome.failure.exception}"
        entry = LogEntry(
            self._rooms.clock.now(),
            Level.INFO if worked else Level.ERROR,
            text,
            kind="request",
            request_id=request_id,
            function=path[:200],
            function_kind=kind,
            duration=took,
        )
        self._rooms.logs.write(self._name, entry)


def _wanted(add: messages.Add) -> Wanted:
    try:
        encoded, spelling = read_and_spell(add.args if add.args is not None else {})
    except (BadRequest, TooLarge) as error:
        return Wanted(add.udf_path, b"", b"", add.journal, str(error))
    return Wanted(_spell_path(add.udf_path), encoded, spelling, add.journal)


def _spell_path(text: str) -> str:
    try:
        return str(parse_function_path(text))
    except InvalidName:
        return text


def _header(message: messages.Authenticate) -> bytes | None:
    """The same as a header of HTTP: one place knows what keys and tokens look like."""
    match message.token_type:
        case "None":
            return None
        case "User":
            return b"Bearer " + (message.value or "").encode("utf-8", "replace")
        case "Admin":
            acting_as = message.impersonating or message.acting_as
            suffix = b""
            if acting_as is not None:
                suffix = b":" + base64.b64encode(json.dumps(acting_as).encode())
            return b"Convex " + (message.value or "").encode("utf-8", "replace") + suffix
        case _:
            raise Malformed(f"there is no tokenType {message.token_type[:40]!r}; use User, Admin or None")
