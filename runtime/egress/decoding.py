"""What does a compressed answer hold?

``gzip`` and ``deflate``, unpacked piece by piece with the standard library. Other codings (``br``, ``zstd``) were not
asked for and stay as they came. Pure.

Rules
1. No piece that comes out is larger than `BODY_CHUNK`, whatever was sent: a bomb is counted by its reader while it
   unfolds, and stopped there.
2. What ends too early or makes no sense is a `ValueError`, and so are more members than any file has: each costs time,
   also where nothing is in it. What follows the end of a stream is dropped, as browsers do.
"""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from runtime import limits
from runtime.protocol.messages import HeaderList

ACCEPTED = b"gzip, deflate"
_CODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}
_MEMBERS = 1_000
_GZIP = 31
_ZLIB = 15
_RAW = -15
_MAGIC = b"\x1f\x8b"
# The headers that no longer describe a body that was unpacked.
_SPENT = frozenset({b"content-encoding", b"content-length"})


def coding_of(headers: HeaderList) -> str | None:
    """How the body is packed, if it is in one of the ways that can be unpacked here."""
    named = [
        part.strip().lower() for name, value in headers if name == b"content-encoding" for part in value.split(b",")
    ]
    return _CODINGS.get(named[0]) if len(named) == 1 else None


def without_coding(headers: HeaderList) -> HeaderList:
    """The headers of what was unpacked."""
    return [pair for pair in headers if pair[0] not in _SPENT]


async def decoded(pieces: AsyncIterator[bytes], coding: str) -> AsyncGenerator[bytes]:
    """The unpacked body; raise `ValueError` where it cannot be unpacked."""
    unpacker = _Unpacker(coding)
    async for piece in pieces:
        for part in unpacker.feed(piece):
            yield part
    unpacker.finish()


class _Unpacker:
    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None  # None before the first and between two members
        self._rest = b""
        self._members = 0
        self._over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, self._rest = self._rest + data, b""
        while not self._over:
            if self._stream is None and not self._begin(data):
                return
            assert self._stream is not None, "it has begun"
            try:
                part = self._stream.decompress(data, int(limits.BODY_CHUNK))
            except zlib.error as error:
                raise ValueError(f"it is no {self._coding}: {error}") from None
            if part:
                yield part
            if self._stream.eof:
                data, self._stream = self._stream.unused_data, None
                continue
            data = self._stream.unconsumed_tail
            # A full piece may leave something behind although all of the input is used up.
            if not data and len(part) < limits.BODY_CHUNK:
                return

    def finish(self) -> None:
        if self._stream is not None:
            raise ValueError(f"its {self._coding} ends too early")

    def _begin(self, data: bytes) -> bool:
        """Begin a stream with this data, if it is one's beginning; else it waits for more, or everything is over."""
        if self._members and self._coding == "gzip" and len(data) < len(_MAGIC) and _MAGIC.startswith(data):
            self._rest = data
            return False
        if not data:
            return False
        # A file of gzip may have several members; anything else after the end is dropped.
        if self._members and (self._coding != "gzip" or not data.startswith(_MAGIC)):
            self._over = True
            return False
        self._members += 1
        if self._members > _MEMBERS:
            raise ValueError(f"it has more than {_MEMBERS} members")
        self._stream = zlib.decompressobj(
            _GZIP if self._coding == "gzip" else _ZLIB if _looks_like_zlib(data) else _RAW
        )
        return True


def _looks_like_zlib(data: bytes) -> bool:
    # Servers disagree about what "deflate" is; the first byte of a zlib stream names its method.
    return data[0] & 0x0F == 8 and data[0] >> 4 <= 7
