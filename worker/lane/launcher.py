"""Where do lanes come from?

From a process that the host starts by name. It forks a keeper for each lane, and the keeper forks the tenant's program.
Knows nothing of what programs are for.

Rules
1. No lane without its wall: `start` raises `SandboxUnavailable`, naming every mandatory layer that is missing. Without
   a network that can be judged there is none: every connect is refused, and `report` says so.
2. The launcher's end is the end of its lanes. `launch` starts another one when the last has ended.
3. Started from the thread of the event loop, as the zygote is, and for the same reason.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from runtime.errors import IsolateLost, Overloaded, SandboxUnavailable
from runtime.machine import processors
from runtime.protocol.forking import Layer, Requirement
from runtime.protocol.lanes import Open, Prepared
from worker.lane.launching import LaneProcess, Launch, Line, file_of
from worker.lane.names import Resolve
from worker.lane.trial import try_network

_START_TIME = 30.0
_DATAGRAM = 64 * 1024
# Threads that wait for the resolver, for all lanes together; a lane's slow names must not fill the loop's own.
_RESOLVERS = 16
_TASKS = (
    "processes and threads, counted by the kernel under a uid of their own, or let through by the host in their turn"
)


class Launcher:
    """A supply of lanes. ``resolve`` finds the addresses of a name; usually this machine's resolver does."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._resolve = resolve or self._ask_this_machine
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._layers: tuple[Layer, ...] = ()
        self._network = self._heard = True
        self._starting = asyncio.Lock()
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, "lane-names")

    async def start(self) -> None:
        """Start the process, wait until it can open lanes; raise `SandboxUnavailable` where the wall cannot stand."""
        async with self._starting:
            if self._lives():
                return
            await self._stop_process()
            self._layers = await self._start_process()
            missing = [each for each in self._layers if not each.holds and each.requirement is Requirement.MANDATORY]
            if missing:
                await self._stop_process()
                what = "; ".join(f"{layer.name} ({layer.detail})" for layer in missing)
                raise SandboxUnavailable(f"Node-style actions cannot run safely here, missing: {what}")
            self._network = self._heard = True
            network, self._heard = await try_network(self._open)
            self._network = network.holds
            counted = any(each.name == "lane_other_uid" and each.holds for each in self._layers)
            tasks = Layer("lane_tasks", Requirement.MANDATORY, counted or self._heard, _TASKS)
            self._layers += (tasks, network)
            if not tasks.holds:
                await self._stop_process()
                raise SandboxUnavailable(f"Node-style actions cannot run safely here: nothing can be had of {_TASKS}")

    def report(self) -> tuple[Layer, ...]:
        """Say what each layer of the lane's wall does here, as it was tried at the start."""
        return self._layers

    async def launch(self, what: Launch) -> LaneProcess:
        """Run a program behind its wall; raise `SandboxUnavailable` with the reason when it does not come to run."""
        if not self._lives():
            await self.start()
        return await self._open(what)

    async def _open(self, what: Launch) -> LaneProcess:
        judge = what.judge if self._network else None
        ours, channel = socket.socketpair()
        ours.setblocking(False)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        line, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with channel, keepers, file_of(what, network=judge is not None, heard=self._heard) as file:
                self._send([keepers.fileno(), channel.fileno(), writer, file.fileno()])
            opening = Line(line, judge, self._resolve)
            return LaneProcess(await opening.opened(), ours, reader, opening)
        except BaseException:
            ours.close()
            line.close()
            os.close(reader)
            raise
        finally:
            os.close(writer)

    def _lives(self) -> bool:
        return self._control is not None and self._process is not None and self._process.poll() is None

    async def stop(self) -> None:
        """End the launcher, and with it every lane."""
        async with self._starting:
            await self._stop_process()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _send(self, descriptors: list[int]) -> None:
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

    async def _ask_this_machine(self, name: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
        # A scope (%eth0) speaks of one of this machine's networks; no address of the Internet has one.
        return list(dict.fromkeys(str(each[4][0]) for each in found))


def _spawn(control: int) -> "subprocess.Popen[bytes]":
    processors.leave_free()
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
