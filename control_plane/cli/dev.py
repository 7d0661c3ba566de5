"""How is a server started from the terminal? ``dev`` for the person who writes a bundle, ``serve`` for the operator;
``router``, ``control-plane`` and ``worker`` are its parts in processes of their own.

Chooses settings and hands them to the composition in `control_plane/serve.py`. Knows nothing of what a server is made
of.

Rules
1. ``dev`` needs no setting and no key: it makes its own, for this machine alone, and says where everything is.
2. What is on the command line goes before what is in the environment, and that before what is ours to choose.
3. Ctrl-C ends both in order: calls under way finish, then the process does.
"""

import asyncio
import contextlib
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from control_plane.cli.bundles import find_bundle
from control_plane.cli.client import LOCAL, Refused
from control_plane.cli.screen import Screen
from control_plane.cli.workbench import Bench, Workbench
from runtime.errors import OurMistake, SandboxUnavailable
from runtime.settings import InvalidSetting, Settings, read_settings

if TYPE_CHECKING:
    from control_plane.serve import Addresses

Ready = Callable[["Addresses"], Awaitable[None]]
_log = logging.getLogger("warren.dev")
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9]+")


@click.command()
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option("--port", envvar="WARREN_PORT", default="3210", show_default=True, help="Functions and control plane.")
@click.option("--site-port", envvar="WARREN_SITE_PORT", default="3211", show_default=True, help="HTTP actions.")
@click.option("--host", envvar="WARREN_HOST", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--name", envvar="WARREN_DEFAULT_DEPLOYMENT", help="The deployment. [the name of DIRECTORY]")
@click.option("--data", envvar="WARREN_DATA", help="Where data is kept. [.warren in DIRECTORY]")
@click.option("--error-details", envvar="WARREN_ERROR_DETAILS", default="show", hidden=True)
@click.option("--log-level", envvar="WARREN_LOG_LEVEL", default="warning", hidden=True)
def dev(directory: Path, name: str | None, data: str | None, **chosen: str) -> None:
    """Run the bundle of DIRECTORY on this machine: every save is live, logs of every request stream here."""
    bundle = find_bundle(directory)
    project = bundle.parent if bundle.name == "functions" else bundle
    settings = _settings(
        **chosen, default_deployment=name or _name_of(project), data=data or str(project / LOCAL.parent)
    )
    if settings.admin_key is None:
        settings = replace(settings, admin_key=secrets.token_urlsafe(32))
    development = _Development(settings, bundle, project / LOCAL)
    _run(development.serve())


_kept_in = click.option(
    "--data", help="The directory for everything that must survive a restart. [WARREN_DATA, else warren-data]"
)
_host = click.option("--host", help="The address to listen on. [WARREN_HOST, else 127.0.0.1]")
_port = click.option("--port", help="The port to listen on; 0 takes a free one. [WARREN_PORT, else 3210]")


@click.command()
@_kept_in
@_host
@_port
def serve(**chosen: str | None) -> None:
    """Run the whole server: router, control plane, worker, isolates. Settings: WARREN_* (docs/settings.md)."""
    settings = _chosen(chosen)

    async def ready(addresses: "Addresses") -> None:
        screen = Screen(json=False)
        screen.say(f"Warren answers at {addresses.url}")
        screen.say(f"Deployments: <name>.{settings.site_domain} and <name>.{settings.cloud_domain}", "dim")
        if settings.admin_key is None:
            screen.say(f"The admin key was made at the first start: {settings.data / 'admin.key'}", "dim")

    _run(_serve(settings, ready))


@click.command()
@_kept_in
@_host
@_port
def router(**chosen: str | None) -> None:
    """Run the doors of all deployments alone: sites, functions, sync. Beside `control-plane` and `worker`."""
    settings = _chosen(chosen, a_part="a router")

    async def run() -> None:
        from control_plane.serve import serve_router

        await serve_router(settings, on_ready=_announce("The router"))

    _run(run())


@click.command("control-plane")
@_kept_in
@_host
@_port
def control_plane(**chosen: str | None) -> None:
    """Run the control plane alone: pushes, deployments, keys, data. Beside `router` and `worker`."""
    settings = _chosen(chosen, a_part="a control plane")

    async def run() -> None:
        from control_plane.serve import serve_control_plane

        await serve_control_plane(settings, on_ready=_announce("The control plane"))

    _run(run())


@click.command()
@_kept_in
@click.option("--check", is_flag=True, help="Say whether the worker that keeps its files in --data is alive.")
def worker(check: bool, **chosen: str | None) -> None:
    """Run a worker alone: it does what is due, and Node-style actions. Any number of them share the work."""
    from control_plane.serve import serve_worker, worker_is_alive

    if check:
        data = _settings(**_given(chosen)).data
        if not worker_is_alive(data):
            raise Refused(f"No worker has given a sign of life in {data} for half a minute.")
        Screen(json=False).say("The worker is alive.")
        return
    _run(serve_worker(_chosen(chosen, a_part="a worker")))


def _announce(what: str) -> Ready:
    async def announce(addresses: "Addresses") -> None:
        Screen(json=False).say(f"{what} answers at {addresses.url}")

    return announce


def _chosen(chosen: dict[str, str | None], a_part: str | None = None) -> Settings:
    """The settings of a server, or of ``a_part``, which is of no use without the others' database and queue."""
    settings = _settings(**_given(chosen))
    missing = [
        name
        for name, value in (("WARREN_DATABASE_URL", settings.database_url), ("WARREN_REDIS_URL", settings.redis_url))
        if value is None
    ]
    if a_part is not None and missing:
        raise Refused(
            f"{a_part.capitalize()} shares a database and a queue with the other parts: set {' and '.join(missing)}. "
            "`warren serve` needs neither: it is everything in one process."
        )
    return settings


def _given(chosen: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in chosen.items() if value is not None}


class _Development:
    """What ``warren dev`` does while its server runs."""

    def __init__(self, settings: Settings, bundle: Path, local: Path) -> None:
        self._settings = settings
        self._bundle = bundle
        self._local = local
        self._screen = Screen(json=False)
        self._work: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Run the server, and the work beside it, until somebody stops it."""
        try:
            await _serve(self._settings, self._begin, self._end)
        finally:
            self._local.unlink(missing_ok=True)
            self._end()
            if self._work is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await self._work

    async def _begin(self, addresses: "Addresses") -> None:
        name, key = self._settings.default_deployment, self._settings.admin_key
        site = addresses.site_url
        assert name is not None and key is not None and site is not None  # all of them follow from what `dev` chose
        bench = Bench(self._bundle, name, addresses.url, site, key)
        _write_private(self._local, {"url": bench.url, "deployment": name, "admin_key": key})
        self._work = asyncio.create_task(self._keep_working(bench))

    def _end(self) -> None:
        # Before the server waits for its calls: a push under way, and the log that is followed, are among them.
        if self._work is not None:
            self._work.cancel()

    async def _keep_working(self, bench: Bench) -> None:
        try:
            await Workbench(bench, self._screen).work()
        except Refused as refusal:
            self._screen.complain(refusal.message)
        except Exception:
            # Told now: otherwise it would be told when the server stops, and saves would do nothing until then.
            _log.exception("what pushes your saves has failed: start `warren dev` again")


async def _serve(settings: Settings, ready: Ready, stop: Callable[[], None] | None = None) -> None:
    # Here and not above: every other command would wait for the whole server to be imported.
    from control_plane.serve import serve

    await serve(settings, on_ready=ready, on_stop=stop)


def _run(server: Coroutine[Any, Any, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server)
    except SandboxUnavailable as error:
        raise Refused(f"{error}\n`warren doctor` shows what this machine can enforce, layer by layer.") from None
    except OurMistake as error:
        raise Refused(f"The server cannot start: {error}.") from None
    except OSError as error:
        raise Refused(f"The server cannot start: {error.strerror or error}.") from None


def _settings(**chosen: str) -> Settings:
    try:
        return read_settings(chosen)
    except InvalidSetting as error:
        raise Refused(str(error)) from None


def _name_of(project: Path) -> str:
    """A deployment name made of a folder's: ``My Shop`` is ``my-shop``."""
    return _NOT_IN_A_LABEL.sub("-", project.resolve().name.lower())[:63].strip("-") or "dev"


def _write_private(path: Path, content: dict[str, str]) -> None:
    """Leave a note for other commands of this person, and for nobody else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2), "utf-8")
