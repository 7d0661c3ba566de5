"""What is a whole server made of, and what is each of its parts in a process of its own?

The composition root of ``warren serve`` and ``warren dev`` (a router, the control plane and a worker in one process, on
one or two ports), and of ``warren router``, ``control-plane`` and ``worker``. Raises `SandboxUnavailable` instead of
serving without a wall.

Rules
1. Nothing is announced before it answers.
2. SIGTERM and SIGINT end it in order: no new connections, calls under way finish (for `DRAIN` seconds at most), the
   worker drains, then the isolates, then the queue and the files.
"""

import gc
import hashlib
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from control_plane.app import ROOMS, create_app
from control_plane.auth import ADMIN, hash_secret, identify
from control_plane.metrics import Figures, MeteredLogs
from control_plane.office import Office
from control_plane.routes import health
from control_plane.routes.environment import Environments
from control_plane.servers.listening import PortListener, port_of, run_until_told, sockets
from runtime.adapters.logs.files import FileLogs
from runtime.adapters.queue.opening import Queue, open_queue
from runtime.edge.app import App
from runtime.edge.hosts import Listener
from runtime.errors import Unauthorized
from runtime.main import Router, SystemClock, open_cellar, run_router
from runtime.names import DeploymentName
from runtime.ports import Errands
from runtime.settings import Settings
from runtime.syscalls.restoring import Restoring
from runtime.syscalls.scheduling.overseeing import Overseer
from runtime.syscalls.schemas.keeper import Schemas
from worker.main import Worker, is_alive, open_local, run_worker

# A key with fewer characters may be found by trying. Whose server it is decides whether that matters.
_GUESSABLE = 16
_log = logging.getLogger("warren.serve")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server answers: the main port, and the default deployment's site if there is one."""

    url: str
    site_url: str | None


Ready = Callable[[Addresses], Awaitable[None]]


async def serve(settings: Settings, *, on_ready: Ready | None = None) -> None:
    """Run everything until a signal says stop; ``on_ready`` is called once, when requests are answered."""
    with _begun(settings) as (settings, main, site):
        async with _house(settings) as house, open_local(house.router) as local, _worker(house, local):
            doors = [PortListener(_main_door(house), settings, main)]
            if site is not None:
                door = house.router.door(Listener.SITE, _admits(house.office), house.office.version)
                doors.append(PortListener(door, settings, site))
            await _answer(doors, house, on_ready)


async def serve_router(settings: Settings, *, on_ready: Ready | None = None) -> None:
    """Run the doors and nothing else: sites, functions and sync of every deployment, and this process's health."""
    with _begun(settings) as (settings, main, _):
        async with _house(settings) as house:
            await _answer([PortListener(_main_door(house, [health]), settings, main)], house, on_ready)


async def serve_control_plane(settings: Settings, *, on_ready: Ready | None = None) -> None:
    """Run the control plane and the isolates that analyse what is pushed; it answers for no deployment."""
    with _begun(settings) as (settings, main, _):
        async with _house(settings) as house:
            await _answer([PortListener(create_app(house.office), settings, main)], house, on_ready)


async def serve_worker(settings: Settings) -> None:
    """Do what is due and what is asked of workers, until a signal says stop. Answers on no port."""
    _prepare(settings)
    async with _house(settings) as house, open_local(house.router) as local, _worker(house, local) as worker:
        await worker.work_until_told(settings.data)


def _worker(house: "_House", local: Errands | None) -> AbstractAsyncContextManager[Worker]:
    return run_worker(house.router, house.queue, house.router.jobs, local)


def worker_is_alive(data: Path) -> bool:
    """Whether the worker that keeps its files in ``data`` has given a sign of life lately."""
    return is_alive(data)


@dataclass(frozen=True, slots=True)
class _House:
    """What every kind of process is made of."""

    router: Router
    queue: Queue
    office: Office
    files: FileLogs


