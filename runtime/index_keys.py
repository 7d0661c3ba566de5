"""Where does a document stand in an index?

Values become bytes whose order is the order of the values, so that an index is one sorted list of byte strings and a
range of it is two of them. All indexes of a deployment share one keyspace: a key is the table's number, the index's
number, then its values. Knows no document and no storage.

Rules
1. Order across types: `MISSING` < None < Int64 < number < bool < str < bytes < list < dict. An ``int`` and a ``float``
   are one number: ``1`` and ``1.0`` have the same key.
2. Numbers stand in IEEE 754 total order, so -0.0 comes before 0 and NaNs stand at the ends. Text stands by its UTF-8
   bytes.
3. No encoded value is a prefix of another one: what begins with a key's bytes has these values in front, and nothing
   else. The bytes after a key never exceed ``LAST``.
"""

import struct
from collections.abc import Iterable
from enum import Enum
from typing import Any

from runtime.protocol.values import Int64

LAST = b"\xff"
"""Appended to a key: the end of everything that begins with it."""

NEXT = b"\x00"
"""Appended to a key: the first key after it."""


class Missing(Enum):
    """What stands in an index for a field that a document does not have."""

    MISSING = "MISSING"


MISSING = Missing.MISSING

_MISSING = b"\x01"
_NONE = b"\x02"
_INT64 = b"\x03"
_NUMBER = b"\x04"
_FALSE = b"\x05\x00"
_TRUE = b"\x05\x01"
_TEXT = b"\x06"
_BYTES = b"\x07"
_LIST = b"\x08"
_DICT = b"\x09"
_END = b"\x00"
_TEXT_END = b"\x00\x01"
_ESCAPED_ZERO = b"\x00\xff"

_PREFIX = struct.Struct(">IH")
_UNSIGNED = struct.Struct(">Q")
_DOUBLE = struct.Struct(">d")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def index_prefix(table: int, index: int) -> bytes:
    """How every key of this index of this table begins."""
    return _PREFIX.pack(table, index)


def table_of(key: bytes) -> int:
    """The number of the table that a key belongs to."""
    return int.from_bytes(key[:4])


def encode(values: Iterable[Any]) -> bytes:
    """The key of these values, one after the other. They have passed `values.check` before."""
    return b"".join([encode_value(value) for value in values])


def encode_value(value: Any) -> bytes:
    """The key of one value."""
    kind = type(value)
    if kind is str:
        text: bytes = value.encode()
        return _TEXT + text.replace(b"\x00", _ESCAPED_ZERO) + _TEXT_END
    if kind is float or kind is int:
        return _NUMBER + _sortable(value)
    if value is None:
        return _NONE
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is Int64:
        return _INT64 + _UNSIGNED.pack(value + _SIGN)
    if kind is bytes:
        return _BYTES + bytes(value).replace(b"\x00", _ESCAPED_ZERO) + _TEXT_END
    if kind is list:
        return _LIST + encode(value) + _END
    if value is MISSING:
        return _MISSING
    assert kind is dict, f"{kind.__name__} is not a value"
    fields = [encode_value(name) + encode_value(value[name]) for name in sorted(value)]
    return _DICT + b"".join(fields) + _END


def _sortable(number: float) -> bytes:
    # An int that is a number lies within ±2^53, where a double is exact.
    bits: int = _UNSIGNED.unpack(_DOUBLE.pack(number))[0]
    return _UNSIGNED.pack(bits ^ _ALL if bits & _SIGN else bits | _SIGN)
