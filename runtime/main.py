"""What is a router process made of?

The composition root of the house: settings in, a `Router` out, with every adapter chosen and the one knot tied (a
function calls a function). Knows no control plane; whoever runs one gets the ports it needs from here.

Rules
1. Adapters are named here and nowhere else in the house.
2. What is started is stopped in reverse, also when starting fails half way.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runtime.adapters.files.disk import DiskFiles
from runtime.adapters.logs.files import FileLogs, Writers
from runtime.adapters.outbound.key_sets import HttpKeySets
from runtime.adapters.outbound.web import HttpWeb
from runtime.adapters.postgres.bell import Bell
from runtime.adapters.postgres.connections import Connections
from runtime.adapters.postgres.documents import PostgresDocuments
from runtime.adapters.postgres.registry import PostgresRegistry
from runtime.adapters.postgres.schema import migrate
from runtime.adapters.queue.memory_agenda import MemoryAgenda
from runtime.adapters.sqlite.alone import alone_in
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.adapters.sqlite_registry import SqliteRegistry
from runtime.edge.app import App, Door
from runtime.edge.app import House as Behind
from runtime.edge.files.door import FileDoor
from runtime.edge.function_api import Queries
from runtime.edge.functions.tools import Steward
from runtime.edge.hosts import Addresses, Hosts, Listener
from runtime.edge.leaving import Departures
from runtime.edge.problems import Details
from runtime.egress.rules import Plain, Rules
from runtime.errors import WarrenError
from runtime.execution.admission import Admission
from runtime.execution.analysis import Analyst
from runtime.execution.conductor import Conductor, Rooms
from runtime.execution.crons.crons import Crons
from runtime.execution.crons.settling import Settling
from runtime.execution.directory import Directory
from runtime.execution.jobs.jobs import Jobs
from runtime.execution.live.live import Live
from runtime.execution.live.moments import Moments
from runtime.execution.observing import Observer
from runtime.execution.sweeping import forget_old_tickets, remove_lost_contents
from runtime.execution.system_functions import SystemFunctions
from runtime.identification.callers import Admits
from runtime.identification.tokens import Identification
from runtime.invocation import Deployment
from runtime.isolates.pool import Pool, PoolSettings
from runtime.isolates.watchdog import Watchdog
from runtime.isolates.zygote import Zygote
from runtime.names import DeploymentName
from runtime.ports import Agenda, DocumentStore, Errands, Files, LogEntry, Logs
from runtime.protocol.forking import Requirement
from runtime.protocol.messages import Level, Line
from runtime.settings import Settings
from runtime.syscalls import documents, functions, identity
from runtime.syscalls.outbound.entries import Fetching
from runtime.syscalls.scheduling.entries import Scheduling
from runtime.syscalls.scheduling.outstanding import Outstanding
from runtime.syscalls.storage.entries import Storing
from runtime.syscalls.storage.room import Room
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.storage.uploads import UploadTokens
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
    """What lasts: the registry, the documents, contents of files, the logs. ``logs`` is what everybody writes to.

    ``secret`` is the installation's own; servers that share a database share it. ``bell`` is where one of them hears of
    the others; a server that has its files for itself needs none.
    """

    registry: SqliteRegistry | PostgresRegistry
    documents: DocumentStore
    contents: Files
    files: FileLogs
    logs: Logs
    secret: bytes
    bell: Bell | None

    async def trouble(self) -> str | None:
        """Why the registry and the documents cannot be reached at this moment, or ``None``."""
        return await self.registry.trouble() if isinstance(self.registry, PostgresRegistry) else None


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
    identification: Identification
    transactions: Transactions
    live: Live
    queries: Queries
    agenda: Agenda
    jobs: Jobs
    crons: Crons
    shelf: Shelf
    files: FileDoor
    conductor_with: Callable[[Errands | None], Conductor]
    """Another conductor of the same rooms, for functions that call others here: who runs their errands is given."""

    def door(
        self,
        listener: Listener,
        admits: Admits,
        release: str,
        fallback: App | None = None,
        steward: Steward | None = None,
    ) -> Door:
        """The ASGI application of one listener; ``fallback`` answers what is no deployment's."""
        behind = Behind(
            self.conductor,
            self.directory,
            self.cellar.logs,
            self.clock,
            admits,
            self.identification.identify,
            Details(self.settings.error_details),
            release,
            self.queries,
            self.live,
            steward,
            self.files,
        )
        return Door(behind, self.addresses, listener, fallback)

    @property
    def addresses(self) -> Addresses:
        """What the operator chose about host names."""
        chosen = self.settings
        return Addresses(
            chosen.site_domain, chosen.cloud_domain, chosen.default_deployment, tuple(chosen.trusted_proxies)
        )

    async def serves(self, domain: str) -> bool:
        """Whether a deployment answers at this host name."""
        place = Hosts(self.addresses, Listener.MAIN).find([(b"host", domain.encode("latin-1", "replace"))])
        if place.may_be_custom:
            return await self.directory.find_domain(place.domain) is not None
        return place.name is not None and await self.directory.find(place.name) is not None

    async def exists(self, name: DeploymentName) -> bool:
        """Whether there is a deployment of this name, asked anew."""
        return await self.cellar.registry.deployments.summary(name) is not None

    async def remove(self, name: DeploymentName) -> None:
        """End what a deleted deployment runs, and remove its documents and files."""
        self.pool.remove(name)
        await self.cellar.documents.delete(name)
        await self.shelf.forget(name)


