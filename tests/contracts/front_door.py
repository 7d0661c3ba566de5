"""A front door on real sockets, with a hall behind it that the test writes.

Not a mock of the conductor: another thing that answers invocations, so that the door's own promises can be tried
without a sandbox. The walks try the same door with the real conductor.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.edge.app import App, Door, House
from runtime.edge.connections.connection import Connection, listen
from runtime.edge.files.door import FileDoor
from runtime.edge.hosts import Addresses, Listener
from runtime.edge.problems import Details
from runtime.execution.conductor import Timing
from runtime.identity import BadToken, KnownUser
from runtime.invocation import Deployment, Failed, HttpInvocation, Invocation, Outcome, Version
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.ports import Following, LogEntry, LogQuery
from runtime.protocol import values
from runtime.protocol.declaration import (
    Cors,
    Declaration,
    FunctionDeclaration,
    Kind,
    RouteDeclaration,
    Shape,
    Visibility,
)
from runtime.protocol.messages import HeaderList
from runtime.syscalls.settling.tickets import Ticket
from tests.contracts.serving import serving

NAME = DeploymentName("happy-otter-123")
KEY = "Convex happy-otter-123|secret"


def route(method: str, pattern: str, cors: Cors | None = None) -> RouteDeclaration:
    """A route as a bundle declares it."""
    shape = Shape.PARAMETERS if "{" in pattern else Shape.EXACT
    if method == "*":
        shape = Shape.MOUNT
    elif pattern.endswith("/") and pattern != "/":
        shape = Shape.PREFIX
    return RouteDeclaration(f"{method} {pattern}", method, pattern, shape, "http:handler", "http.py", 1, cors)


def function(path: str, kind: Kind, visibility: Visibility = Visibility.PUBLIC) -> FunctionDeclaration:
    """A function as a bundle declares it."""
    return FunctionDeclaration(path, kind, visibility, "messages.py", 1)


def deployment(declaration: Declaration | None, name: DeploymentName = NAME) -> Deployment:
    """A deployment that runs this, or has never been pushed to."""
    version = None if declaration is None else Version(VersionNumber(1), "0" * 64, {}, declaration)
    return Deployment(name, version, {})


@dataclass
class Reply:
    """What an HTTP action answers; a list as body is streamed."""

    status: int = 200
    headers: HeaderList = field(default_factory=list)
    body: bytes = b""
    last: bool = True
    rest: AsyncIterator[bytes] | None = None
    timing: Timing = field(default_factory=lambda: Timing(0.25, 0.0, 1.5))
    taken: int = 0
    abandoned: bool = False

    async def more(self) -> tuple[bytes, bool]:
        assert self.rest is not None
        try:
            return await anext(self.rest), False
        except StopAsyncIteration:
            return b"", True

    def took(self, amount: int) -> None:
        self.taken += amount

    def abandon(self) -> None:
        self.abandoned = True


Handler = Callable[[HttpInvocation], Awaitable[Reply | Failed]]


async def say(reply: Reply | Failed, invocation: HttpInvocation) -> Reply | Failed:
    """A handler that always answers this, once its first argument is given."""
    return reply


class Hall:
    """Answers each route as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.asked: list[HttpInvocation] = []
        self.asked_at_once: list[RequestId] = []
        self.ran: list[Invocation] = []
        self.outcome: Outcome | Exception | None = None

    def ask(self, invocation: HttpInvocation, heard: Callable[[Reply | Failed | Exception], None]) -> "Asked":
        self.asked_at_once.append(invocation.request_id)
        return Asked(asyncio.get_running_loop().create_task(self._tell(invocation, heard)))

    async def _tell(self, invocation: HttpInvocation, heard: Callable[[Reply | Failed | Exception], None]) -> None:
        try:
            told: Reply | Failed | Exception = await self.answer(invocation)
        except Exception as error:
            told = error
        heard(told)

    async def answer(self, invocation: HttpInvocation) -> Reply | Failed:
        self.asked.append(invocation)
        handler = self.handlers.get(invocation.route)
        return await handler(invocation) if handler is not None else Reply(body=invocation.url.encode())

    async def run(self, invocation: Invocation, ticket: Ticket | None = None) -> Outcome:
        self.ran.append(invocation)
        assert self.outcome is not None
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Asked:
    """A handler that has not answered yet."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task

    def silence(self) -> None:
        self._task.cancel()


class Names:
    """The deployments that exist; half of them are only found by waiting."""

    def __init__(self, *deployments: Deployment) -> None:
        self.all = {one.name: one for one in deployments}
        self.domains: dict[str, DeploymentName] = {}

    def known(self, name: DeploymentName) -> Deployment | None:
        return self.all.get(name) if len(name) % 2 else None

    async def find(self, name: DeploymentName) -> Deployment | None:
        await asyncio.sleep(0)
        return self.all.get(name)

    async def find_domain(self, domain: str) -> Deployment | None:
        name = self.domains.get(domain)
        return await self.find(name) if name is not None else None


class Journal:
    """Keeps every entry."""

    def __init__(self) -> None:
        self.entries: list[tuple[DeploymentName, LogEntry]] = []

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        self.entries.append((name, entry))

    async def read(self, name: DeploymentName, query: LogQuery) -> list[LogEntry]:
        return [entry for owner, entry in self.entries if owner == name][: query.limit]

    def follow(self, name: DeploymentName, query: LogQuery) -> Following:
        raise NotImplementedError("nobody follows this journal")

    async def forget(self, name: DeploymentName) -> None:
        self.entries = [pair for pair in self.entries if pair[0] != name]


class Midnight:
    """A clock that stands still."""

    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


async def admits(name: DeploymentName, authorization: str) -> bool:
    """Whether this is the key of the test's deployment."""
    return authorization == KEY and name == NAME


