"""What does the host say of a tenant's program before it runs, and hold of it while it does?

Knows nothing of where lanes come from (`launcher`), what the program is for, or what is said on its channel.

Rules
1. A program gets the environment that it is given, and no more: HOME and TMPDIR where it says nothing else, and what
   makes its C library ask for names in a way that can be answered. One descriptor, the channel, as 3.
2. The keeper's last word is the end of a lane: then nothing of it is left. A keeper that ends without a word takes its
   lane with it.
3. Standard output and error are a stranger's bytes. They are read at the reader's pace; the pipe bounds them.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, assert_never

import msgspec

from runtime.errors import IsolateLost, SandboxUnavailable
from runtime.protocol.lanes import Closed, Kill, LineMessage, Listening, Opened, Order, Refused
from worker.lane.connecting import Connections
from worker.lane.judging import Judge, NoNetwork
from worker.lane.names import Resolve
from worker.lane.notifications import Listener

_OPENING_TIME = 30.0
_DATAGRAM = 4096
_PIECE = 16 * 1024


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

    def __init__(self, pid: int, channel: socket.socket, stderr: int, line: "Line") -> None:
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


class Line:
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
            async with asyncio.timeout(_OPENING_TIME):
                return await self._opened
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise SandboxUnavailable(f"a lane was not opened within {_OPENING_TIME:.0f} s") from None
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
        except (BlockingIOError, ConnectionResetError):
            # A keeper that ended before it read our `Kill` resets the line; what it said itself is still to be read.
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
                # Without a judge the filter refuses every connect, and nobody is asked.
                judge = self._judge or NoNetwork()
                self._connections = Connections(Listener(descriptors[0]), judge, self._resolve)
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


def file_of(what: Launch, network: bool, heard: bool) -> BinaryIO:
    """A nameless file with the order for the keeper: an environment may be longer than a datagram."""
    environment = {"HOME": str(what.scratch), "TMPDIR": str(what.scratch), **what.environment, "RES_OPTIONS": "use-vc"}
    order = Order(
        what.command,
        environment,
        tuple(str(path) for path in what.readable),
        str(what.scratch),
        what.memory,
        network=network,
        heard=heard,
    )
    file = os.fdopen(os.memfd_create("order", os.MFD_CLOEXEC), "w+b")
    file.write(msgspec.msgpack.encode(order))
    file.seek(0)
    return file


def _fail(future: "asyncio.Future[int]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
