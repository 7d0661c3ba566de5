"""How is a folder got rid of that a tenant, or a stranger's archive, has filled?

What stands in it was put there to be in the way: links to anywhere, folders nested without end, folders that may not be
listed. Call it where waiting for a disk does no harm, and when nobody writes there any more.

Rules
1. Nothing is reached by its path from above: one folder is open, and one beneath it; no link is followed.
2. However deep the tree, no recursion: what is found beneath a folder is moved up, and looked at in its turn.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it; one that is not there is no mistake, and of a link only the link goes."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            os.unlink(folder)
            return
        top = _open(str(folder), None)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(folder)


def _empty(top: int) -> None:
    moved = 0
    # A name that nothing in the folder can have.
    token = secrets.token_hex(16)
    while names := os.listdir(top):
        for name in names:
            if not _is_folder(name, top):
                os.unlink(name, dir_fd=top)
                continue
            inner = _open(name, top)
            try:
                for each in os.listdir(inner):
                    if _is_folder(each, inner):
                        # Only who may write a folder may move it.
                        os.close(_open(each, inner))
                        os.rename(each, f"{token}-{moved}", src_dir_fd=inner, dst_dir_fd=top)
                        moved += 1
                    else:
                        os.unlink(each, dir_fd=inner)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open(name: str, parent: int | None) -> int:
    """Open a folder, and make sure that what is in it can be listed and removed."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(place).st_mode) & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
