"""The counter's ``fetch.*`` over a web, as one call of a tenant uses it; and servers that a test writes."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from runtime.adapters.logs.memory import MemoryLogs
from runtime.egress.policy import OPEN, EgressPolicy
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.ports import LogQuery, Web
from runtime.protocol.declaration import Declaration, Kind
from runtime.syscalls.outbound.entries import Fetching
from runtime.syscalls.table import Belongings, Caller, Table

NAME = DeploymentName("happy-otter-1")


class Clock:
    """A clock that stands still."""

    def now(self) -> float:
        """Always the same moment."""
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0


class Got(NamedTuple):
    """What a fetch has answered."""

    status: int
    reason: bytes
    url: str
    redirected: bool
    headers: dict[str, str]
    body: bytes


class House:
    """A counter where fetches are served, over this web."""

    def __init__(self, web: Web) -> None:
        self.logs = MemoryLogs()
        self.fetching = Fetching(web, self.logs, Clock())
        self.table = Table(self.fetching.entries())

    def call(self, policy: EgressPolicy = OPEN, name: DeploymentName = NAME, kind: Kind = Kind.ACTION) -> "Call":
        """One invocation of a deployment with this policy."""
        version = Version(VersionNumber(1), "", {}, Declaration())
        deployment = Deployment(name, version, {}, egress=policy)
        return Call(self.table, Caller(deployment, version, kind, RequestId("r"), 0, None, belongings=Belongings()))

    async def lines(self, name: DeploymentName = NAME) -> list[str]:
        """What stands in the log of the deployment."""
        return [entry.text for entry in await self.logs.read(name, LogQuery())]


class Call:
    """What one call of a tenant says at the counter."""

    def __init__(self, table: Table, caller: Caller) -> None:
        self._table = table
        self._caller = caller

    async def say(self, name: str, *args: Any) -> Any:
        """One syscall."""
        return msgspec.msgpack.decode(await self._table.serve(self._caller, name, msgspec.Raw(_encode(args))))

    async def start(self, url: str, method: str = "GET", body: bytes | None = None, **more: Any) -> int:
        """Begin a fetch; its number."""
        headers = [(name.encode(), value.encode()) for name, value in more.pop("headers", {}).items()]
        streams, length = more.pop("streams", False), more.pop("length", None)
        redirect, timeout = more.pop("redirect", "follow"), more.pop("timeout", None)
        assert not more
        number = await self.say("fetch.start", method, url, headers, body, streams, length, redirect, timeout)
        assert isinstance(number, int)
        return number

    async def fetch(self, url: str, method: str = "GET", body: bytes | None = None, **more: Any) -> Got:
        """A whole fetch."""
        return await self.finish(await self.start(url, method, body, **more))

    async def finish(self, number: int) -> Got:
        """Its answer, read to the end."""
        status, reason, url, redirected, headers, data, last = await self.say("fetch.head", number)
        while not last:
            more, last = await self.say("fetch.read", number)
            data += more
        return Got(status, reason, url, redirected, {n.decode(): v.decode() for n, v in headers}, data)

    def end(self) -> None:
        """The invocation is over."""
        assert self._caller.belongings is not None
        self._caller.belongings.let_go()


_encode = msgspec.msgpack.encode

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server that a test writes: what it answers by path, what it was asked, who is connected."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, bytes | Talk] = {}
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.left = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what is asked over one connection."""
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                answer = self.answers[head.split()[1].partition("?")[0]]
                if callable(answer):
                    await answer(reader, writer)
                    return
                self.bodies.append(await read_body(head, reader))
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.open -= 1
            self.left.set()
            writer.close()


async def read_body(head: str, reader: asyncio.StreamReader) -> bytes:
    """The body that belongs to this head."""
    if found := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
        return await reader.readexactly(int(found[1]))
    body = b""
    if re.search("transfer-encoding: chunked", head, re.IGNORECASE):
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return body


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server on loopback."""
    made = Server()
    listener = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield made


def answer(status: str = "200 OK", *headers: str, body: bytes = b"hello") -> bytes:
    """A whole answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body
