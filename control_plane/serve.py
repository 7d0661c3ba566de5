"""What is a whole server made of?

The composition root of ``warren serve`` and ``warren dev``: a router and the control plane in one process, on one or
two ports. Raises `SandboxUnavailable` instead of serving without a wall.

Rules
1. Nothing is announced before it answers.
2. SIGTERM and SIGINT end it in order: no new connections, calls under way finish (for `DRAIN` seconds at most), then
   the isolates, then the files.
"""

import asyncio
import gc
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import uvicorn

from control_plane.app import create_app
from control_plane.auth import ADMIN, hash_secret, identify
from control_plane.metrics import Figures, MeteredLogs
from control_plane.office import Office
from control_plane.routes.environment import Environments
from runtime.edge.app import App
from runtime.edge.connection import listen
from runtime.edge.hosts import Listener
from runtime.errors import Unauthorized
from runtime.main import Router, SystemClock, open_cellar, run_router
from runtime.names import DeploymentName
from runtime.settings import Settings
from runtime.syscalls.restoring import Restoring
from runtime.syscalls.schemas.keeper import Schemas

DRAIN = 10
_BACKLOG = 2048
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
    _spare_the_collector()
    # Threads (logs, commits) hold the interpreter for as long as this when the loop wants it back.
    sys.setswitchinterval(0.0005)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if settings.admin_key is not None and len(settings.admin_key) < _GUESSABLE:
        _log.warning("WARREN_ADMIN_KEY has %d characters: draw a longer one at random", len(settings.admin_key))
    with _sockets(settings) as (main, site):
        settings = replace(settings, port=_port(main), site_port=_port(site) if site else settings.site_port)
        clock = SystemClock()
        async with open_cellar(settings, clock) as kept:
            metered = MeteredLogs(kept.files)
            cellar = replace(kept, logs=metered)
            async with run_router(settings, cellar, clock, _hash_seed(settings.data)) as router:
                office = _office(router, metered)
                listeners = [_Listener(_main_door(router, office), settings, main)]
                if site is not None:
                    listeners.append(
                        _Listener(router.door(Listener.SITE, _admits(office), office.version), settings, site)
                    )
                await _run(listeners, kept.files.end_readers, _addresses(settings), on_ready)


def _spare_the_collector() -> None:
    """Look for cycles seldom, and never among what lives as long as the server.

    Nothing on the path of a request makes cycles; with the usual threshold the search took a sixth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _run(
    listeners: "list[_Listener]", before_the_end: Callable[[], None], addresses: Addresses, on_ready: Ready | None
) -> None:
    def stop() -> None:
        before_the_end()
        for listener in listeners:
            listener.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    running = [asyncio.create_task(listener.run_until_stopped()) for listener in listeners]
    try:
        await asyncio.gather(*(listener.answers.wait() for listener in listeners))
        if on_ready is not None:
            await on_ready(addresses)
        await asyncio.gather(*running)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop()
        await asyncio.gather(*running, return_exceptions=True)


class _Listener(uvicorn.Server):
    """One uvicorn server among several in this process: signals are not its business."""

    def __init__(self, app: App, settings: Settings, bound: socket.socket) -> None:
        config = listen(app, host=settings.host, port=_port(bound))
        config.timeout_graceful_shutdown = DRAIN
        config.lifespan = "off"
        super().__init__(config)
        self.answers = asyncio.Event()
        self._bound = bound

    async def run_until_stopped(self) -> None:
        """Serve until ``should_exit`` is set."""
        await self.serve([self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, and say so."""
        await super().startup(sockets)
        self.answers.set()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there, the same use
        """Leave the signals alone."""
        return nullcontext()


@contextmanager
def _sockets(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """Take the ports before anything else is begun: they are what most often cannot be had."""
    main = _bind(settings.host, settings.port)
    with main:
        if settings.default_deployment is None:
            yield main, None
        else:
            with _bind(settings.host, settings.site_port) as site:
                yield main, site


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"{host}:{port} cannot be listened on: {reason}") from None


def _port(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def _addresses(settings: Settings) -> Addresses:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    host = f"[{host}]" if ":" in host else host
    site = f"http://{host}:{settings.site_port}" if settings.default_deployment is not None else None
    return Addresses(f"http://{host}:{settings.port}", site)


def _main_door(router: Router, office: Office) -> App:
    app = create_app(office)
    steward = Environments(office, app.state.changes)
    return router.door(Listener.MAIN, _admits(office), office.version, app, steward)


def _office(router: Router, metered: MeteredLogs) -> Office:
    settings, registry = router.settings, router.cellar.registry

    async def ready() -> Mapping[str, str | None]:
        return {
            "isolates": None if router.pool.counts()["all"] or not settings.spares else "no isolate could be started",
            "data": await router.cellar.trouble(),
        }

    return Office(
        deployments=registry.deployments,
        versions=registry.versions,
        variables=registry.variables,
        keys=registry.keys,
        schemas=Schemas(router.cellar.documents, router.clock),
        transactions=router.transactions,
        restoring=Restoring(router.cellar.documents, router.clock),
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
