"""What may a guest say about its fetches?

``fetch.start`` begins one and gives its number, ``fetch.send`` sends a piece of its body, ``fetch.head`` waits for the
answer, ``fetch.read`` reads it piece by piece, ``fetch.close`` gives it up. Actions and HTTP actions only.

Rules
1. A number means something only in the invocation that got it, and no longer: when the invocation ends, or its process
   does, whatever is still under way is ended with it.
2. A fetch counts against its deployment until its last byte was read, or it was closed.
3. What was refused stands in the deployment's log, with the reason.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from runtime import limits
from runtime.egress.hops import BadRequest, Carries, Redirect, first_hop
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.ports import Clock, LogEntry, Logs, Web
from runtime.protocol.messages import HeaderList, Level
from runtime.syscalls.outbound.chain import Asked, Chain
from runtime.syscalls.outbound.exchange import Exchange
from runtime.syscalls.table import ACTIONS, Caller, Entry

_NONE = msgspec.msgpack.encode(None)
_encode = msgspec.msgpack.Encoder().encode


class StartArguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A request. ``streams`` says that its body comes in pieces, ``length`` how long it will be if that is known."""

    method: str
    url: str
    headers: HeaderList
    body: bytes | None
    streams: bool
    length: int | None
    redirect: Redirect
    timeout: float | None


class NumberArguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which fetch."""

    number: int


class SendArguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A piece of the body of a request."""

    number: int
    data: bytes
    last: bool


class Begun:
    """The fetches of one invocation, by their numbers."""

    def __init__(self) -> None:
        self.exchanges: dict[int, Exchange] = {}
        self.started = 0
        self.refusals = 0

    def close(self) -> None:
        """The invocation is over."""
        exchanges, self.exchanges = self.exchanges, {}
        for exchange in exchanges.values():
            exchange.close()


class Fetching:
    """The ``fetch.*`` entries."""

    def __init__(self, web: Web, logs: Logs, clock: Clock) -> None:
        self._web = web
        self._logs = logs
        self._clock = clock
        self._open: Counter[DeploymentName] = Counter()

    def entries(self) -> tuple[Entry[Any], ...]:
        """What to put on the list."""
        return (
            Entry("fetch.start", StartArguments, ACTIONS, self._start),
            Entry("fetch.send", SendArguments, ACTIONS, self._send),
            Entry("fetch.head", NumberArguments, ACTIONS, self._head),
            Entry("fetch.read", NumberArguments, ACTIONS, self._read),
            Entry("fetch.close", NumberArguments, ACTIONS, self._close),
        )

    async def _start(self, caller: Caller, arguments: StartArguments) -> bytes:
        asked = _asked(arguments)
        begun, name = _begun(caller), caller.deployment.name
        self._check_room(name)
        begun.started += 1
        number = begun.started
        exchange = begun.exchanges[number] = Exchange(self._leaver(name))
        self._open[name] += 1
        exchange.expect_body(arguments.streams)
        exchange.begin(Chain(self._web, caller.deployment, asked, self._refuser(caller)).follow)
        return _encode(number)

    async def _send(self, caller: Caller, arguments: SendArguments) -> bytes:
        return _encode(await _find(caller, arguments.number).send(arguments.data, arguments.last))

    async def _head(self, caller: Caller, arguments: NumberArguments) -> bytes:
        answer, data, last = await _find(caller, arguments.number).head()
        if last:
            _forget(caller, arguments.number)
        return _encode((*answer, data, last))

    async def _read(self, caller: Caller, arguments: NumberArguments) -> bytes:
        data, last = await _find(caller, arguments.number).read()
        if last:
            _forget(caller, arguments.number)
        return _encode((data, last))

    async def _close(self, caller: Caller, arguments: NumberArguments) -> bytes:
        # It may have ended by itself just now: whoever gives something up need not know.
        _forget(caller, arguments.number)
        return _NONE

    def _check_room(self, name: DeploymentName) -> None:
        if self._open[name] >= limits.FETCHES:
            raise SyscallRefused(
                f"{self._open[name]} fetches of this deployment are under way, limit FETCHES is {int(limits.FETCHES)}: "
                "read or close the bodies of some before starting more",
                "LimitExceeded",
            )
        if (together := self._open.total()) >= limits.FETCHES_TOGETHER:
            raise SyscallRefused(
                f"{together} fetches are under way on this server, limit FETCHES_TOGETHER is "
                f"{int(limits.FETCHES_TOGETHER)}: try again in a moment",
                "LimitExceeded",
            )

    def _leaver(self, name: DeploymentName) -> Callable[[], None]:
        def leave() -> None:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

        return leave

    def _refuser(self, caller: Caller) -> Callable[[str], None]:
        begun = _begun(caller)

        def refused(text: str) -> None:
            begun.refusals += 1
            if begun.refusals <= limits.FETCH_REFUSALS:
                entry = LogEntry(
                    self._clock.now(),
                    Level.WARN,
                    text,
                    request_id=caller.request_id,
                    function_kind=caller.kind,
                )
                self._logs.write(caller.deployment.name, entry)

        return refused


def _asked(arguments: StartArguments) -> Asked:
    body, timeout = arguments.body, arguments.timeout
    if arguments.streams and body is not None:
        raise SyscallRefused("fetch.start: a body is given whole or in pieces, not both", "TypeError")
    if body is not None and len(body) > limits.BODY_WINDOW:
        raise SyscallRefused(
            f"fetch.start: a body of {len(body)} bytes at once, limit BODY_WINDOW is {int(limits.BODY_WINDOW)} bytes",
            "LimitExceeded",
        )
    size = arguments.length or 0
    if not 0 <= size <= limits.FETCH_REQUEST:
        raise SyscallRefused(
            f"a fetch sends {size} bytes, limit FETCH_REQUEST is {int(limits.FETCH_REQUEST)} bytes", "LimitExceeded"
        )
    if timeout is not None and not 0 < timeout < 1e9:
        raise SyscallRefused(f"timeout is a number of seconds above 0, not {timeout}")
    carries = Carries.STREAM if arguments.streams else Carries.NOTHING if body is None else Carries.WHOLE
    try:
        hop = first_hop(arguments.method, arguments.url, arguments.headers, carries)
    except BadRequest as bad:
        raise SyscallRefused(f"fetch: {bad}", "TypeError") from None
    return Asked(hop, body, arguments.length, arguments.redirect, timeout)


def _begun(caller: Caller) -> Begun:
    assert caller.belongings is not None, "the table serves this to actions only"
    return caller.belongings.of(Begun)


def _find(caller: Caller, number: int) -> Exchange:
    found = _begun(caller).exchanges.get(number)
    if found is None:
        raise SyscallRefused(f"there is no fetch {number} here: it has ended, or it is another call's", "TypeError")
    return found


def _forget(caller: Caller, number: int) -> None:
    exchange = _begun(caller).exchanges.pop(number, None)
    if exchange is not None:
        exchange.close()
