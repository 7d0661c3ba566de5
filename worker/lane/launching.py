"""How does a tenant's program come to run behind its wall, and what does the host hold of it?

The launcher is a process that the host starts by name; it forks a keeper for each lane, and that the program. Knows
nothing of what the program is for, or of what is said on its channel.

Rules
1. No lane without its wall: `start` raises `SandboxUnavailable`, naming every mandatory layer that is missing. Without
   a network that can be judged there is none: every connect is refused, and `report` says so.
2. A program gets the environment that it is given, and no more: HOME and TMPDIR where it says nothing else, and what
   makes its C library ask for names in a way that can be answered. One descriptor, the channel, as 3.
3. The keeper's last word is the end of a lane: then nothing of it is left. A keeper that ends without a word takes its
   lane with it.
4. Standard output and error are a stranger's bytes. They are read at the reader's pace; the pipe bounds them.
5. Started from the thread of the event loop, as the zygote is, and for the same reason.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, assert_never

import msgspec

from runtime.errors import IsolateLost, Overloaded, SandboxUnavailable
from runtime.protocol.forking import Layer, Requirement
from runtime.protocol.lanes import Closed, Kill, LineMessage, Listening, Open, Opened, Order, Prepared, Refused
from worker.lane.connecting import Connections
from worker.lane.judging import Judge
from worker.lane.names import Resolve
from worker.lane.notifications import Listener

_START_TIME = 30.0
_DATAGRAM = 64 * 1024
_PIECE = 16 * 1024
# Threads that wait for the resolver, for all lanes together; a lane's slow names must not fill the loop's own.
_RESOLVERS = 16


@dataclass(frozen=True)
class Launch:
    """What is to run, and what it may have. The interpreter stands first in ``command``; ``memory`` is in bytes.

    ``readable`` is read and executed, ``scratch`` (which must be there, and empty at first) is written and is the
    current directory. Without a ``judge`` there is no network.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    readable: tuple[Path, ...]
    scratch: Path
    memory: int
    judge: Judge | None = None


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """How a lane ended: as a program does, or because of the limit that ``reason`` names."""

    status: int
    reason: str | None


class LaneProcess:
    """One program behind its wall. ``socket`` is a non-blocking stream, our end of its descriptor 3."""

    def __init__(self, pid: int, channel: socket.socket, stderr: int, line: "_Line") -> None:
        self.pid = pid
        self.socket = channel
        self._line = line
        self._stderr = stderr

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left."""
        return self._line.ended.done()

    async def ended(self) -> LaneEnd:
        """Wait until nothing of it is left."""
        return await asyncio.shield(self._line.ended)

    def kill(self) -> None:
        """End it with all its processes, whatever they do."""
        self._line.kill()

    async def words(self) -> AsyncIterator[bytes]:
        """What it writes to its standard output and error, in pieces as they come, to their end. Read by one reader."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_PIECE)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._stderr, "rb", 0)
        )
        self._stderr = -1
        try:
            while piece := await reader.read(_PIECE):
                yield piece
        finally:
            transport.close()

    async def close(self) -> None:
        """End it if it lives, wait until nothing is left, and let go of what the host holds. May be called twice."""
        self.kill()
        await self.ended()
        await self._line.close()
        self.socket.close()
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1


