"""How does a lane connect to anything?

Its connect(2) is trapped by the filter. The host reads where to, judges it, connects a socket of its own to the address
that was judged, and puts it in the place of the lane's. Knows nothing of deployments; who decides is a `Judge`.

Rules
1. TCP only, and only a socket that is not connected: nothing is connected twice, nothing disconnected (AF_UNSPEC).
2. What is connected to is what was judged, never what a second look at the caller's memory would say.
3. A port 53 of this machine means the name server, which is a socket pair with `names` behind it.
4. A socket that does not block is installed while it connects, as connect(2) would leave it; one that blocks, when it
   is connected. Options that matter are carried over; those that choose a way through the network cannot be set.
5. Every connect has its turn: a lane that makes a flood of them waits, and costs the host as much as a slow one. So has
   every process and thread, where the kernel does not count them: the keeper can then keep up with them.
6. An address of this machine is judged as the loopback, too.
7. Anything unexpected is a refusal.
"""

import asyncio
import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from runtime.egress.rules import NotAllowed
from runtime.limits import CONNECT_TIME, LANE_CONNECTS, LANE_REFUSALS
from worker.lane.judging import Judge
from worker.lane.names import Names, Resolve
from worker.lane.notifications import Call, Gone, Listener
from worker.lane.sockets import Refused, Theirs, socket_of

_LONGEST_ADDRESS = 28
_NAME_SERVER_PORT = 53
# A lane may make so many connects at once, and then one in this many seconds.
_BURST, _INTERVAL = 128, 0.01


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to, as it was read: the family of the address, the address as it is judged, and the port."""

    family: int
    address: str
    port: int


class _Pace:
    """So many at once, and then one at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = 0.0

    def free(self) -> bool:
        """Take a turn if nobody has to wait for it."""
        now = self._loop.time()
        following = max(self._next + _INTERVAL, now - _BURST * _INTERVAL)
        if following > now:
            return False
        self._next = following
        return True

    async def turn(self) -> None:
        """Wait for a turn."""
        if not self.free():
            self._next += _INTERVAL
            await asyncio.sleep(self._next - self._loop.time())


