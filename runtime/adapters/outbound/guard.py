"""How is a connection made to where a tenant sends us?

A network backend for httpcore, made for one destination: it resolves the name itself, asks the rules about what comes
out, and connects to one of the addresses that were judged. Nothing is resolved again between judgement and connection.

Rules
1. There is no other way out: no proxy of the environment, no Unix socket, no address that was not judged.
2. TLS is for the name that was asked for, whatever address it has.
3. What was connected is looked at once more: this server itself is never the other end (its own ports).
4. Names are resolved in threads of their own: one that hangs takes none from the rest of the house.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpcore

from runtime import limits
from runtime.adapters.outbound.metered import Meter, Metered
from runtime.egress.policy import OPEN, EgressPolicy
from runtime.egress.rules import Destination, NotAllowed, Rules

# A machine that advertises an address and does not answer there must not cost the whole time of a look-up.
_ADDRESS_TIME = 1.5


class Resolver:
    """Names to addresses, as the machine's own resolver knows them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(int(limits.LOOKUPS), thread_name_prefix="names")

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Every address of a host, in the order of preference; raises `OSError`."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Resolve no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError:
        raise OSError(f"{host[:100]!r} is no host name") from None


class Guard(httpcore.AsyncNetworkBackend):
    """Connects to one destination, where the rules allow it; raises `NotAllowed` where they do not."""

    def __init__(
        self,
        rules: Rules,
        where: Destination,
        resolver: Resolver,
        policy: EgressPolicy = OPEN,
        line: asyncio.Semaphore | None = None,
    ) -> None:
        self.meter = Meter()
        self._rules = rules
        self._where = where
        self._resolver = resolver
        self._policy = policy
        self._line = line  # where to stand until a name may be resolved, if several share a resolver
        self._backend = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address that answers."""
        where = self._where
        if (host, port) != (where.host, where.port):
            raise NotAllowed(f"{host[:100]} is not where this connection was to go")
        addresses = await self._resolved(host, port)
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        self._policy.check(host, port)
        for address in self._rules.permitted(where, addresses):
            try:
                self._stream = await self._backend.connect_tcp(address, port, timeout=_ADDRESS_TIME)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return Metered(await self._not_ourselves(self._stream), self.meter)
        raise failed

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        if self._line is None:
            return await self._resolver.addresses(host, port)
        line = self._line
        await line.acquire()
        looking = asyncio.ensure_future(self._resolver.addresses(host, port))

        def leave(done: "asyncio.Future[Sequence[str]]") -> None:
            # Not before the thread is free: whoever gives up early must not get another one instead.
            line.release()
            if not done.cancelled():
                done.exception()

        looking.add_done_callback(leave)
        return await asyncio.shield(looking)

    async def close(self) -> None:
        """Close what was connected, also where nobody got hold of it."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _not_ourselves(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncNetworkStream:
        """Look where the connection has led, before a byte is sent: whoever is at both of its ends is this machine."""
        there, here = stream.get_extra_info("server_addr"), stream.get_extra_info("client_addr")
        try:
            self._rules.check_not_own(there[0], self._where.port, here[0])
        except NotAllowed:
            await stream.aclose()
            raise
        return stream

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise NotAllowed("there is no way out over Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore's retries."""
        await self._backend.sleep(seconds)