class Launcher:
    """A supply of lanes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._layers: tuple[Layer, ...] = ()
        self._network = False
        self._starting = asyncio.Lock()
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, "lane-names")

    async def start(self) -> None:
        """Start the process and wait until it can open lanes; raise `SandboxUnavailable` where the wall cannot stand."""
        async with self._starting:
            await self._stop_process()
            self._layers = await self._start_process()
            missing = [each for each in self._layers if not each.holds and each.requirement is Requirement.MANDATORY]
            if missing:
                await self._stop_process()
                what = "; ".join(f"{layer.name} ({layer.detail})" for layer in missing)
                raise SandboxUnavailable(f"Node-style actions cannot run safely here, missing: {what}")

    def report(self) -> tuple[Layer, ...]:
        """Say what each layer of the lane's wall does here, as it was tried at the start."""
        return self._layers

    async def launch(self, what: Launch) -> LaneProcess:
        """Run a program behind its wall; raise `SandboxUnavailable` with the reason when it does not come to run."""
        if self._control is None or self._process is None or self._process.poll() is not None:
            await self.start()
        ours, channel = socket.socketpair()
        ours.setblocking(False)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        line, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with channel, keepers, _file_of(_order(what)) as file:
                descriptors = [keepers.fileno(), channel.fileno(), writer, file.fileno()]
                await self._send(descriptors)
                os.close(writer)
            opening = _Line(line, what.judge, self._resolve)
            return LaneProcess(await opening.opened(), ours, reader, opening)
        except BaseException:
            ours.close()
            os.close(reader)
            raise

    async def stop(self) -> None:
        """End the launcher, and with it every lane."""
        async with self._starting:
            await self._stop_process()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _send(self, descriptors: list[int]) -> None:
        if self._control is None:
            raise IsolateLost("the launcher of Node-style actions ended")
        try:
            socket.send_fds(self._control, [msgspec.msgpack.encode(Open())], descriptors)
        except BlockingIOError:
            raise Overloaded("more Node-style actions are started at once than can be") from None
        except OSError as error:
            raise IsolateLost(f"the launcher of Node-style actions does not listen: {error.strerror}") from None

    async def _start_process(self) -> tuple[Layer, ...]:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            self._process = _spawn(theirs.fileno())
        try:
            async with asyncio.timeout(_START_TIME):
                data = await asyncio.get_running_loop().sock_recv(self._control, _DATAGRAM)
        except TimeoutError:
            raise SandboxUnavailable(f"the launcher was not ready within {_START_TIME:.0f} s") from None
        if not data:
            status = self._process.wait()
            raise SandboxUnavailable(f"the launcher of Node-style actions ended with {status}; the lines above say why")
        return msgspec.msgpack.decode(data, type=Prepared).layers

    async def _stop_process(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def _resolve(self, name: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
        # A scope (%eth0) speaks of one of this machine's networks; no address of the Internet has one.
        return list(dict.fromkeys(str(each[4][0]) for each in found))


class _Line:
    """What the host hears of one lane, from its opening to its end."""

    def __init__(self, line: socket.socket, judge: Judge | None, resolve: Resolve) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._line.setblocking(False)
        self._judge = judge
        self._resolve = resolve
        self._decode = msgspec.msgpack.Decoder(LineMessage).decode
        self._opened: asyncio.Future[int] = self._loop.create_future()
        self._pid: int | None = None
        self._connections: Connections | None = None
        self._closed = False
        self.ended: asyncio.Future[LaneEnd] = self._loop.create_future()
        self._loop.add_reader(line.fileno(), self._listen)

    async def opened(self) -> int:
        """Wait until the program runs; its pid."""
        try:
            async with asyncio.timeout(_START_TIME):
                return await self._opened
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise SandboxUnavailable(f"a lane was not opened within {_START_TIME:.0f} s") from None
            raise

    def kill(self) -> None:
        """Ask the keeper for the end."""
        if not self.ended.done():
            with suppress(OSError):
                self._line.send(msgspec.msgpack.encode(Kill()))

    async def close(self) -> None:
        """Hear nothing more. The keeper, if it lives, ends with its lane."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
            if self._connections is not None:
                await self._connections.close()

    def _listen(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._line, _DATAGRAM, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if data:
            self._hear(self._decode(data), descriptors)
            return
        self._loop.remove_reader(self._line.fileno())
        self._keeper_is_gone()

    def _hear(self, message: LineMessage, descriptors: list[int]) -> None:
        match message:
            case Listening():
                if self._judge is None:
                    os.close(descriptors[0])
                else:
                    self._connections = Connections(Listener(descriptors[0]), self._judge, self._resolve)
            case Opened(pid):
                self._pid = pid
                if not self._opened.done():
                    self._opened.set_result(pid)
            case Refused(why):
                _fail(self._opened, SandboxUnavailable(f"a Node-style action was not started: {why}"))
            case Closed(status, reason):
                self._end(LaneEnd(status, reason))
            case _:
                assert_never(message)

    def _keeper_is_gone(self) -> None:
        _fail(self._opened, IsolateLost("the keeper of a Node-style action ended before it ran"))
        if not self.ended.done():
            if self._pid is not None:
                # Its first process died with the keeper (the kernel sees to that); what that had started is its group.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._pid, signal.SIGKILL)
            self._end(LaneEnd(-signal.SIGKILL, None))

    def _end(self, end: LaneEnd) -> None:
        if not self.ended.done():
            self.ended.set_result(end)


def _order(what: Launch) -> Order:
    environment = {"HOME": str(what.scratch), "TMPDIR": str(what.scratch), **what.environment, "RES_OPTIONS": "use-vc"}
    return Order(
        what.command,
        environment,
        tuple(str(path) for path in what.readable),
        str(what.scratch),
        what.memory,
        network=what.judge is not None,
    )


def _file_of(order: Order) -> BinaryIO:
    """A nameless file that holds the order: an environment may be longer than a datagram."""
    file = os.fdopen(os.memfd_create("order", os.MFD_CLOEXEC), "w+b")
    file.write(msgspec.msgpack.encode(order))
    file.seek(0)
    return file


def _spawn(control: int) -> "subprocess.Popen[bytes]":
    # A process group of its own: Ctrl-C reaches the host only.
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "runtime.sandbox.lane.launcher", "--control", str(control)],
        env={"LANG": "C.UTF-8", "TZ": "UTC"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control,),
        process_group=0,
    )


def _fail(future: "asyncio.Future[int]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
