"""What is a router process made of?

The composition root of the house: settings in, a `Router` out, with every adapter chosen and the one knot tied (a
function calls a function). Knows no control plane; whoever runs one gets the ports it needs from here.

Rules
1. Adapters are named here and nowhere else in the house.
2. What is started is stopped in reverse, also when starting fails half way.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.adapters.file_logs import FileLogs
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.adapters.outbound.key_sets import HttpKeySets
from runtime.adapters.postgres.bell import Bell
from runtime.adapters.postgres.connections import Connections
from runtime.adapters.postgres.documents import PostgresDocuments
from runtime.adapters.postgres.registry import PostgresRegistry
from runtime.adapters.postgres.schema import migrate
from runtime.adapters.sqlite_registry import SqliteRegistry
from runtime.edge.app import App, Door
from runtime.edge.app import House as Behind
from runtime.edge.hosts import Addresses, Listener
from runtime.edge.problems import Details
from runtime.execution.admission import Admission
from runtime.egress.rules import Rules
from runtime.errors import WarrenError
from runtime.execution.analysis import Analyst
from runtime.execution.conductor import Conductor, Rooms
from runtime.execution.directory import Directory
from runtime.invocation import Deployment
from runtime.identification.callers import Admits
from runtime.identification.tokens import Identification
from runtime.isolates.pool import Pool, PoolSettings
from runtime.isolates.watchdog import Watchdog
from runtime.isolates.zygote import Zygote
from runtime.names import DeploymentName
from runtime.ports import LogEntry, Logs
from runtime.protocol.forking import Requirement
from runtime.protocol.messages import Level, Line
from runtime.settings import Settings
from runtime.syscalls import documents, functions, identity
from runtime.syscalls.table import Table
from runtime.syscalls.transaction import Transactions

log = logging.getLogger("warren")


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Milliseconds since 1970."""
        return time.time() * 1000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Cellar:
    """What lasts: the registry, the documents, the logs. ``logs`` is what everybody writes to."""

    registry: SqliteRegistry
    documents: SqliteDocuments
    files: FileLogs
    logs: Logs


@dataclass(frozen=True, slots=True)
class Router:
    """A running router: its rooms, for whoever composes a server of them."""

    settings: Settings
    clock: SystemClock
    cellar: Cellar
    zygote: Zygote
    pool: Pool
    admission: Admission
    directory: Directory
    conductor: Conductor
    analyst: Analyst

    def door(self, listener: Listener, admits: Admits, release: str, fallback: App | None = None) -> Door:
        """The ASGI application of one listener; ``fallback`` answers what is no deployment's."""
        chosen = self.settings
        addresses = Addresses(
            chosen.site_domain, chosen.cloud_domain, chosen.default_deployment, tuple(chosen.trusted_proxies)
        )
    identification: Identification
        behind = Behind(
            self.conductor,
            self.directory,
            self.cellar.logs,
            self.clock,
            admits,
            Details(chosen.error_details),
            release,
        )
        return Door(behind, addresses, listener, fallback)

    async def remove(self, name: DeploymentName) -> None:
        """End what a deleted deployment runs, and remove its documents."""
            self.identification.identify,
        self.pool.remove(name)
        await self.cellar.documents.delete(name)


@asynccontextmanager
async def open_cellar(
    data: Path, clock: SystemClock
) -> AsyncIterator[tuple[SqliteRegistry, SqliteDocuments, FileLogs]]:
    """Open what lasts, under one directory."""
    async with AsyncExitStack() as stack:
        data.mkdir(parents=True, exist_ok=True)
        registry = SqliteRegistry(data / "registry.sqlite3")
        await registry.open()
        stack.push_async_callback(registry.close)
        stored = SqliteDocuments(data / "deployments")
        stack.push_async_callback(stored.close)
        files = FileLogs(data / "logs", clock)
        await files.start()
        stack.push_async_callback(files.close)
        yield registry, stored, files


