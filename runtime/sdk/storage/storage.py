"""How does a function store a file, and get it back?

``ctx.storage``: every kind of function learns of a file's URL and metadata, mutations and actions delete files and give
out addresses to upload to, actions store and get contents. The host keeps the same table; here is its polite half.

Rules
1. A content goes and comes in pieces, each waited for; a content that is got is a `Blob`, whole and in memory.
2. The bytes are the tenant's own. Their type is what was said when they were stored, and nobody has looked.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

from runtime import limits
from runtime.sdk.fetch.blob import Blob
from runtime.sdk.functions import LimitExceeded
from runtime.sdk.running import Running

_WRITES = "a query only reads: use a mutation or an action"
_CARRIES = "it carries bytes: use an action"


class StorageReader:
    """The files of the deployment, for a query: where they are served, and what is known of them."""

    __slots__ = ("_running",)
    _advice: ClassVar[Mapping[str, str]] = {
        "generate_upload_url": _WRITES,
        "delete": _WRITES,
        "store": _CARRIES,
        "get": _CARRIES,
    }

    def __init__(self, running: Running) -> None:
        self._running = running

    async def get_url(self, id: str) -> str | None:
        """A URL at which anybody who has it can read the file until it is deleted; ``None`` when there is none."""
        url = await self._running.syscall("storage.get_url", _id(id))
        return None if url is None else str(url)

    async def get_metadata(self, id: str) -> dict[str, Any] | None:
        """``storageId``, ``sha256`` (hexadecimal), ``size``, ``contentType``; ``None`` when there is no such file."""
        known: dict[str, Any] | None = await self._running.syscall("storage.get_metadata", _id(id))
        return known

    def __getattr__(self, name: str) -> NoReturn:
        if name in self._advice:
            raise AttributeError(f"ctx.storage.{name} cannot be used here: {self._advice[name]}")
        raise AttributeError(f"ctx.storage has no {name}")


class StorageWriter(StorageReader):
    """The files of the deployment, for a mutation."""

    __slots__ = ()
    _advice: ClassVar[Mapping[str, str]] = {"store": _CARRIES, "get": _CARRIES}

    async def generate_upload_url(self) -> str:
        """A URL to which anybody who has it can upload files for an hour, each with a POST of its bytes."""
        return str(await self._running.syscall("storage.generate_upload_url"))

    async def delete(self, id: str) -> None:
        """Delete a file, in a mutation as a part of its transaction; its URL ends with it."""
        await self._running.syscall("storage.delete", _id(id))


class StorageActions(StorageWriter):
    """The files of the deployment, for an action."""

    __slots__ = ()
    _advice: ClassVar[Mapping[str, str]] = {}

    async def store(self, blob: Blob | bytes | bytearray | memoryview, content_type: str | None = None) -> str:
        """Store a file and return its id. Without a content type it is the blob's."""
        if isinstance(blob, Blob):
            data, content_type = blob.data, content_type if content_type is not None else blob.type
        elif isinstance(blob, bytes | bytearray | memoryview):
            data = bytes(blob)
        else:
            raise TypeError(f"a file is stored from a Blob or bytes, not from {type(blob).__name__}")
        if content_type is not None and not isinstance(content_type, str):
            raise TypeError(f"a content type is a str, not {type(content_type).__name__}")
        return await self._send(data, content_type)

    async def get(self, id: str) -> Blob | None:
        """The file as a Blob, or ``None`` when there is none."""
        found = await self._running.syscall("storage.get", _id(id))
        if found is None:
            return None
        number, content_type, _, piece, last = found
        pieces = [piece]
        try:
            while not last:
                piece, last = await self._running.syscall("storage.read", number)
                pieces.append(piece)
        except BaseException:
            await self._give_up(number)
            raise
        return Blob(pieces, content_type or "")

    async def _send(self, data: bytes, content_type: str | None) -> str:
        size = int(limits.BODY_CHUNK)
        piece, at = data[:size], size
        number, id = await self._running.syscall("storage.store", content_type, None, piece, at >= len(data))
        try:
            while id is None:
                piece, at = data[at : at + size], at + size
                id = await self._running.syscall("storage.write", number, piece, at >= len(data))
        except BaseException:
            await self._give_up(number)
            raise
        return str(id)

    async def _give_up(self, number: int) -> None:
        """Say that the rest is not wanted. When the call has ended, the host has ended all of it by itself."""
        with suppress(RuntimeError, LimitExceeded):
            await self._running.syscall("storage.close", number)


def _id(id: Any) -> str:
    if not isinstance(id, str):
        raise TypeError(f"a stored file is named by its id, not by {type(id).__name__}")
    return id
