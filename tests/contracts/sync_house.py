"""A deployment whose functions are programs of the test, behind a real front door, for clients that speak over sockets.

Documents, transactions, tickets and subscriptions are the house's own; only what runs behind the wall is not there. The
walks try the same with all of it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from runtime.adapters.logs.memory import MemoryLogs
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.edge.app import Door, House
from runtime.edge.connections.connection import listen
from runtime.edge.function_api import Queries
from runtime.edge.hosts import Addresses, Listener
from runtime.edge.problems import Details
from runtime.execution.live.live import Live
from runtime.execution.live.moments import Moments
from runtime.execution.observing import Observer
from runtime.execution.system_functions import SystemFunctions
from runtime.identity import BadToken, KnownUser, NoIdentity, settled
from runtime.invocation import Deployment, Failed, HttpInvocation, Invocation, Outcome, Succeeded, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import Order
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Kind, Visibility
from runtime.protocol.messages import Failure, Reason
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.settling.tickets import Ticket, Tickets
from runtime.syscalls.transaction import Transaction, Transactions
from tests.contracts.front_door import KEY, NAME, Names, Reply, admits, function
from tests.contracts.serving import serving

HOST = f"{NAME}.cloud.localhost"
ADMIN_KEY = KEY.partition(" ")[2]
DECLARED = Declaration(
    functions=(
        function("messages:list", Kind.QUERY),
        function("messages:big", Kind.QUERY),
        function("messages:fail", Kind.QUERY),
        function("messages:whoami", Kind.QUERY),
        function("messages:secret", Kind.QUERY, Visibility.INTERNAL),
        function("messages:send", Kind.MUTATION),
        function("messages:fail_send", Kind.MUTATION),
        function("messages:echo", Kind.ACTION),
        function("messages:wait", Kind.ACTION),
    )
)


class Noon:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000.0

    def now(self) -> float:
        return self.milliseconds

    def monotonic(self) -> float:
        return self.milliseconds / 1000


class Functions:
    """What runs behind the wall elsewhere: the functions of `DECLARED`."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self.tickets = Tickets()
        self.ran: list[str] = []
        self.waiting = asyncio.Event()

    def ask(self, invocation: HttpInvocation, heard: Callable[[Reply | Failed | Exception], None]) -> None:
        return None  # everything waits here

    async def answer(self, invocation: HttpInvocation) -> Reply | Failed:
        return Reply(body=b"an HTTP action")

    async def run(self, invocation: Invocation, ticket: Ticket | None = None) -> Outcome:
        arguments = values.decode(invocation.args)
        match str(invocation.path):
            case "messages:send":
                return await self._send(arguments, ticket)
            case "messages:fail_send":
                self.ran.append("fail_send")
                data = values.encode({"code": 7})
                return Failed(Failure(Reason.APPLICATION, "ApplicationError", "no", (), data), ("[INFO] before",))
            case "messages:wait":
                await self.waiting.wait()
                return Succeeded(values.encode("waited"))
            case "messages:echo":
                return Succeeded(invocation.args, ("[INFO] echo",))
            case _:
                transaction = await self.transactions.begin(invocation.deployment.name)
                return (await self.observe(invocation, lambda: transaction))[0]

    async def observe(self, invocation: Invocation, begin: Callable[[], Transaction]) -> tuple[Outcome, Transaction]:
        transaction = begin()
        try:
            return await self._ask(invocation, transaction), transaction
        finally:
            transaction.abandon()

    async def _ask(self, invocation: Invocation, transaction: Transaction) -> Outcome:
        match str(invocation.path):
            case "messages:list":
                everything = Bounds([], True, [], True)
                found = await transaction.scan("messages", "by_creation_time", everything, Order.ASCENDING, None, 1000)
                bodies = [values.decode(document)["body"] for document in found.documents]
                return Succeeded(values.encode(bodies), ("[INFO] listed",))
            case "messages:big":
                return Succeeded(values.encode("é" * int(values.decode(invocation.args)["size"])))
            case "messages:whoami":
                transaction.looked_at_identity = True
                found_user = await settled(invocation.identity)
                match found_user:
                    case NoIdentity():
                        return Succeeded(values.encode(None))
                    case KnownUser(claims):
                        return Succeeded(claims)
                    case BadToken(code, message):
                        return Failed(Failure(Reason.RAISED, code, message))
            case "messages:secret":
                return Succeeded(values.encode("secret"))
        return Failed(Failure(Reason.APPLICATION, "ApplicationError", "no", (), values.encode({"code": 7})))

    async def _send(self, arguments: Mapping[str, Any], ticket: Ticket | None) -> Outcome:
        transaction = await self.transactions.begin(NAME)
        if ticket is not None and (earlier := await self.tickets.recall(ticket, transaction)) is not None:
            transaction.abandon()
            return earlier
        body = arguments.get("body", "")  # nobody has looked at the arguments here
        self.ran.append(body)
        id = await transaction.insert("messages", {"body": body})
        outcome = Succeeded(values.encode(id), ("[INFO] sending",))
        if ticket is not None:
            self.tickets.remember(ticket, outcome, transaction)
        await transaction.commit()
        if ticket is not None:
            self.tickets.settled(ticket, transaction.position)
        return Succeeded(outcome.value, outcome.lines, transaction.position)