async def identify(deployment: Deployment, token: str) -> KnownUser | BadToken:
    """Whom the test's provider vouches for: the text of a good token is its user's name."""
    if token.startswith("good-"):
        return KnownUser(values.encode({"subject": token}), f"https://provider.example|{token}")
    return BadToken("Unauthenticated", "the token is not a good one")


async def control_plane(scope: Any, receive: Any, send: Any) -> None:
    """What answers everything that is no deployment's."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = f"control plane for {scope['scheme']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Front:
    """A running front door."""

    hall: Hall
    names: Names
    journal: Journal
    port: int

    async def raw(self, *pieces: bytes | asyncio.Event) -> bytes:
        """Send bytes as they are (waiting for an event where one stands), and read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(20):
                for piece in pieces:
                    if isinstance(piece, asyncio.Event):
                        await piece.wait()
                    else:
                        writer.write(piece)
                        await writer.drain()
                return await reader.read()
        finally:
            writer.close()

    async def ask(
        self, method: str, target: str, *headers: str, host: str = f"{NAME}.site.localhost", body: bytes = b""
    ) -> "Answer":
        """One request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return Answer.read(await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body))


@dataclass
class Answer:
    """A response, taken apart. ``whole`` says whether its framing came to its end."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    whole: bool

    @classmethod
    def read(cls, data: bytes) -> "Answer":
        """Take apart the bytes of one response."""
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers.setdefault(name, []).append(value)
        if headers.get("transfer-encoding") == ["chunked"]:
            body, whole = _unchunk(rest)
        else:
            length = headers.get("content-length")
            body, whole = rest, length is None or int(length[0]) == len(rest)
        return cls(int(first.split(" ")[1]), headers, body, whole)

    def __getitem__(self, name: str) -> str:
        (value,) = self.headers[name]
        return value


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if size == b"0":
            return body, data == b"\r\n"
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body, False


@asynccontextmanager
async def opened(
    declaration: Declaration | None,
    *,
    listener: Listener = Listener.MAIN,
    addresses: Addresses | None = None,
    details: Details = Details.HIDE,
    connection: type[Connection] = Connection,
    fallback: App | None = control_plane,
    files: FileDoor | None = None,
) -> AsyncIterator[Front]:
    """Open a front door for a deployment that declared this."""
    hall, names, journal = Hall(), Names(deployment(declaration)), Journal()
    house = House(hall, names, journal, Midnight(), admits, identify, details, "0.0.1", files=files)
    door = Door(house, addresses or Addresses("site.localhost", "cloud.localhost"), listener, fallback)
    async with serving(listen(door, host="127.0.0.1", port=0, connection=connection)) as port:
        yield Front(hall, names, journal, port)


def paused(front: Front) -> None:
    """Pause the deployment, as the control plane would."""
    front.names.all[NAME] = replace(front.names.all[NAME], paused=True)
