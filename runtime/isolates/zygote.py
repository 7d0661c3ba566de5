"""Where do isolates come from?

From a zygote process that the host starts by name and asks for forks. This page keeps one alive: it starts another when
one dies, and when one has forked enough. Knows nothing of what isolates are for.

Rules
1. No server without a wall: `start` raises `SandboxUnavailable`, naming every mandatory layer that is missing.
2. The zygote gets an environment made here (language, time zone, hash seed) and one descriptor. Nothing of ours.
3. A zygote is replaced after so many forks or so long, because all its isolates share one address layout. The old one
   forks no more but lives on until its last isolate is gone: its death would be theirs.
4. When a zygote dies its isolates die with it (the kernel sees to that), and every fork that was under way fails with
   `IsolateLost`; `fork` tries once more, with a new zygote.
5. Started from the thread of the event loop, which must be the one that lives as long as the host: the parent-death
   signal is sent when the *thread* ends that started a process.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

import msgspec

from runtime.errors import IsolateLost, Overloaded, SandboxUnavailable
from runtime.isolates.process import IsolateProcess
from runtime.machine import processors
from runtime.protocol.forking import Exited, Fork, Forked, Layer, Prepared, Refused, Requirement, ZygoteMessage

_FORKS = 1000
_AGE = 3600.0
_START_TIME = 30.0
# More at once gain nothing, the zygote forks one after the other; and the control socket must never be full.
_FORKS_AT_ONCE = 32
_GUEST = "runtime.sandbox.guest_main"
_DATAGRAM = 64 * 1024
# A whole piece of a body fits, so that its sender need not wait for its reader. The kernel may give less.
_CHANNEL_BUFFER = 512 * 1024


@dataclass(slots=True)
class _Order:
    """A fork that was asked for and not yet answered."""

    answer: asyncio.Future[IsolateProcess]
    channel: socket.socket
    stderr: int

    def drop(self) -> None:
        self.channel.close()
        os.close(self.stderr)


class Zygote:
    """A supply of isolates. ``hash_seed`` is the installation's secret that makes the order of sets repeat."""

    def __init__(
        self, hash_seed: int | None = None, guest: str = _GUEST, forks: int = _FORKS, age: float = _AGE
    ) -> None:
        seed = secrets.randbelow(2**32) if hash_seed is None else hash_seed
        self._command = [*_command(), "--guest", guest]
        self._environment = _environment(seed)
        self._forks, self._age = forks, age
        self._current: _Generation | None = None
        self._generations: set[_Generation] = set()
        self._changing = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None
        self._permits = asyncio.Semaphore(_FORKS_AT_ONCE)
        self._layers: tuple[Layer, ...] = ()

    async def start(self) -> None:
        """Start the process and wait until it can fork; raise `SandboxUnavailable` where the wall cannot stand."""
        await self._living()

    async def fork(self) -> IsolateProcess:
        """Make an isolate; it locks itself down. `IsolateLost` when zygotes keep dying, `Overloaded` without room."""
        async with self._permits:
            try:
                return await (await self._living()).fork()
            except IsolateLost:
                return await (await self._living()).fork()

    def report(self) -> tuple[Layer, ...]:
        """Say what each layer of the wall does here, as the zygote tried it when it started."""
        return self._layers

    async def stop(self) -> None:
        """End the process, and with it every isolate; return when they cannot run any more."""
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal
        async with self._changing:
            self._current = None
            for generation in self._generations:
                generation.kill()
            for generation in self._generations:
                await generation.ended.wait()
            self._generations.clear()

    async def _living(self) -> "_Generation":
        current = self._current
        if current is None or current.ended.is_set():
            async with self._changing:
                current = self._current
                if current is None or current.ended.is_set():
                    current = self._current = await self._start_one()
        if current.forks >= self._forks or asyncio.get_running_loop().time() - current.born >= self._age:
            self._renew_soon()
        return current

    def _renew_soon(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(), name="renew the zygote")

    async def _renew(self) -> None:
        """Put a fresh process in the place of the current one; nobody waits for this."""
        async with self._changing:
            fresh, before = await self._start_one(), self._current
            self._current = fresh
            if before is not None:
                before.retire()

    async def _start_one(self) -> "_Generation":
        generation = _Generation(self._command, self._environment)
        self._generations = {each for each in self._generations if not each.ended.is_set()} | {generation}
        try:
            async with asyncio.timeout(_START_TIME):
                self._layers = await generation.prepared
            _insist_on_the_wall(self._layers)
        except BaseException as error:
            generation.kill()
            match error:
                case TimeoutError():
                    raise SandboxUnavailable(f"the zygote was not ready within {_START_TIME:.0f} s") from None
                case IsolateLost():
                    raise SandboxUnavailable(f"{error} before it was ready; the lines above say why") from None
            raise
        return generation


