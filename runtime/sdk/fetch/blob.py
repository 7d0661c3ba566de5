"""What is a piece of binary data, and what is a file?

`Blob` and `File` of the File API (§3, §4). Immutable, in memory. Knows no request and no storage.

Rules
1. A type that is not printable ASCII becomes ``""``; every other becomes lower case.
2. A slice clamps its ends and never fails.
"""

import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeAlias, Union

from runtime import limits
from runtime.sdk.fetch.webidl import usv_string
from runtime.sdk.running import RUNNING

Octets: TypeAlias = bytes  # inside a class that has a method `bytes`, the word is taken
BlobPart = Union[str, bytes, bytearray, memoryview, "Blob"]
_BOM = b"\xef\xbb\xbf"


def decode_text(data: bytes) -> str:
    """Decode UTF-8 as the Encoding standard does: without its byte order mark, U+FFFD for what is malformed."""
    return data.removeprefix(_BOM).decode("utf-8", "replace")


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """The data in pieces that fit through the hatch."""
    for at in range(0, len(data), limits.BODY_CHUNK):
        yield data[at : at + limits.BODY_CHUNK]


def _octets(part: BlobPart) -> bytes:
    if isinstance(part, Blob):
        return part.data
    if isinstance(part, bytes | bytearray | memoryview):
        return bytes(part)
    if not isinstance(part, str):
        raise TypeError(f"a part of a Blob is str, bytes or another Blob, not {type(part).__name__}")
    return usv_string(part).encode()


def _normalised(type: str) -> str:
    text = usv_string(type)
    return text.lower() if text.isascii() and text.isprintable() else ""


class Blob:
    """Binary data with a type: ``Blob(["text", b"bytes"], type="text/plain")``."""

    __slots__ = ("__weakref__", "_data", "_type")

    def __init__(self, parts: Iterable[BlobPart] = (), type: str = "") -> None:
        if isinstance(parts, str | bytes | bytearray | memoryview | Blob) or not isinstance(parts, Iterable):
            raise TypeError("the parts of a Blob are a list: write Blob([data])")
        self._data = b"".join([_octets(part) for part in parts])
        self._type = _normalised(type)

    @property
    def data(self) -> Octets:
        """The bytes, at once."""
        return self._data

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self._data)

    @property
    def type(self) -> str:
        """Its MIME type in lower case, or ``""``."""
        return self._type

    def slice(self, start: int = 0, end: int | None = None, content_type: str = "") -> "Blob":
        """Bytes ``start`` to ``end`` as another Blob; negative positions count from the end."""
        return Blob([self._data[slice(start, end)]], content_type)

    def stream(self) -> AsyncIterator[Octets]:
        """The bytes, piece by piece."""
        return pieces(self._data)

    async def text(self) -> str:
        """The bytes decoded as UTF-8."""
        return decode_text(self._data)

    async def bytes(self) -> Octets:
        """The bytes."""
        return self._data

    async def array_buffer(self) -> Octets:
        """The bytes, by the older name."""
        return self._data

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.size} bytes, type {self._type!r}>"


class File(Blob):
    """A Blob with a name: ``File([data], "photo.png", type="image/png")``. ``last_modified`` is in ms since 1970."""

    __slots__ = ("_last_modified", "_name")

    def __init__(
        self, parts: Iterable[BlobPart], name: str, type: str = "", *, last_modified: int | None = None
    ) -> None:
        super().__init__(parts, type)
        self._name = usv_string(name)
        self._last_modified = _now() if last_modified is None else int(last_modified)

    @property
    def name(self) -> str:
        """The name that came with it. Somebody else chose it: never a path to open."""
        return self._name

    @property
    def last_modified(self) -> int:
        """When it was changed, in milliseconds since 1970."""
        return self._last_modified


def _now() -> int:
    running = RUNNING.get()
    if running is not None and running.now is not None:
        return int(running.now)
    return int(time.time() * 1000)
