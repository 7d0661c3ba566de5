"""Where may a Node-style process write?

A folder of its own for each, below one folder for this worker. Several workers of one machine may share the place.

Rules
1. What is left of a worker that was killed is removed by the next one that starts. A worker holds a lock of the kernel
   (`flock`) on its folder for as long as it lives.
2. Nothing in a folder is followed or opened from here: it is a tenant's.
"""

import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from worker.removing import remove

log = logging.getLogger("warren.worker")


class ScratchFolders:
    """The scratch folders of one worker. Its methods wait for a disk: call them in a thread."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for left in place.iterdir():
            _remove_if_left(left)
        self._folder = Path(tempfile.mkdtemp(dir=place))
        # Lanes have users of their own, who have to pass through.
        self._folder.chmod(0o711)
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def make(self) -> Path:
        """A new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def remove(self, folder: Path) -> None:
        """Remove one with everything in it."""
        try:
            remove(folder)
        except OSError as error:
            log.error("a scratch folder is not removed, the next start does it: %s", error.strerror)

    def close(self) -> None:
        """Remove all of them."""
        self.remove(self._folder)
        os.close(self._lock)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        finally:
            os.close(lock)
