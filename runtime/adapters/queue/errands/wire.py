"""What do the two sides of an errand write to each other?

Knows no Redis. Whatever is written is read by the same program, perhaps of a neighbouring release: tagged values, and
what cannot be read is a mistake of ours.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from runtime.errors import (
    BadRequest,
    Forbidden,
    IsolateLost,
    NotFound,
    OurMistake,
    Overloaded,
    PushRefused,
    WarrenError,
)
from runtime.identity import NOBODY, BadToken, KnownUser, Settled
from runtime.invocation import Failed, Outcome, Succeeded
from runtime.names import RequestId
from runtime.ports import Analysis, Call
from runtime.protocol.declaration import Declaration, Diagnostic, Kind
from runtime.protocol.messages import Failure

T = TypeVar("T")


class _Call(msgspec.Struct, frozen=True, tag="call"):
    path: str
    kind: Kind
    args: bytes
    request_id: str
    depth: int
    job: str
    user: KnownUser | None
    bad: BadToken | None


class _Analysis(msgspec.Struct, frozen=True, tag="analysis"):
    bundle: dict[str, bytes]
    environment: dict[str, str]


class _Posted(msgspec.Struct, frozen=True):
    reply_to: str
    order: _Call | _Analysis


class _Succeeded(msgspec.Struct, frozen=True, tag="succeeded"):
    value: bytes
    lines: tuple[str, ...]
    position: int


class _Failed(msgspec.Struct, frozen=True, tag="failed"):
    failure: Failure
    lines: tuple[str, ...]


class _Declared(msgspec.Struct, frozen=True, tag="declared"):
    declaration: Declaration


class _Refused(msgspec.Struct, frozen=True, tag="refused"):
    diagnostics: tuple[Diagnostic, ...]


class _Broke(msgspec.Struct, frozen=True, tag="broke"):
    code: str
    message: str


class Reply(msgspec.Struct, frozen=True):
    """How the errand ``id`` ended."""

    id: str
    result: _Succeeded | _Failed | _Declared | _Refused | _Broke


_BY_CODE: dict[str, type[WarrenError]] = {
    kind.code: kind for kind in (Overloaded, IsolateLost, NotFound, BadRequest, Forbidden)
}
_encode = msgspec.msgpack.Encoder().encode
_decode_posted = msgspec.msgpack.Decoder(_Posted).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


def pack_order(order: Call | Analysis, reply_to: str) -> bytes:
    """What is to be done, and where the answer is waited for."""
    if isinstance(order, Analysis):
        return _encode(_Posted(reply_to, _Analysis(dict(order.bundle), dict(order.environment))))
    user = order.identity if isinstance(order.identity, KnownUser) else None
    bad = order.identity if isinstance(order.identity, BadToken) else None
    call = _Call(order.path, order.kind, order.args, order.request_id, order.depth, order.job, user, bad)
    return _encode(_Posted(reply_to, call))


def unpack_order(packed: bytes) -> tuple[Call | Analysis, str]:
    """What is to be done, and where the answer is waited for; raises `OurMistake` for what cannot be read."""
    posted = _read(_decode_posted, packed)
    order = posted.order
    if isinstance(order, _Analysis):
        return Analysis(order.bundle, order.environment), posted.reply_to
    identity: Settled = order.user or order.bad or NOBODY
    request_id = RequestId(order.request_id)
    return Call(order.path, order.kind, order.args, request_id, order.depth, identity, order.job), posted.reply_to


def pack_reply(id: str, result: Outcome | Declaration | Exception) -> bytes:
    """How an errand ended. Exceptions that are not ours keep their words here: they are for the log."""
    return _encode(Reply(id, _written(result)))


def _written(
    result: Outcome | Declaration | Exception,
) -> _Succeeded | _Failed | _Declared | _Refused | _Broke:
    match result:
        case Succeeded(value, lines, position):
            return _Succeeded(value, lines, position)
        case Failed(failure, lines):
            return _Failed(failure, lines)
        case Declaration():
            return _Declared(result)
        case PushRefused():
            return _Refused(result.diagnostics)
        case WarrenError():
            return _Broke(result.code, str(result))
        case _:
            return _Broke(OurMistake.code, f"a worker failed: {type(result).__name__}")


def read_reply(packed: bytes) -> Reply:
    """Whose answer this is, and how it ended; raises `OurMistake` for what cannot be read."""
    return _read(_decode_reply, packed)


def _read(decode: Callable[[bytes], T], packed: bytes) -> T:
    try:
        return decode(packed)
    except (msgspec.DecodeError, RecursionError, TypeError) as error:
        raise OurMistake(f"what stands in the queue cannot be read: {type(error).__name__}") from None


def result_of(reply: Reply) -> Outcome | Declaration:
    """What an errand ended with; raises it if it is an exception."""
    match reply.result:
        case _Succeeded(value, lines, position):
            return Succeeded(value, lines, position)
        case _Failed(failure, lines):
            return Failed(failure, lines)
        case _Declared(declaration):
            return declaration
        case _Refused(diagnostics):
            raise PushRefused(diagnostics)
        case _Broke(code, message):
            raise _BY_CODE.get(code, OurMistake)(message)
