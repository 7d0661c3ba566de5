"""Contents of files on a disk: ``<folder>/<deployment>/<two digits>/<number>``.

Rules
1. Written to ``<deployment>/<number>.part``, made durable, then given its name: whoever opens a content gets all of it.
2. Names on the disk are made of a deployment's name and a UUID, which were read before: no text of a stranger becomes a
   path.
3. Readable by this user alone. No link is followed where a file is made or opened.
4. The last `FILE_SPARE` bytes of the disk are not for files.
5. What takes as long as the disk does is done in threads of its own; the loop waits for none of it.
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from runtime import limits
from runtime.names import DeploymentName, InvalidName, parse_deployment_name
from runtime.ports import Content, FilesUnavailable, Writing

T = TypeVar("T")

_THREADS = 8
_PART = ".part"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskFiles:
    """Contents under one folder, which several processes may share."""

    def __init__(self, folder: Path, spare: int = limits.FILE_SPARE) -> None:
        self._folder = folder
        self._spare = spare
        self._threads = ThreadPoolExecutor(_THREADS, "files")
        self.begun: set[_Writing] = set()
        self._working: set[asyncio.Task[Any]] = set()

    async def write(self, name: DeploymentName, number: UUID) -> Writing:
        """See `Files.write`."""
        part, place = self._folder / name / f"{number}{_PART}", self._place(name, number)

        def begin() -> int:
            _make_folders(place.parent)
            self.check_space(place.parent)
            return os.open(part, _NEW, 0o600)

        def undo(descriptor: int) -> None:
            os.close(descriptor)
            part.unlink(missing_ok=True)

        writing = _Writing(self, part, place, await self._opened(begin, undo))
        self.begun.add(writing)
        return writing

    async def open(self, name: DeploymentName, number: UUID) -> Content | None:
        """See `Files.open`."""
        place = self._place(name, number)

        def find() -> tuple[int, int] | None:
            try:
                descriptor = os.open(place, _OLD)
            except FileNotFoundError:
                return None
            return descriptor, os.fstat(descriptor).st_size

        found = await self._opened(find, lambda found: None if found is None else os.close(found[0]))
        return None if found is None else _Content(self, *found)

    async def remove(self, name: DeploymentName, number: UUID) -> None:
        """See `Files.remove`."""
        await self.aside(lambda: self._place(name, number).unlink(missing_ok=True))

    async def forget(self, name: DeploymentName) -> None:
        """See `Files.forget`."""

        def clear() -> None:
            if (self._folder / name).exists():
                shutil.rmtree(self._folder / name)

        await self.aside(clear)

    async def names(self) -> list[DeploymentName]:
        """See `Files.names`."""
        return await self.aside(self._names)

    async def older(self, name: DeploymentName, age: float) -> list[UUID]:
        """See `Files.older`."""
        return await self.aside(lambda: self._older(self._folder / name, time.time() - age))

    async def close(self) -> None:
        """See `Files.close`."""
        for writing in list(self.begun):
            writing.discard()
        await asyncio.gather(*self._working, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do this where the loop need not wait for it; raise `FilesUnavailable` when the disk refuses."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise FilesUnavailable(str(error)) from error

    def begin(self, work: Callable[[], T]) -> asyncio.Task[T]:
        """The same, done to its end even if nobody waits for it any more."""
        working = asyncio.get_running_loop().create_task(self.aside(work))
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        return working

    def check_space(self, folder: Path) -> None:
        """Raise `FilesUnavailable` when the disk is nearly full: documents and logs need what is left."""
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        if free < self._spare:
            raise FilesUnavailable(f"the disk has {free} bytes left, limit FILE_SPARE is {self._spare}")

    async def _opened(self, work: Callable[[], T], undo: Callable[[T], None]) -> T:
        """Open something; what nobody waits for any more is closed again."""
        working = self.begin(work)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            working.add_done_callback(lambda done: None if done.exception() is not None else undo(done.result()))
            raise

    def _place(self, name: DeploymentName, number: UUID) -> Path:
        text = str(number)
        return self._folder / name / text[:2] / text

    def _names(self) -> list[DeploymentName]:
        found = []
        for entry in os.scandir(self._folder) if self._folder.exists() else ():
            try:
                name = parse_deployment_name(entry.name)
            except InvalidName:
                continue  # not ours
            if any(each.is_file(follow_symlinks=False) for each in _entries(self._folder / name)):
                found.append(name)
        return found

    def _older(self, folder: Path, before: float) -> list[UUID]:
        found = []
        for entry in _entries(folder):
            try:
                if entry.stat(follow_symlinks=False).st_mtime > before:
                    continue
                if entry.name.endswith(_PART):
                    os.unlink(entry.path)
                else:
                    found.append(UUID(entry.name))
            except (FileNotFoundError, ValueError):
                continue  # gone meanwhile, or not ours
        return found


class _Writing:
    """One content that is being written."""

    def __init__(self, files: DiskFiles, part: Path, place: Path, descriptor: int) -> None:
        self.size = 0
        self._files = files
        self._part = part
        self._place = place
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._busy = False
        self._ended = False

    async def write(self, data: bytes) -> None:
        """See `Writing.write`."""

        def append() -> None:
            self._files.check_space(self._part.parent)
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._digest.update(data)

        await self._work(append)
        self.size += len(data)

    def digest(self) -> bytes:
        """See `Writing.digest`."""
        return self._digest.digest()

    async def keep(self) -> None:
        """See `Writing.keep`."""

        def settle() -> None:
            os.fsync(self._descriptor)
            os.rename(self._part, self._place)
            _sync_folder(self._place.parent)

        await self._work(settle)
        self.discard()

    def discard(self) -> None:
        """See `Writing.discard`."""
        if not self._ended:
            self._ended = True
            self._files.begun.discard(self)
            if not self._busy:
                self._clear()

    async def _work(self, work: Callable[[], None]) -> None:
        if self._ended or self._busy:
            raise FilesUnavailable("what was being written is gone")
        self._busy = True
        # Whoever waits may be cancelled; the thread goes on, and what it uses stays until it is done.
        working = self._files.begin(work)
        working.add_done_callback(self._rest)
        await asyncio.shield(working)

    def _rest(self, worked: "asyncio.Task[None]") -> None:
        self._busy = False
        failed = not worked.cancelled() and worked.exception() is not None
        if self._ended:
            self._clear()
        elif failed:
            self.discard()

    def _clear(self) -> None:
        # Two quick calls that no thread is needed for. Once it is kept, no part of it is there.
        os.close(self._descriptor)
        self._part.unlink(missing_ok=True)


class _Content:
    """One content that is being read."""

    def __init__(self, files: DiskFiles, descriptor: int, size: int) -> None:
        self.size = size
        self._files = files
        self._descriptor = descriptor
        self._readers = 0
        self._closed = False

    async def read(self, start: int, most: int) -> bytes:
        """See `Content.read`."""
        if self._closed:
            raise FilesUnavailable("what was being read is closed")
        self._readers += 1
        reading = self._files.begin(lambda: _read(self._descriptor, start, most))
        reading.add_done_callback(self._rest)
        return await asyncio.shield(reading)

    def close(self) -> None:
        """See `Content.close`."""
        if not self._closed:
            self._closed = True
            if not self._readers:
                os.close(self._descriptor)

    def _rest(self, read: "asyncio.Task[bytes]") -> None:
        self._readers -= 1
        if not read.cancelled():
            read.exception()  # whoever waits has heard of it
        if self._closed and not self._readers:
            os.close(self._descriptor)


def _read(descriptor: int, start: int, most: int) -> bytes:
    pieces = []
    while most > 0 and (piece := os.pread(descriptor, most, start)):
        pieces.append(piece)
        start, most = start + len(piece), most - len(piece)
    return b"".join(pieces)


def _make_folders(folder: Path) -> None:
    """Make a folder and those that it stands in, for this user alone and durably."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    """The files of a deployment: its parts, and what stands in folders of two digits."""
    found: list[os.DirEntry[str]] = []
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                found += [each for each in os.scandir(entry.path) if each.is_file(follow_symlinks=False)]
            elif entry.is_file(follow_symlinks=False):
                found.append(entry)
    except (FileNotFoundError, NotADirectoryError):
        return found  # forgotten meanwhile
    return found
