"""Where do installed packages lie, and for how long?

Folders by name, each made once and then never changed, shared by every version and deployment that needs the same.
Knows nothing of what is in them.

Rules
1. A folder is in its place whole or not at all: it is made elsewhere on the same disk and renamed, after it was written
   through. Whoever is killed leaves work that nobody uses, and that the next one removes.
2. Who asks for what is being made waits for it, in this process or another.
3. A folder in use is never removed. Among the others the one that was not used for longest goes first, when all
   together take more than their space.
4. Locks are the kernel's (`flock`): they end with the process that holds them, however it ends.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

from worker.packages.settling import Measure
from worker.removing import remove

log = logging.getLogger("warren.packages")

Make = Callable[[Path], Awaitable[tuple[Path, Measure]]]
_AGAIN = 0.1


class Held:
    """A folder that is in use, until it is released."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    def release(self) -> None:
        """It is not used any more. Twice is harmless."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Shelf:
    """The folders of one worker's machine. Several processes may share one shelf."""

    def __init__(self, folder: Path, space: int) -> None:
        self._ready, self._locks, self._work = folder / "ready", folder / "locks", folder / "work"
        self._space = space
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        for each in (self._ready, self._locks, self._work):
            each.mkdir(parents=True, exist_ok=True)

    async def take(self, name: str, make: Make) -> Held:
        """The folder of this name, made if it is missing. ``make`` makes it inside of the folder that it is given."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn:
            while True:
                lock = await self._locked(name)
                try:
                    held = await self._take(name, lock, make)
                except BaseException:
                    if not (self._ready / name).exists():
                        (self._locks / name).unlink(missing_ok=True)
                    os.close(lock)
                    raise
                if held is not None:
                    return held
                os.close(lock)

    async def _take(self, name: str, lock: int, make: Make) -> Held | None:
        place = self._ready / name
        if not place.exists():
            await self._make(place, lock, make)
        os.utime(lock)
        # The kernel gives one lock up before it gives the other: somebody may have removed the folder between the two.
        if _try_lock(lock, fcntl.LOCK_SH) and _is_at(lock, self._locks / name) and place.exists():
            os.chmod(place, 0o555)
            return Held(place, lock)
        return None

    @contextlib.asynccontextmanager
    async def workspace(self) -> AsyncIterator[Path]:
        """A folder to work in, gone afterwards."""
        folder, lock = await asyncio.to_thread(self._open_workspace)
        try:
            yield folder
        finally:
            await asyncio.to_thread(remove, folder)
            os.close(lock)

    async def _make(self, place: Path, lock: int, make: Make) -> None:
        async with self.workspace() as folder:
            made, measure = await make(folder)
            os.truncate(lock, 0)
            os.pwrite(lock, str(measure.bytes).encode(), 0)
            await asyncio.to_thread(_put, made, place)
        log.info("%s is installed: %d files, %d bytes", place.name, measure.files, measure.bytes)
        await asyncio.to_thread(self._make_room, place.name)

    # --- locks --------------------------------------------------------------------------------------------------------

    async def _locked(self, name: str) -> int:
        """The lock of this name, held alone: who makes it or removes it does that too."""
        while True:
            path = self._locks / name
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _try_lock(lock, fcntl.LOCK_EX) and _is_at(lock, path):
                return lock
            if (self._ready / name).exists() and _try_lock(lock, fcntl.LOCK_SH) and _is_at(lock, path):
                # In use by others, and therefore there.
                return lock
            os.close(lock)
            await asyncio.sleep(_AGAIN)

    def _open_workspace(self) -> tuple[Path, int]:
        self._remove_what_was_left()
        while True:
            folder = Path(tempfile.mkdtemp(dir=self._work))
            # Between the two somebody may take it for one that was left.
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if _try_lock(lock, fcntl.LOCK_EX) and _is_at(lock, folder):
                    return folder, lock
                os.close(lock)

    def _remove_what_was_left(self) -> None:
        for left in self._work.iterdir():
            with _opened(left) as lock:
                if lock is not None and _try_lock(lock, fcntl.LOCK_EX):
                    try:
                        remove(left)
                    except OSError as error:
                        log.warning("what was left of some work is not removed yet: %s", error.strerror)

    # --- room ---------------------------------------------------------------------------------------------------------

    def _make_room(self, newest: str) -> None:
        """Remove what was not used for longest until the rest fits."""
        standing = sorted(self._standing(), key=lambda each: each[0])
        taken = sum(size for _, size, _ in standing)
        for _, size, name in standing:
            if taken <= self._space:
                return
            if name != newest and self._remove(name):
                taken -= size
        if taken > self._space:
            log.warning("packages in use take %d bytes, more than their space of %d", taken, self._space)

    def _standing(self) -> Iterator[tuple[float, int, str]]:
        for place in self._ready.iterdir():
            with contextlib.suppress(FileNotFoundError):
                path = self._locks / place.name
                yield path.stat().st_mtime, int(path.read_text("ascii") or 0), place.name

    def _remove(self, name: str) -> bool:
        with _opened(self._locks / name) as lock:
            if lock is None or not _try_lock(lock, fcntl.LOCK_EX):
                return False
            # Out of its place first: half of a folder is never in a place.
            gone, held = self._open_workspace()
            os.chmod(self._ready / name, 0o700)
            (self._ready / name).rename(gone / name)
            (self._locks / name).unlink()
        remove(gone)
        os.close(held)
        log.info("%s is removed: it was not used for longest", name)
        return True


def _put(made: Path, place: Path) -> None:
    # A folder that may not be written cannot be renamed: its entry for the folder above would change.
    os.chmod(made, 0o755)
    made.rename(place)
    os.chmod(place, 0o555)
    for folder in (place, place.parent):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(opened)
        os.close(opened)


def _try_lock(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    """Whether what was locked is still what stands there: somebody may have removed it between the two."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield lock
    finally:
        os.close(lock)