@asynccontextmanager
async def open_cellar(settings: Settings, clock: SystemClock) -> AsyncIterator[Cellar]:
    """Open what lasts: under one directory, or in a database and, for the logs, a directory."""
    async with AsyncExitStack() as stack:
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
        if settings.database_url is None:
            stack.enter_context(alone_in(data))
        # Whoever shares a database may share a directory too.
        writers = Writers.SEVERAL if settings.database_url is not None else Writers.ONE
        files = FileLogs(data / "logs", clock, writers=writers)
        await files.start()
        stack.push_async_callback(files.close)
        contents = DiskFiles(data / "files")
        stack.push_async_callback(contents.close)
        if settings.database_url is not None:
            yield await _open_database(settings.database_url, contents, files, stack)
            return
        registry = SqliteRegistry(data / "registry.sqlite3")
        await registry.open()
        stack.push_async_callback(registry.close)
        stored = SqliteDocuments(data / "deployments")
        stack.push_async_callback(stored.close)
        yield Cellar(registry, stored, contents, files, files, _kept_secret(data / "secret"), None)


async def _open_database(url: str, contents: Files, files: FileLogs, stack: AsyncExitStack) -> Cellar:
    connections = Connections(url)
    stack.push_async_callback(connections.close)
    await connections.open()
    async with connections.lend() as connection:
        await migrate(connection)
    bell = Bell(connections)
    stack.push_async_callback(bell.stop)
    registry, stored = PostgresRegistry(connections), PostgresDocuments(connections, bell)
    stack.push_async_callback(stored.close)
    await bell.start()
    return Cellar(registry, stored, contents, files, files, await registry.secret("installation"), bell)