@asynccontextmanager
async def _house(settings: Settings) -> AsyncIterator[_House]:
    clock = SystemClock()
    async with open_cellar(settings, clock) as kept, open_queue(settings.redis_url, settings.data) as queue:
        metered = MeteredLogs(kept.files)
        cellar = replace(kept, logs=metered)
        async with run_router(
            settings, cellar, clock, _hash_seed(settings.data), queue.agenda, queue.errands
        ) as router:
            yield _House(router, queue, _office(router, queue, metered), kept.files)


@contextmanager
def _begun(settings: Settings) -> Iterator[tuple[Settings, socket.socket, socket.socket | None]]:
    """Prepare the process and take its ports; the settings then say which."""
    _prepare(settings)
    with sockets(settings) as (main, site):
        chosen = replace(settings, port=port_of(main), site_port=port_of(site) if site else settings.site_port)
        yield chosen, main, site


async def _answer(doors: list[PortListener], house: _House, on_ready: Ready | None) -> None:
    async def ready() -> None:
        if on_ready is not None:
            await on_ready(_addresses(house.router.settings))

    await run_until_told(doors, house.files.end_readers, ready)


def _prepare(settings: Settings) -> None:
    _spare_the_collector()
    # Threads (logs, commits) hold the interpreter for as long as this when the loop wants it back.
    sys.setswitchinterval(0.0005)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if settings.admin_key is not None and len(settings.admin_key) < _GUESSABLE:
        _log.warning("WARREN_ADMIN_KEY has %d characters: draw a longer one at random", len(settings.admin_key))


def _spare_the_collector() -> None:
    """Look for cycles seldom, and never among what lives as long as the server.

    Nothing on the path of a request makes cycles; with the usual threshold the search took a sixth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _addresses(settings: Settings) -> Addresses:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    host = f"[{host}]" if ":" in host else host
    site = f"http://{host}:{settings.site_port}" if settings.default_deployment is not None else None
    return Addresses(f"http://{host}:{settings.port}", site)


def _main_door(house: _House, rooms: Sequence[ModuleType] = ROOMS) -> App:
    app = create_app(house.office, rooms)
    steward = Environments(house.office, app.state.changes)
    return house.router.door(Listener.MAIN, _admits(house.office), house.office.version, app, steward)


def _office(router: Router, queue: Queue, metered: MeteredLogs) -> Office:
    settings, registry = router.settings, router.cellar.registry

    async def ready() -> Mapping[str, str | None]:
        return {
            "isolates": None if router.pool.counts()["all"] or not settings.spares else "no isolate could be started",
            "data": await router.cellar.trouble(),
            "queue": await queue.trouble(),
        }

    return Office(
        deployments=registry.deployments,
        versions=registry.versions,
        variables=registry.variables,
        keys=registry.keys,
        schemas=Schemas(router.cellar.documents, router.clock),
        transactions=router.transactions,
        restoring=Restoring(router.cellar.documents, router.clock),
        crons=router.crons,
        overseer=Overseer(router.transactions),
        shelf=router.shelf,
        logs=metered,
        clock=router.clock,
        analyse=router.analyst.analyse,
        changed=router.directory.forget,
        removed=router.remove,
        admin_key_hash=hash_secret(settings.admin_key or _kept(settings.data / "admin.key", _new_key)),
        site_url=settings.site_url,
        cloud_url=settings.cloud_url,
        serves=router.serves,
        ready=ready,
        metrics=Figures(metered, router.pool.counts, router.admission.running).text,
        version=version("warren"),
    )


def _admits(office: Office) -> Callable[[DeploymentName, str], Awaitable[bool]]:
    async def admits(name: DeploymentName, authorization: str) -> bool:
        """Whether this header is an administrator's of this deployment."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "convex":
            return False
        try:
            return await identify(office, key.strip()) in (ADMIN, name)
        except Unauthorized:
            return False

    return admits


def _hash_seed(data: Path) -> int:
    secret = _kept(data / "hash-seed", lambda: secrets.token_hex(16))
    return int.from_bytes(hashlib.sha256(secret.encode()).digest()[:4], "big")


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def _kept(path: Path, make: Callable[[], str]) -> str:
    """A secret of this installation, made at its first start and readable by its user alone."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(make(), "utf-8")
    return path.read_text("utf-8").strip()
