"""Contents of files in memory: the port's specification, and what tests use."""

import hashlib
import time
from uuid import UUID

from runtime.names import DeploymentName
from runtime.ports import Content, FilesUnavailable, Writing


class MemoryFiles:
    """Contents in memory."""

    def __init__(self) -> None:
        self.kept: dict[DeploymentName, dict[UUID, tuple[bytes, float]]] = {}
        self.begun: set[MemoryWriting] = set()

    async def write(self, name: DeploymentName, number: UUID) -> Writing:
        """See `Files.write`."""
        return MemoryWriting(self, name, number)

    async def open(self, name: DeploymentName, number: UUID) -> Content | None:
        """See `Files.open`."""
        found = self.kept.get(name, {}).get(number)
        return None if found is None else MemoryContent(found[0])

    async def remove(self, name: DeploymentName, number: UUID) -> None:
        """See `Files.remove`."""
        self.kept.get(name, {}).pop(number, None)

    async def forget(self, name: DeploymentName) -> None:
        """See `Files.forget`."""
        self.kept.pop(name, None)
        for writing in [each for each in self.begun if each.name == name]:
            writing.discard()

    async def names(self) -> list[DeploymentName]:
        """See `Files.names`."""
        return [name for name, contents in self.kept.items() if contents]

    async def older(self, name: DeploymentName, age: float) -> list[UUID]:
        """See `Files.older`."""
        before = time.time() - age
        for writing in [each for each in self.begun if each.name == name and each.touched <= before]:
            writing.discard()
        return [number for number, (_, since) in self.kept.get(name, {}).items() if since <= before]

    async def close(self) -> None:
        """See `Files.close`."""
        for writing in list(self.begun):
            writing.discard()


class MemoryWriting:
    """One content that is being written."""

    def __init__(self, files: MemoryFiles, name: DeploymentName, number: UUID) -> None:
        self.name = name
        self.size = 0
        self.touched = time.time()
        self._files = files
        self._number = number
        self._data = bytearray()
        files.begun.add(self)

    async def write(self, data: bytes) -> None:
        """See `Writing.write`."""
        self._require_begun()
        self._data += data
        self.size += len(data)
        self.touched = time.time()

    def digest(self) -> bytes:
        """See `Writing.digest`."""
        return hashlib.sha256(self._data).digest()

    async def keep(self) -> None:
        """See `Writing.keep`."""
        self._require_begun()
        self._files.kept.setdefault(self.name, {})[self._number] = bytes(self._data), time.time()
        self.discard()

    def discard(self) -> None:
        """See `Writing.discard`."""
        self._files.begun.discard(self)

    def _require_begun(self) -> None:
        if self not in self._files.begun:
            raise FilesUnavailable("what was being written is gone")


class MemoryContent:
    """One content that is being read."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    async def read(self, start: int, most: int) -> bytes:
        """See `Content.read`."""
        return self._data[start : start + most]

    def close(self) -> None:
        """See `Content.close`."""