def _kept_secret(path: Path) -> bytes:
    """A secret of this installation, made at its first start and readable by its user alone."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex(), "ascii")
    return bytes.fromhex(path.read_text("ascii"))


@asynccontextmanager
async def run_router(
    settings: Settings,
    cellar: Cellar,
    clock: SystemClock,
    hash_seed: int,
    agenda: Agenda | None = None,
    errands: Errands | None = None,
) -> AsyncIterator[Router]:
    """A router, from its zygote to its conductor; raises `SandboxUnavailable` where the wall cannot stand.

    What is scheduled is noted in ``agenda``, for whoever does what is due (`Router.jobs`). ``errands`` runs Node-style
    actions, and learns what such modules declare.
    """
    async with AsyncExitStack() as stack:
        zygote = Zygote(hash_seed)
        await zygote.start()
        stack.push_async_callback(zygote.stop)
        _warn_of_missing_layers(zygote)
        # Before the isolates, so that it is closed after those who use it.
        web = HttpWeb(Rules(settings.egress_allow, Plain.ALLOWED, settings.own_ports()))
        stack.push_async_callback(web.close)
        pool = _pool(settings, zygote, clock, cellar.logs)
        stack.push_async_callback(pool.stop)
        rules = Rules(settings.egress_allow, own_ports=settings.own_ports())
        key_sets = HttpKeySets(rules)
        stack.push_async_callback(key_sets.close)
        fetching = Fetching(web, cellar.logs, clock)
        identification = Identification(key_sets, clock)
        stack.callback(identification.close)
        analyst = Analyst(pool, rules, errands)
        behind = _Behind(zygote, pool, analyst, identification, fetching, agenda or MemoryAgenda(), errands)
        router = _assemble(settings, cellar, clock, behind)
        stack.push_async_callback(router.jobs.stop)
        stack.push_async_callback(router.shelf.settle)
        stack.callback(router.queries.moments.end)
        await pool.start()
        if cellar.bell is not None:
            _hear_of_others(cellar.bell, router.directory)
        forgetting = forget_old_tickets(Transactions(cellar.documents, clock, cellar.secret), router.live.names)
        sweeping = remove_lost_contents(router.shelf, router.exists)
        for work in (Watchdog(clock, pool.isolates).run(), pool.sweep(), forgetting, sweeping):
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


class _Behind(NamedTuple):
    """What was started for a router, or given to it."""

    zygote: Zygote
    pool: Pool
    analyst: Analyst
    identification: Identification
    fetching: Fetching
    agenda: Agenda
    errands: Errands | None


def _assemble(settings: Settings, cellar: Cellar, clock: SystemClock, behind: _Behind) -> Router:
    zygote, pool, analyst, identification, fetching, agenda, errands = behind
    directory = _directory(settings, cellar, pool)
    transactions = Transactions(cellar.documents, clock, cellar.secret, agenda)
    scheduling = Scheduling(transactions, Outstanding()).entries()
    admission = Admission()
    shelf, tokens, room = Shelf(cellar.contents, transactions), UploadTokens(cellar.secret), Room()
    storing = Storing(shelf, transactions, tokens, room, clock, settings.cloud_url).entries()

    def conductor_with(errands: Errands | None) -> Conductor:
        nested = functions.Functions(lambda: made).entries()
        served = (*documents.ENTRIES, *identity.ENTRIES, *nested, *scheduling, *storing, *fetching.entries())
        table = Table(served)
        made = Conductor(Rooms(pool, admission, table, transactions, cellar.logs, clock, errands))
        return made

    conductor = conductor_with(errands)
    observer = Observer(directory.find, conductor, transactions, SystemFunctions())
    live = Live(cellar.documents, observer.observe)
    directory.listeners.append(live.changed)
    queries = Queries(observer.observe, Moments(cellar.documents))
    jobs = Jobs(directory.find, conductor, transactions, agenda, cellar.logs, clock)
    settling = Settling(transactions, cellar.registry.deployments, cellar.registry.versions)
    jobs.crons = crons = Crons(transactions, settling, cellar.logs, clock)
    directory.listeners.append(jobs.changed)
    return Router(
        settings,
        clock,
        cellar,
        zygote,
        pool,
        admission,
        directory,
        conductor,
        analyst,
        identification,
        transactions,
        live,
        queries,
        agenda,
        jobs,
        crons,
        shelf,
        FileDoor(shelf, tokens, room, clock, Departures()),
        conductor_with,
    )


def _directory(settings: Settings, cellar: Cellar, pool: Pool) -> Directory:
    def system_variables(name: DeploymentName) -> Mapping[str, str]:
        return {"WARREN_SITE_URL": settings.site_url(name), "WARREN_CLOUD_URL": settings.cloud_url(name)}

    def stand_down(name: DeploymentName, deployment: Deployment | None) -> None:
        # Of one that is deleted nothing runs on: it would write into whatever has this name next.
        pool.remove(name) if deployment is None else pool.stand_down(name, deployment.version)

    return Directory(cellar.registry.deployments, system_variables, stand_down)


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