class _Generation:
    """One zygote process, from its start to its end, and the isolates that came of it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self.born = self._loop.time()
        self.forks = 0
        self.ended = asyncio.Event()
        self.prepared: asyncio.Future[tuple[Layer, ...]] = self._loop.create_future()
        self._orders: dict[int, _Order] = {}
        self._isolates: dict[int, IsolateProcess] = {}
        self._retired = False
        self._decode = msgspec.msgpack.Decoder(ZygoteMessage).decode
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            self._process = _spawn([*command, "--control", str(theirs.fileno())], environment, theirs.fileno())
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._control.fileno(), self._listen)
        self._loop.add_reader(self._pidfd, self._bury)

    async def fork(self) -> IsolateProcess:
        """Ask for one isolate and wait for it."""
        if self.ended.is_set():
            raise IsolateLost("the zygote ended")
        self.forks += 1
        number = self.forks
        ours, guest = socket.socketpair()
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        order = _Order(self._loop.create_future(), ours, reader)
        try:
            ours.setblocking(False)
            for end in (ours, guest):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BUFFER)
            socket.send_fds(self._control, [msgspec.msgpack.encode(Fork(number))], [guest.fileno(), writer])
        except OSError as error:
            order.drop()
            raise IsolateLost(f"the zygote does not listen: {error.strerror}") from None
        finally:
            guest.close()
            os.close(writer)
        self._orders[number] = order
        return await order.answer

    def retire(self) -> None:
        """Fork no more, and end when the last isolate has."""
        self._retired = True
        self._end_if_idle()

    def kill(self) -> None:
        """End the process now; the kernel ends its isolates."""
        if not self.ended.is_set():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _listen(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, _DATAGRAM, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                # It closed its end: it is about to end, and the pidfd will say so.
                self._loop.remove_reader(self._control.fileno())
                return
            self._hear(self._decode(data), descriptors)

    def _hear(self, message: ZygoteMessage, descriptors: list[int]) -> None:
        match message:
            case Prepared(layers):
                if not self.prepared.done():
                    self.prepared.set_result(layers)
            case Forked(number, pid):
                self._deliver(self._orders.pop(number), pid, descriptors[0])
            case Refused(number, reason):
                order = self._orders.pop(number)
                order.drop()
                _fail(order.answer, Overloaded(f"no process for another isolate: {reason}"))
            case Exited(pid, status):
                self._isolates.pop(pid).ended(status)
            case _:
                assert_never(message)
        self._end_if_idle()

    def _deliver(self, order: _Order, pid: int, pidfd: int) -> None:
        process = IsolateProcess(order.channel, order.stderr, pid, pidfd)
        self._isolates[pid] = process
        if order.answer.done():
            # Who asked has gone away meanwhile.
            process.kill()
            process.close()
        else:
            order.answer.set_result(process)

    def _end_if_idle(self) -> None:
        if self._retired and not self._isolates and not self._orders:
            self._control.shutdown(socket.SHUT_RDWR)

    def _bury(self) -> None:
        """The process has ended: hear what it still said, and tell everybody who waits for it."""
        if self.ended.is_set():
            return
        self._listen()
        self.ended.set()
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_reader(self._pidfd)
        self._control.close()
        os.close(self._pidfd)
        lost = IsolateLost(f"the zygote ended with status {self._process.wait()}")
        _fail(self.prepared, lost)
        for order in self._orders.values():
            order.drop()
            _fail(order.answer, lost)
        self._orders.clear()
        for process in self._isolates.values():
            process.ended(-signal.SIGKILL)
        self._isolates.clear()


def _insist_on_the_wall(layers: tuple[Layer, ...]) -> None:
    missing = [layer for layer in layers if not layer.holds and layer.requirement is Requirement.MANDATORY]
    if missing:
        what = "; ".join(f"{layer.name} ({layer.detail})" for layer in missing)
        raise SandboxUnavailable(f"no tenant's code can run safely here, missing: {what}. See `warren doctor`")


def examine() -> tuple[Layer, ...]:
    """Try every layer of the wall on this machine, in processes made for it; for ``warren doctor``."""
    answer = subprocess.run([*_command(), "--report"], env=_environment(0), cwd="/", capture_output=True, check=False)
    try:
        return msgspec.json.decode(answer.stdout, type=tuple[Layer, ...])
    except msgspec.DecodeError:
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        raise SandboxUnavailable(f"the wall cannot be tried here: {said[-1] if said else answer.returncode}") from None


def _command() -> list[str]:
    # As -I, but with PYTHONHASHSEED, which -I would ignore: nothing of the caller's directory or home is imported, and
    # the environment is ours.
    return [sys.executable, "-P", "-s", "-m", "runtime.sandbox.zygote_main"]


def _environment(hash_seed: int) -> dict[str, str]:
    return {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": str(hash_seed)}


def _spawn(command: list[str], environment: dict[str, str], control: int) -> "subprocess.Popen[bytes]":
    processors.leave_free()
    # A process group of its own: Ctrl-C reaches the host only. No session of its own: there, its niceness would not
    # count against ours.
    return subprocess.Popen(
        command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control,),
        process_group=0,
    )


def _fail(future: "asyncio.Future[tuple[Layer, ...]] | asyncio.Future[IsolateProcess]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
