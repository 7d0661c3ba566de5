"""Is what was installed nothing but files, and does it stay as it is?

Looks at a folder that strangers' archives were unpacked into, before anybody may use it.

Rules
1. Files and folders are all that may lie there: a link, a device, a socket or a pipe refuses the whole.
2. Nobody may write there afterwards, and no file keeps more than being readable and, where it was, executable.
3. Nothing is followed: every look is at the thing itself.
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime import limits

# Python imports these by itself when it starts with the folder in its path.
_RUN_AT_START = frozenset({"sitecustomize", "usercustomize"})
_syncfs = ctypes.CDLL(None, use_errno=True).syncfs


class Unsettled(Exception):
    """What was installed cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How much lies somewhere."""

    bytes: int
    files: int

    def objection(self) -> str | None:
        """Why this is too much, or ``None``."""
        for what, observed, name, limit in (
            ("bytes", self.bytes, "PACKAGE_BYTES", limits.PACKAGE_BYTES),
            ("files and folders", self.files, "PACKAGE_FILES", limits.PACKAGE_FILES),
        ):
            if observed > limit:
                return f"{observed} {what} or more are installed, the limit {name} is {int(limit)}"
        return None


def measure(folder: Path) -> Measure:
    """How much lies below a folder that may be changing."""
    size = files = 0
    for entry in _entries(folder):
        # It may be gone again: tools move what they have downloaded.
        with contextlib.suppress(FileNotFoundError):
            size += entry.stat(follow_symlinks=False).st_size
            files += 1
    return Measure(size, files)


def inspect(folder: Path) -> Measure:
    """Look at everything that was installed; raise `Unsettled` for what may not lie there."""
    size = files = 0
    for entry in _entries(folder):
        status = entry.stat(follow_symlinks=False)
        size += status.st_size
        files += 1
        _check(os.path.relpath(entry.path, folder), status)
    measured = Measure(size, files)
    if reason := measured.objection():
        raise Unsettled(reason)
    return measured


def settle(folder: Path) -> Measure:
    """Look at everything once more, take every right to change it away, and write it to the disk."""
    measured = inspect(folder)
    for entry in _entries(folder):
        executable = entry.is_dir(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR
        os.chmod(entry.path, 0o555 if executable else 0o444)
    os.chmod(folder, 0o555)
    _write_through(folder)
    return measured


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, folders before what is in them."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                inside = list(entries)
        except FileNotFoundError:
            continue
        for entry in inside:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _check(shown: str, status: os.stat_result) -> None:
    if shown.partition(".")[0] in _RUN_AT_START:
        raise Unsettled(f"{shown} would be run whenever Python starts, and is not accepted")
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise Unsettled(f"{shown} is neither a file nor a folder")
    if status.st_nlink != 1:
        raise Unsettled(f"{shown} is another file as well")


def _write_through(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _syncfs(opened) != 0:
            raise OSError(ctypes.get_errno(), "what was installed could not be written to the disk")
    finally:
        os.close(opened)
