"""How does a lane find the addresses of a name?

Its C library asks 127.0.0.1:53 over TCP (it can read no /etc/resolv.conf, and RES_OPTIONS says ``use-vc``). That
connect is trapped, and the lane gets a socket whose other end is here. Speaks as much DNS as that takes: one question,
for A or AAAA. Knows nothing of connections.

Rules
1. A question is judged before anybody is asked, and all addresses of the answer before one of them is told.
2. Names are resolved by the host's own resolver, both kinds of address at once; what a lane was told is remembered, so
   that a connect to one of the addresses is judged by that name as well.
3. Everything is bounded: questions at once, their length, the time for an answer, the addresses remembered, and the
   names of each.
4. A name that may not be asked for does not exist (NXDOMAIN); why is in the deployment's log.
"""

import asyncio
import socket
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from runtime.egress.rules import NotAllowed
from runtime.limits import LANE_NAMES, LANE_QUESTIONS, LOOKUP_TIME
from worker.lane.judging import Judge

_HEAD = struct.Struct("!6H")
_TYPE_AND_CLASS = struct.Struct("!2H")
_KINDS = {1: 4, 28: 6}  # A and AAAA, and the version of IP that they speak of
_INTERNET = 1
_NO_ERROR, _MALFORMED, _FAILED, _NO_SUCH_NAME, _NOT_IMPLEMENTED = 0, 1, 2, 3, 4
_RESPONSE, _RECURSION = 0x8000, 0x0180  # desired, and available
_LONGEST = 512
_TTL = 60
_ANSWERS = 64  # told at most, of one name
_ALIASES = 16  # remembered of one address; with a wildcard there is no end of them

Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: its number, the name, the kind of address, and the bytes to repeat in the answer."""

    number: int
    name: str
    kind: int
    text: bytes


class Names:
    """What one lane may ask, has asked, and was told."""

    def __init__(self, judge: Judge, resolve: Resolve, refuse: Callable[[str], None]) -> None:
        self._judge = judge
        self._resolve = resolve
        self._refuse = refuse
        self._found: OrderedDict[str, dict[str, Sequence[str]]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def of(self, address: str) -> dict[str, Sequence[str]]:
        """The names by which the lane has found this address, each with all of its addresses."""
        return self._found.get(address, {})

    def serve(self) -> socket.socket | None:
        """A connection to the name server, for the lane; ``None`` when it has too many."""
        if len(self._serving) >= LANE_QUESTIONS:
            return None
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(self._answer_all(ours), name="a lane's questions")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return theirs

    async def close(self) -> None:
        """Answer nothing more."""
        for task in (*self._serving, *self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._serving, *self._asking.values(), return_exceptions=True)

    async def _answer_all(self, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=ours, limit=4 * _LONGEST)
        try:
            async with asyncio.timeout(2 * LOOKUP_TIME / 1000):
                while True:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    if length > _LONGEST:
                        return
                    answer = await self._answer(await reader.readexactly(length))
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()

    async def _answer(self, packet: bytes) -> bytes:
        try:
            question = read_question(packet)
        except ValueError:
            return _HEAD.pack(int.from_bytes(packet[:2], "big"), _RESPONSE | _MALFORMED, 0, 0, 0, 0)
        if question.kind not in _KINDS:
            return write_answer(question, _NOT_IMPLEMENTED, ())
        try:
            addresses = await self._addresses(question.name)
        except NotAllowed as error:
            self._refuse(str(error))
            return write_answer(question, _NO_SUCH_NAME, ())
        except socket.gaierror as error:
            unknown = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return write_answer(question, _NO_SUCH_NAME if unknown else _FAILED, ())
        except (OSError, UnicodeError):
            return write_answer(question, _FAILED, ())
        version = _KINDS[question.kind]
        wanted = [address for address in addresses if ip_address(address).version == version]
        return write_answer(question, _NO_ERROR, wanted[:_ANSWERS])

    async def _addresses(self, name: str) -> Sequence[str]:
        """All addresses of a name; who asks for A and for AAAA at once asks the resolver once."""
        self._judge.check_name(name)
        if name not in self._asking:
            task = asyncio.create_task(self._look_up(name), name=f"resolve {name}")
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(self._asking[name])

    async def _look_up(self, name: str) -> Sequence[str]:
        async with asyncio.timeout(LOOKUP_TIME / 1000):
            addresses = await self._resolve(name)
        permitted = self._judge.permitted(name, addresses, None)
        for address in permitted:
            names = self._found.setdefault(address, {})
            names.pop(name, None)
            names[name] = addresses
            if len(names) > _ALIASES:
                del names[next(iter(names))]
            self._found.move_to_end(address)
        while len(self._found) > LANE_NAMES:
            self._found.popitem(last=False)
        return permitted


def read_question(packet: bytes) -> Question:
    """Read a query with one question; `ValueError` for anything else."""
    if len(packet) < _HEAD.size:
        raise ValueError("shorter than a head")
    number, flags, questions, *_ = _HEAD.unpack_from(packet)
    if flags & _RESPONSE or flags >> 11 & 0xF or questions != 1:
        raise ValueError("not one plain question")
    labels, at = [], _HEAD.size
    while at < len(packet) and (length := packet[at]):
        label = packet[at + 1 : at + 1 + length]
        if length > 63 or len(label) != length:
            raise ValueError("a label that is none")
        labels.append(label.decode("ascii").lower())
        at += 1 + length
    end = at + 1 + _TYPE_AND_CLASS.size
    if not labels or end > len(packet) or at - _HEAD.size > 254:
        raise ValueError("no name")
    kind, class_ = _TYPE_AND_CLASS.unpack_from(packet, at + 1)
    name = ".".join(labels)
    if class_ != _INTERNET or not all(each.isalnum() or each in "-_." for each in name):
        raise ValueError("not a host on the Internet")
    return Question(number, name, kind, packet[_HEAD.size : end])


def write_answer(question: Question, code: int, addresses: Sequence[str]) -> bytes:
    """Write the answer to a question: a code, and addresses of the kind that was asked for."""
    head = _HEAD.pack(question.number, _RESPONSE | _RECURSION | code, 1, len(addresses), 0, 0)
    records = b""
    for address in addresses:
        packed = ip_address(address).packed
        # The name is that of the question, which stands behind the head.
        records += struct.pack("!HHHIH", 0xC000 | _HEAD.size, question.kind, _INTERNET, _TTL, len(packed)) + packed
    return head + question.text + records