@asynccontextmanager
async def run_router(settings: Settings, cellar: Cellar, clock: SystemClock, hash_seed: int) -> AsyncIterator[Router]:
    """A router, from its zygote to its conductor; raises `SandboxUnavailable` where the wall cannot stand."""
    async with AsyncExitStack() as stack:
        zygote = Zygote(hash_seed)
        await zygote.start()
        stack.push_async_callback(zygote.stop)
        _warn_of_missing_layers(zygote)
        pool = _pool(settings, zygote, clock, cellar.logs)
        stack.push_async_callback(pool.stop)
        rules = Rules(settings.egress_allow)
        key_sets = HttpKeySets(rules)
        stack.push_async_callback(key_sets.close)
        identification = Identification(key_sets, clock)
        stack.callback(identification.close)
        router = _assemble(settings, cellar, clock, zygote, pool, Analyst(pool, rules), identification)
        await pool.start()
        for work in (Watchdog(clock, pool.isolates).run(), pool.sweep()):
            stack.callback(asyncio.get_running_loop().create_task(work).cancel)
        yield router


def _hear_of_others(bell: Bell, directory: Directory) -> None:
    """Forget what another server has changed; what ran here is loaded anew, so that nothing old runs on."""
    loading: set[asyncio.Task[None]] = set()

    async def load(name: DeploymentName) -> None:
        # Whoever asks for it next tries again.
        with suppress(WarrenError):
            await directory.find(name)

    def hear(name: DeploymentName | None) -> None:
        if name is None:
            known = directory.forget_everything()
        else:
            known = [name] if directory.known(name) is not None else []
            directory.forget(name)
        for each in known:
            task = asyncio.get_running_loop().create_task(load(each))
            loading.add(task)
            task.add_done_callback(loading.discard)

    bell.on_registry(hear)


def _assemble(
    settings: Settings,
    cellar: Cellar,
    clock: SystemClock,
    zygote: Zygote,
    pool: Pool,
    analyst: Analyst,
    identification: Identification,
) -> Router:
    def system_variables(name: DeploymentName) -> Mapping[str, str]:
        return {"WARREN_SITE_URL": settings.site_url(name), "WARREN_CLOUD_URL": settings.cloud_url(name)}

    def stand_down(name: DeploymentName, deployment: Deployment | None) -> None:
        pool.stand_down(name, deployment.version if deployment is not None else None)

    directory = Directory(cellar.registry.deployments, system_variables, stand_down)
    transactions = Transactions(cellar.documents, clock, cellar.secret)
    table = Table([*documents.ENTRIES, *identity.ENTRIES, *functions.Functions(lambda: conductor).entries()])
    admission = Admission()
    conductor = Conductor(Rooms(pool, admission, table, transactions, cellar.logs, clock))
    return Router(
        settings, clock, cellar, zygote, pool, admission, directory, conductor, analyst, identification
    )


def _pool(settings: Settings, zygote: Zygote, clock: SystemClock, logs: Logs) -> Pool:
    def on_line(name: DeploymentName, line: Line) -> None:
        logs.write(name, LogEntry(clock.now(), line.level, line.text))

    def on_lost(name: DeploymentName, reason: str) -> None:
        log.warning("an isolate of %s ended: %s", name, reason)
        logs.write(name, LogEntry(clock.now(), Level.ERROR, f"the process that ran your code ended: {reason}"))

    sizes = PoolSettings(
        settings.isolates, settings.isolates_per_deployment, settings.spares, manners=settings.language_layer
    )
    return Pool(zygote, sizes, clock, on_line, on_lost)


def _warn_of_missing_layers(zygote: Zygote) -> None:
    for layer in zygote.report():
        if not layer.holds and layer.requirement is Requirement.RECOMMENDED:
            log.warning("the wall stands with one lock less, %s: %s", layer.name, layer.detail)