class Connections:
    """The network of one lane, and the pace at which it makes processes."""

    def __init__(self, listener: Listener, judge: Judge, resolve: Resolve) -> None:
        self._listener = listener
        self._judge = judge
        self._names = Names(judge, resolve, self._refuse)
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._connects, self._tasks = _Pace(), _Pace()
        self._minute, self._said, self._unsaid = 0.0, 0, 0
        self._loop.add_reader(listener.fileno(), self._hear)

    async def close(self) -> None:
        """Hear of no more connects; those under way fail."""
        self._loop.remove_reader(self._listener.fileno())
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._names.close()
        self._listener.close()

    def _hear(self) -> None:
        try:
            call = self._listener.receive()
        except Gone:
            return
        except OSError:
            # Nobody is left who could call.
            self._loop.remove_reader(self._listener.fileno())
            return
        if not call.is_connect and self._tasks.free():
            self._listener.let_go_on(call)
            return
        if len(self._under_way) >= LANE_CONNECTS:
            self._listener.answer(call, errno.EAGAIN)
            return
        serve = self._serve(call) if call.is_connect else self._let_go_on(call)
        task = self._loop.create_task(serve, name="a lane's call")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _serve(self, call: Call) -> None:
        """Answer one connect, whatever happens."""
        error = errno.EACCES
        try:
            await self._connects.turn()
            error = await self._connect(call)
        except Refused as refused:
            error = refused.error
        except NotAllowed as refused:
            self._refuse(str(refused))
        except TimeoutError:
            error = errno.ETIMEDOUT
        except Gone:
            return
        except OSError as failed:
            error = failed.errno or errno.EACCES
        finally:
            self._listener.answer(call, error)

    async def _let_go_on(self, call: Call) -> None:
        await self._tasks.turn()
        self._listener.let_go_on(call)

    async def _connect(self, call: Call) -> int:
        """Make the connection and put it in its place; 0, or EINPROGRESS for one that is still being made."""
        target = _read_target(self._listener.read(call, min(call.length, _LONGEST_ADDRESS)), call.length)
        with socket_of(self._listener, call) as theirs:
            if theirs.family not in (None, target.family):
                raise Refused(errno.EAFNOSUPPORT if theirs.family == socket.AF_INET else errno.EINVAL)
            if target.port == _NAME_SERVER_PORT and ipaddress.ip_address(target.address).is_loopback:
                return self._install(call, self._names.serve(), theirs)
            self._permit(target)
            if _is_this_machine(target):
                # It has more names for itself than 127.0.0.1, and what listens there does not tell them apart.
                self._judge.permitted(None, ["127.0.0.1"], target.port)
            return await self._make(call, target, theirs)

    def _permit(self, target: _Target) -> None:
        """Raise `NotAllowed` unless one of the names of this address, or the address itself, may be connected to."""
        refusal: NotAllowed | None = None
        for host, addresses in (*self._names.of(target.address).items(), (None, [target.address])):
            try:
                if target.address in self._judge.permitted(host, addresses, target.port):
                    return
            except NotAllowed as error:
                refusal = refusal or error
        raise refusal or NotAllowed(f"{target.address}, port {target.port}, is not allowed")

    async def _make(self, call: Call, target: _Target, theirs: Theirs) -> int:
        with socket.socket(target.family, socket.SOCK_STREAM) as made:
            made.setblocking(False)
            theirs.carry_over(made)
            # An IPv4 address in an IPv6 socket goes as it came: ::ffff:…; what was judged is the address in it.
            mapped = target.family == socket.AF_INET6 and ":" not in target.address
            where = (f"::ffff:{target.address}" if mapped else target.address, target.port)
            if not theirs.is_blocking:
                error = made.connect_ex(where)
                if error not in (0, errno.EINPROGRESS):
                    raise Refused(error)
                self._listener.install(call, made)
                return error
            async with asyncio.timeout(CONNECT_TIME / 1000):
                await self._loop.sock_connect(made, where)
            return self._install(call, made, theirs)

    def _install(self, call: Call, made: socket.socket | None, theirs: Theirs) -> int:
        if made is None:
            raise Refused(errno.EAGAIN)
        with made:
            made.setblocking(theirs.is_blocking)
            self._listener.install(call, made)
        return 0

    def _refuse(self, reason: str) -> None:
        """Tell the deployment's log, so many times a minute."""
        now = self._loop.time()
        if now - self._minute >= 60:
            if self._unsaid:
                self._judge.refused(f"{self._unsaid} more connections were refused")
            self._minute, self._said, self._unsaid = now, 0, 0
        if self._said < LANE_REFUSALS:
            self._said += 1
            self._judge.refused(reason)
        else:
            self._unsaid += 1


def _read_target(found: bytes, length: int) -> _Target:
    if len(found) < 2:
        raise Refused(errno.EFAULT if length >= 2 else errno.EINVAL)
    (family,) = struct.unpack_from("=H", found)
    if family == socket.AF_INET and len(found) >= 16:
        port, packed = struct.unpack_from("!2xH4s", found)
        return _Target(family, str(ipaddress.IPv4Address(packed)), port)
    if family == socket.AF_INET6 and len(found) >= 28:
        port, packed, scope = struct.unpack("!2xH4x16s4s", found)
        address = ipaddress.IPv6Address(packed)
        if any(scope):
            raise Refused(errno.EACCES)
        return _Target(family, str(address.ipv4_mapped or address), port)
    raise Refused(errno.EAFNOSUPPORT if family not in (socket.AF_INET, socket.AF_INET6) else errno.EINVAL)


def _is_this_machine(target: _Target) -> bool:
    """Whether an address is one of this machine's own, beside the loopback, which is judged as what it is."""
    address = ipaddress.ip_address(target.address)
    if address.is_loopback:
        return False
    # Nothing is sent: connecting a socket of datagrams only finds out from which address one would.
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex((target.address, target.port)) != 0:
            return False
        return str(probe.getsockname()[0]) == target.address
