"""What is a value, and what are its bytes?

The tenant's value model: ``None bool int float str bytes list dict[str, …] Int64``. A Python ``int`` or ``float`` is
one *number*; an int past ±2^53 must be `Int64`. Bytes are MessagePack with `Int64` as extension 1; JSON is the encoding
of Convex's HTTP API (``{"$integer": …}``, ``{"$bytes": …}``, ``{"$float": …}``).

Rules
1. Exact types only: a subclass of ``dict`` or ``str`` could answer differently each time it is asked. `UserIdentity` is
   ours, and counts as the dict it is.
2. An error names the path of what it refuses: ``value.items[3].price``.
3. Size and depth are measured on what will be stored, never believed.
"""

import base64
import math
import struct
from typing import Any

import msgspec

from runtime import limits
from runtime.protocol.user_identity import UserIdentity
from runtime.protocol.weighing import holds_more_than

SAFE_INTEGER = 2**53
_INT64 = 1
_EIGHT = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")


class InvalidValue(ValueError):
    """This is not a value; the message names the path, what was found, and what is allowed."""


class Int64(int):
    """A 64-bit integer, distinct from a number: ``Int64(1) != 1`` in the database's order, equal in Python's."""

    __slots__ = ()

    def __new__(cls, value: int = 0) -> "Int64":
        made = super().__new__(cls, value)
        if not -(2**63) <= made < 2**63:
            raise ValueError(f"Int64 holds -2**63 to 2**63 - 1, not {int(made)}")
        return made

    def __repr__(self) -> str:
        return f"Int64({int(self)})"


def _encode_extension(value: Any) -> Any:
    # Int64 is a subclass of int, so msgspec asks here.
    if type(value) is Int64:
        return msgspec.msgpack.Ext(_INT64, _EIGHT.pack(value))
    raise InvalidValue(f"value is {type(value).__name__}, which cannot be stored")


def _decode_extension(code: int, data: memoryview) -> Any:
    if code != _INT64 or len(data) != 8:
        raise InvalidValue(f"value holds an unknown extension {code}")
    return Int64(_EIGHT.unpack(data)[0])


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_extension)
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode_extension)


def encode(value: Any, path: str = "value") -> bytes:
    """Check that this is a value, and encode it; raise `InvalidValue` with the path of what is none."""
    check(value, path)
    encoded = _encoder.encode(value)
    _weigh(encoded, path)
    return encoded


def decode(data: bytes | msgspec.Raw) -> Any:
    """Decode bytes that may come from anybody; raise `InvalidValue` when they are no value."""
    if len(data) > limits.VALUE_BYTES:
        raise InvalidValue(f"value of {len(data)} bytes, limit {limits.VALUE_BYTES}")
    _weigh(data)
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidValue(f"value cannot be decoded: {type(error).__name__}") from None
    check(value)
    return value


def decode_own(data: bytes | msgspec.Raw) -> Any:
    """Decode what this side trusts: for a guest, bytes of its host. Nothing is checked a second time."""
    return _decoder.decode(data)


def check(value: Any, path: str = "value", depth: int = limits.VALUE_DEPTH) -> None:
    """Raise `InvalidValue` unless this is a value of at most ``depth`` levels."""
    kind = type(value)
    if kind is str:
        _check_text(value, path)
    elif kind is int:
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise InvalidValue(f"{path} is {_short(value)}: an integer outside ±2^53 must be Int64")
    elif kind is dict or kind is list:
        if depth <= 0:
            raise InvalidValue(f"{path} is nested deeper than {limits.VALUE_DEPTH} levels")
        _check_members(value, path, depth - 1)
    elif kind is UserIdentity:
        check(dict(value), path, depth)
    elif value is not None and kind not in (bool, float, bytes, Int64):
        hint = " (was an await forgotten?)" if kind.__name__ == "coroutine" else ""
        raise InvalidValue(
            f"{path} is of type {kind.__name__}{hint}: "
            "a value is None, bool, int, float, str, bytes, list, dict or Int64"
        )


def _weigh(data: bytes | msgspec.Raw, path: str = "value") -> None:
    if len(data) > limits.VALUE_ITEMS and holds_more_than(limits.VALUE_ITEMS, bytes(data)):
        raise InvalidValue(f"{path} holds more than {limits.VALUE_ITEMS} items (limit VALUE_ITEMS): use smaller parts")


def _check_members(value: Any, path: str, depth: int) -> None:
    if type(value) is list:
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]", depth)
        return
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidValue(f"{path} has a key of type {type(key).__name__}: keys are strings")
        check_key(key, path)
        check(item, f"{path}.{key}", depth)


def check_key(key: str, path: str) -> None:
    """Raise `InvalidValue` unless this may be a key: 1 to 1024 printable ASCII characters, not beginning with ``$``."""
    if not (0 < len(key) <= 1024 and key.isascii() and key.isprintable()) or key[0] == "$":
        raise InvalidValue(
            f"{path} has the key {key[:40]!r}: keys are 1 to 1024 printable ASCII characters, not beginning with '$'"
        )


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"{path} holds a lone surrogate at character {error.start}") from None


def _short(value: int) -> str:
    return f"an integer of {value.bit_length()} bits" if value.bit_length() > 64 else str(value)


def to_json(value: Any) -> Any:
    """Turn a value into what ``json`` can write, in Convex's encoding."""
    kind = type(value)
    if kind is dict:
        return {key: to_json(item) for key, item in value.items()}
    if kind is list:
        return [to_json(item) for item in value]
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if kind is Int64:
        return {"$integer": base64.b64encode(_EIGHT.pack(value)).decode()}
    if kind is float and (not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0)):
        return {"$float": base64.b64encode(_DOUBLE.pack(value)).decode()}
    return value


def from_json(value: Any, path: str = "value") -> Any:
    """Turn what ``json`` read into a value; raise `InvalidValue` with the path of what is none."""
    if type(value) is list:
        return [from_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if type(value) is not dict:
        check(value, path)
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key in ("$bytes", "$integer", "$float"):
            return _from_special(key, inner, path)
    for key in value:
        check_key(key, path)
    return {key: from_json(item, f"{path}.{key}") for key, item in value.items()}


def _from_special(key: str, inner: Any, path: str) -> Any:
    try:
        data = base64.b64decode(inner, validate=True)
        if key == "$bytes":
            return data
        if key == "$integer":
            return Int64(_EIGHT.unpack(data)[0])
        return float(_DOUBLE.unpack(data)[0])
    except (ValueError, TypeError, struct.error):
        raise InvalidValue(f"{path} has a {key} that is not base64 of the right length") from None
