"""How does a process answer on its ports, and how does it end?

Rules
1. Ports are taken before anything else is begun: they are what most often cannot be had.
2. SIGTERM and SIGINT end it in order: no new connections, then calls under way finish, for `DRAIN` seconds at most; a
   second signal does not wait for them.
3. A call that has not ended by then is cancelled, and its client told so.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import uvicorn

from runtime.edge.app import App
from runtime.edge.connections.connection import listen
from runtime.settings import Settings

DRAIN = 10
_PATIENCE = 1.0  # seconds until somebody who waits for the end is told what it waits for
_BACKLOG = 2048
_log = logging.getLogger("warren.serve")


async def run_until_told(
    listeners: "list[PortListener]", before_the_end: Callable[[], None], ready: Callable[[], Awaitable[None]] | None
) -> None:
    """Answer until a signal says stop; ``ready`` is called once, when requests are answered."""
    ending = _Ending(listeners, before_the_end)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.told)
    running = [asyncio.create_task(listener.run_until_stopped()) for listener in listeners]
    try:
        await asyncio.gather(*(listener.answers.wait() for listener in listeners))
        if ready is not None:
            await ready()
        await asyncio.gather(*running)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        ending.begin()
        await asyncio.gather(*running, return_exceptions=True)
        ending.over()


class _Ending:
    """How listeners end: in order, or at once when told twice."""

    def __init__(self, listeners: "list[PortListener]", before: Callable[[], None]) -> None:
        self._listeners = listeners
        self._before = before
        self._timers: list[asyncio.TimerHandle] = []

    def told(self) -> None:
        """A signal came."""
        if self._timers:
            self._cut()
        else:
            self.begin()

    def begin(self) -> None:
        """Take no more, and let what is under way finish."""
        if self._timers:
            return
        self._before()
        for listener in self._listeners:
            listener.should_exit = True
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(_PATIENCE, self._explain), loop.call_later(DRAIN, self._cut)]

    def over(self) -> None:
        """Nothing is left to wait for."""
        for timer in self._timers:
            timer.cancel()

    def _explain(self) -> None:
        under_way = sum(listener.under_way for listener in self._listeners)
        if under_way:
            _log.warning("stopping: %d under way, for %d s at most; a second signal ends them now", under_way, DRAIN)

    def _cut(self) -> None:
        for listener in self._listeners:
            listener.cut()


class PortListener(uvicorn.Server):
    """One uvicorn server among several in this process: signals are not its business."""

    def __init__(self, app: App, settings: Settings, bound: socket.socket) -> None:
        config = listen(app, host=settings.host, port=port_of(bound))
        config.timeout_graceful_shutdown = DRAIN + 2  # for what does not listen: calls are cut before that
        config.lifespan = "off"
        super().__init__(config)
        self.answers = asyncio.Event()
        self._bound = bound

    async def run_until_stopped(self) -> None:
        """Serve until ``should_exit`` is set."""
        await self.serve([self._bound])

    @property
    def under_way(self) -> int:
        """How many calls have not ended."""
        return len(self.server_state.tasks)

    def cut(self) -> None:
        """End the calls that are under way."""
        for task in self.server_state.tasks:
            task.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, and say so."""
        await super().startup(sockets)
        self.answers.set()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there, the same use
        """Leave the signals alone."""
        return nullcontext()


@contextmanager
def sockets(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket | None]]:
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


def port_of(bound: socket.socket) -> int:
    """The port that was taken."""
    return int(bound.getsockname()[1])
