"""What is a document's id, and is this text one?

An id carries the number of its table and a checksum, so that a mistyped id or one of another table is known without a
look into the database. As text it is Crockford's base32, in lower case, of: table number (LEB128) ‖ 16 random bytes ‖
2 bytes of checksum. 31 characters for the first 127 tables, at most 37.

Rules
1. The random bytes come from the host's kernel. A guest cannot choose them, and learns nothing from them.
2. The checksum finds typing errors. It keeps nobody from making up an id: an id is a question, never a permission.
3. Every id has one spelling, and that is the one that is stored. Capitals and Crockford's look-alikes are understood.
"""

import os
import re
import zlib
from base64 import b32encode
from typing import NamedTuple

_RANDOM_BYTES = 16
_LARGEST_TABLE = 2**32 - 1
_OURS = "0123456789abcdefghjkmnpqrstvwxyz"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PYTHON = "0123456789abcdefghijklmnopqrstuv"  # what int(text, 32) reads
_WRITTEN = bytes.maketrans(_RFC4648.encode(), _OURS.encode())
_READ = str.maketrans(_OURS, _PYTHON)
_SHAPE = re.compile(r"[0-9a-hj-km-np-tv-zoil]{31,37}\Z")
# characters → bytes that they hold; other lengths hold no whole number of bytes
_SIZES = {31: 19, 32: 20, 34: 21, 36: 22, 37: 23}


class DocumentId(NamedTuple):
    """An id, taken apart. ``text`` is its one spelling."""

    table: int
    random: bytes
    text: str


def make_document_id(table: int, random: bytes) -> DocumentId:
    """The id of a document of this table with these 16 bytes."""
    content = _varint(table) + random
    packed = content + (zlib.crc32(content) & 0xFFFF).to_bytes(2)
    return DocumentId(table, random, b32encode(packed).rstrip(b"=").translate(_WRITTEN).decode())


def parse_document_id(text: str) -> DocumentId | None:
    """Read an id as somebody wrote it; ``None`` when it is none."""
    # The length first: this text comes from a guest.
    size = _SIZES.get(len(text))
    if size is None or not _SHAPE.match(lowered := text.lower()):
        return None
    spelled = lowered.replace("o", "0").replace("i", "1").replace("l", "1")
    padding = len(text) * 5 - size * 8
    number = int(spelled.translate(_READ), 32)
    if number & ((1 << padding) - 1):
        return None
    packed = (number >> padding).to_bytes(size)
    content = packed[:-2]
    if zlib.crc32(content) & 0xFFFF != int.from_bytes(packed[-2:]):
        return None
    table = _read_varint(content[:-_RANDOM_BYTES])
    return None if table is None else DocumentId(table, content[-_RANDOM_BYTES:], spelled)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    return bytes((number & 0x7F | 0x80,)) + _varint(number >> 7)


def _read_varint(data: bytes) -> int | None:
    number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))
    # Zero is no table, and a number has one spelling only.
    return number if 0 < number <= _LARGEST_TABLE and _varint(number) == data else None


class RandomBytes:
    """A supply of the random part of ids, drawn from the kernel by the page: one system call each would be dear."""

    def __init__(self) -> None:
        self._supply: list[bytes] = []

    def next(self) -> bytes:
        """Take 16 bytes that were never given before."""
        if not self._supply:
            page = os.urandom(_RANDOM_BYTES * 256)
            self._supply = [page[at : at + _RANDOM_BYTES] for at in range(0, len(page), _RANDOM_BYTES)]
        return self._supply.pop()
