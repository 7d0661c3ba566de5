"""The control plane, running: the real application on a real socket, over the memory adapters.

The one thing that is not here is an isolate. Its place is taken by a reader of declarations: a bundle says in
``declaration.json`` what an analysis would have found in it, and in ``refusal.txt`` why it is refused.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import httpx
import msgspec
import uvicorn
from fastapi import FastAPI

from control_plane.app import create_app
from control_plane.auth import hash_secret
from control_plane.office import Office
from runtime.adapters.files.memory import MemoryFiles
from runtime.adapters.logs.memory import MemoryLogs
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.adapters.memory_registry import MemoryRegistry
from runtime.errors import PushRefused
from runtime.execution.crons.crons import Crons
from runtime.execution.crons.settling import Settling
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Diagnostic
from runtime.syscalls.restoring import Restoring
from runtime.syscalls.scheduling.overseeing import Overseer
from runtime.syscalls.schemas.keeper import Schemas
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.transaction import Transactions

ADMIN_KEY = "an-admin-key-of-many-random-letters"


class CountingClock:
    """A clock on which every look is a millisecond later than the last."""

    def __init__(self) -> None:
        self._now = 1_700_000_000_000.0

    def now(self) -> float:
        """Milliseconds since 1970."""
        self._now += 1
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self.now() / 1000


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class AtWork:
    """The office, a client of it, and what it did to the house."""

    http: httpx.AsyncClient
    registry: MemoryRegistry
    logs: MemoryLogs
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    changed: list[DeploymentName] = field(default_factory=list)
    removed: list[DeploymentName] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    failing: dict[str, str | None] = field(default_factory=dict)
    may_analyse: asyncio.Event = field(default_factory=_opened)

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """What the bundle says that it declares."""
        self.environments.append(environment)
        await self.may_analyse.wait()
        if "refusal.txt" in bundle:
            raise PushRefused([Diagnostic("http.py", 3, bundle["refusal.txt"].decode())])
        if "accident.txt" in bundle:
            raise RuntimeError("a secret detail of ours")
        return msgspec.json.decode(bundle.get("declaration.json", b"{}"), type=Declaration)

    async def remove(self, name: DeploymentName) -> None:
        """What the house does about a deleted deployment: here, remember that it still was registered."""
        assert await self.registry.deployments.summary(name) is not None
        self.removed.append(name)

    async def serves(self, domain: str) -> bool:
        """Whether the first label of this name is a deployment's."""
        return await self.registry.deployments.summary(DeploymentName(domain.partition(".")[0])) is not None

    async def ready(self) -> Mapping[str, str | None]:
        """How the parts are."""
        return {"registry": None, **self.failing}

    async def create(self, name: str) -> dict[str, str]:
        """A new deployment, and the headers of its first deploy key."""
        answer = await self.http.post("/v1/deployments", json={"name": name})
        assert answer.status_code == 201, answer.text
        return {"authorization": f"Bearer {answer.json()['deploy_key']}"}


@contextlib.asynccontextmanager
async def office_at_work() -> AsyncIterator[AtWork]:
    """Open the office; the client has the admin key."""
    # Named as TCP, because asyncio switches Nagle's algorithm off only on sockets that say so.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False) as http:
            work = AtWork(http, MemoryRegistry(), MemoryLogs())
            app = create_app(_office(work))
            async with _served(app, listener):
                yield work
                await work.logs.close()


@contextlib.asynccontextmanager
async def _served(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """uvicorn without its main loop, which would look only ten times a second whether it is to end."""
    config = uvicorn.Config(app, lifespan="off", log_level="critical")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield
    finally:
        for accepting in server.servers:
            accepting.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)


def _office(work: AtWork) -> Office:
    registry, clock = work.registry, CountingClock()
    transactions = Transactions(work.documents, clock)
    settling = Settling(transactions, registry.deployments, registry.versions)
    return Office(
        deployments=registry.deployments,
        versions=registry.versions,
        variables=registry.variables,
        keys=registry.keys,
        schemas=Schemas(work.documents, clock),
        transactions=transactions,
        restoring=Restoring(work.documents, clock),
        crons=Crons(transactions, settling, work.logs, clock),
        overseer=Overseer(transactions),
        shelf=Shelf(MemoryFiles(), transactions),
        logs=work.logs,
        clock=clock,
        analyse=work.analyse,
        changed=work.changed.append,
        removed=work.remove,
        admin_key_hash=hash_secret(ADMIN_KEY),
        site_url=lambda name: f"http://{name}.site.localhost:3210",
        cloud_url=lambda name: f"http://{name}.cloud.localhost:3210",
        serves=work.serves,
        ready=work.ready,
        metrics=lambda: "warren_requests_total 1\n",
        version="1.2.3",
    )
