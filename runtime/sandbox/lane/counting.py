"""How much does a lane use: processes, memory, files?

Read from /proc and from the scratch folder, by the keeper. Knows no limit but those at which counting stops.

Rules
1. A process that ends while it is counted counts nothing.
2. Files are counted by directory descriptors, one name at a time; links are counted and not followed. What cannot be
   counted (a folder without the right to list it, one too deep) is a limit that was passed.
3. A file that was deleted counts for as long as somebody has it open or mapped.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from runtime.limits import LANE_SCRATCH, LANE_SCRATCH_FILES, LANE_TASKS

_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEPTH = 64
_CROWD = 24
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the lane."""

    pid: int
    threads: int
    rss: int


class _Passed(Exception):
    """Counting need not go on."""


def members(first: int) -> list[Member]:
    """The process and all that came of it, as far as they live, up to the limit; called by their keeper."""
    found: list[Member] = []
    tasks = 0
    # Orphans are the keeper's children, and not beneath the first process any more.
    waiting, seen = [first, *children(os.getpid())], set[int]()
    while waiting and tasks <= LANE_TASKS:
        pid = waiting.pop()
        if pid in seen:
            continue
        seen.add(pid)
        if len(seen) == _CROWD:
            # Many that run leave their keeper little time; from here on they have less than it.
            with suppress(OSError):
                os.setpriority(os.PRIO_PGRP, first, 19)
        with suppress(OSError):
            threads = os.listdir(f"/proc/{pid}/task")
            waiting += children(pid, threads)
            tasks += len(threads)
            found.append(Member(pid, len(threads), _rss(pid)))
    return found


def children(pid: int, threads: Iterable[str] | None = None) -> list[int]:
    """The processes whose parent is one of this process's threads."""
    found: list[int] = []
    with suppress(OSError):
        for thread in threads or os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def shared_once(members: Iterable[Member]) -> int:
    """Bytes of memory that the processes use, each shared page counted once (by its share in each)."""
    total = 0
    for each in members:
        used = each.rss
        with suppress(OSError):
            for line in _read(f"/proc/{each.pid}/smaps_rollup").splitlines():
                if line.startswith(b"Pss:"):
                    used = int(line.split()[1]) * 1024
        total += used
    return total


def files_passed(scratch: str, members: Iterable[Member]) -> str | None:
    """Which limit the files of the lane pass, if one."""
    try:
        top = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        return f"scratch: the folder cannot be opened ({error.strerror})"
    count = size = 0
    try:
        for each in (*_deleted(os.fstat(top).st_dev, members), *_beneath(top, _DEPTH)):
            count, size = count + 1, size + each
            if count > LANE_SCRATCH_FILES:
                return f"LANE_SCRATCH_FILES: more than {LANE_SCRATCH_FILES} files in the scratch folder"
            if size > LANE_SCRATCH:
                return f"LANE_SCRATCH: more than {LANE_SCRATCH >> 20} MiB in the scratch folder"
    except _Passed as passed:
        return str(passed)
    finally:
        os.close(top)
    return None


def _beneath(folder: int, depth: int) -> Iterator[int]:
    """The size of everything in a folder, inner folders included."""
    if depth == 0:
        raise _Passed(f"scratch: folders are nested deeper than {_DEPTH}")
    for name in os.listdir(folder):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield found.st_blocks * _BLOCK
        if stat.S_ISDIR(found.st_mode):
            yield from _inner(folder, name, depth)


def _inner(folder: int, name: str, depth: int) -> Iterator[int]:
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _Passed(f"scratch: a folder cannot be counted ({error.strerror})") from None
    try:
        yield from _beneath(inner, depth - 1)
    finally:
        os.close(inner)


def _deleted(device: int, members: Iterable[Member]) -> Iterator[int]:
    """The size of every file of this file system that is deleted and still open or mapped."""
    seen: set[int] = set()
    for each in members:
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{each.pid}/fd"):
                with suppress(OSError):
                    found = os.stat(f"/proc/{each.pid}/fd/{descriptor}")
                    if found.st_nlink == 0 and found.st_dev == device and found.st_ino not in seen:
                        seen.add(found.st_ino)
                        yield found.st_blocks * _BLOCK
    for each in members:
        for inode, size in _mapped(each.pid, device):
            if inode not in seen:
                seen.add(inode)
                yield size


def _mapped(pid: int, device: int) -> Iterator[tuple[int, int]]:
    name = f"{os.major(device):02x}:{os.minor(device):02x}".encode()
    with suppress(OSError):
        for line in _read(f"/proc/{pid}/maps").splitlines():
            if line.endswith(b" (deleted)"):
                where, _, _, found, inode = line.split(maxsplit=5)[:5]
                if found == name:
                    start, _, end = where.partition(b"-")
                    yield int(inode), int(end, 16) - int(start, 16)


def _rss(pid: int) -> int:
    return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