class Steward:
    """Keeps what it was asked to change."""

    def __init__(self) -> None:
        self.changed: list[Mapping[str, str | None]] = []

    async def change_variables(self, name: DeploymentName, wanted: Mapping[str, str | None]) -> Mapping[str, str]:
        self.changed.append(wanted)
        return {}


@dataclass
class Cloud:
    """A running server, and what stands behind it."""

    port: int
    names: Names
    functions: Functions
    live: Live
    logs: MemoryLogs
    clock: Noon
    steward: Steward = field(default_factory=Steward)

    @asynccontextmanager
    async def socket(self, path: str = "/api/sync", host: str = HOST) -> AsyncIterator["Wire"]:
        """A WebSocket to the deployment, on which nothing has been said."""
        url = f"ws://{host}:{self.port}{path}"
        async with connect(url, host="127.0.0.1", port=self.port, max_size=2**27, proxy=None) as connection:
            yield Wire(connection)

    @asynccontextmanager
    async def client(self, session: str = "a-session") -> AsyncIterator["Wire"]:
        """A WebSocket whose client has said who it is."""
        async with self.socket() as wire:
            await wire.say(
                "Connect", sessionId=session, connectionCount=0, lastCloseReason="InitialConnect", clientTs=0
            )
            yield wire


class Wire:
    """A client that says one message at a time, and can be surprised by none."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, type: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def hear(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self.connection.recv())

    async def add(self, version: int, **queries: str) -> None:
        """Subscribe to queries without arguments: ``q0="messages:list"``."""
        adding = [
            {"type": "Add", "queryId": int(number[1:]), "udfPath": path, "args": [{}]}
            for number, path in queries.items()
        ]
        await self.say("ModifyQuerySet", baseVersion=version, newVersion=version + 1, modifications=adding)

    async def send(self, number: int, body: str) -> None:
        """Run the mutation that adds a message."""
        await self.say("Mutation", requestId=number, udfPath="messages:send", args=[{"body": body}])

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes: its code and its reason."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


async def identify(deployment: Deployment, token: str) -> KnownUser | BadToken:
    """Whom the test's provider vouches for; ``good-soon`` is good for another minute of the test's clock."""
    if token.startswith("good-"):
        until = 1_700_000_060_000.0 if token == "good-soon" else None
        return KnownUser(values.encode({"subject": token}), f"https://provider.example|{token}", until)
    return BadToken("Unauthenticated", "the token is not a good one")


@asynccontextmanager
async def opened(details: Details = Details.SHOW, default: DeploymentName | None = None) -> AsyncIterator[Cloud]:
    """Open a server for one deployment."""
    clock, logs, steward = Noon(), MemoryLogs(), Steward()
    version = Version(VersionNumber(1), "0" * 64, {}, DECLARED)
    names = Names(Deployment(NAME, version, {"WARREN_CLOUD_URL": "http://cloud", "COLOR": "blue"}))
    store = MemoryDocuments()
    transactions = Transactions(store, clock)
    functions = Functions(transactions)
    observer = Observer(names.find, functions, transactions, SystemFunctions())
    live = Live(store, observer.observe)
    queries = Queries(observer.observe, Moments(store))
    house = House(functions, names, logs, clock, admits, identify, details, "0.0.1", queries, live, steward)
    door = Door(house, Addresses("site.localhost", "cloud.localhost", default), Listener.MAIN)
    try:
        async with serving(listen(door, host="127.0.0.1", port=0)) as port:
            yield Cloud(port, names, functions, live, logs, clock, steward)
    finally:
        queries.moments.end()
        await store.close()
