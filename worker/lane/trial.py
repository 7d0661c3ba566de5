"""Can the network of a lane be judged on this machine?

A lane is opened for it: a program that connects to a door made for it, and to one that it may not pass.

Rules
1. The network holds only if the permitted connection was made and the other one was refused.
2. Without it there are Node-style actions all the same; their every connect fails with EACCES, and this says so.
"""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from runtime.egress.rules import NotAllowed
from runtime.errors import OurMistake
from runtime.limits import MIB
from runtime.protocol.forking import Layer, Requirement
from worker.lane.launching import LaneProcess, Launch

_NAME = "lane_network"
_MEMORY = 128 * MIB
_TIME = 20.0
# The first port says a word, the second may not be connected to.
_PROGRAM = """
import socket, sys
said = socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(1)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])))
except PermissionError:
    sys.exit(0 if said == b"!" else 3)
sys.exit(4)
"""


OpenLane = Callable[[Launch], Awaitable[LaneProcess]]


class _OneDoor:
    """A judge that lets through what goes to one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def check_name(self, host: str) -> None:
        """No name may be asked for."""
        raise NotAllowed(f"{host} may not be asked for")

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        """The addresses, if the port is the one."""
        if port != self._port:
            raise NotAllowed(f"port {port} is not allowed")
        return addresses

    def refused(self, reason: str) -> None:
        """What is refused here is meant to be."""


async def try_network(open_lane: OpenLane) -> tuple[Layer, bool]:
    """Open a lane that connects; whether its connects are judged, and whether the host hears of calls at all."""
    detail = "a connect is heard of, judged, and made by the host"
    try:
        async with asyncio.timeout(_TIME):
            status = await _connect_twice(open_lane)
    except (OurMistake, OSError, TimeoutError) as error:
        return Layer(_NAME, Requirement.RECOMMENDED, False, f"no network: {error or 'no answer'}"), False
    if status != 0:
        detail = f"no network: the trial ended with {status}; the host may not look at its processes, or Linux < 5.9"
    return Layer(_NAME, Requirement.RECOMMENDED, status == 0, detail), True


async def _connect_twice(open_lane: OpenLane) -> int:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    other = socket.create_server(("127.0.0.1", 0))
    with tempfile.TemporaryDirectory() as folder, other:
        port = server.sockets[0].getsockname()[1]
        command = (os.path.realpath(sys.executable), "-I", "-S", "-c", _PROGRAM, str(port))
        readable = (Path(sys.base_prefix), Path(sys.base_exec_prefix))
        what = Launch((*command, str(other.getsockname()[1])), {}, readable, Path(folder), _MEMORY, _OneDoor(port))
        lane = await open_lane(what)
        try:
            return (await lane.ended()).status
        finally:
            await lane.close()
            server.close()
            await server.wait_closed()
