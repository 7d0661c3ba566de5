"""Which files of an archive are the bundle's, and which archives are refused?

Knows names, kinds and sizes; not the formats.

Rules
1. A refused name refuses the archive: an archive that means well has none.
2. Directories, ``__pycache__``, ``__MACOSX`` and every name that begins with a dot are passed over, whatever they are.
3. Names are compared in Unicode's composed form (NFC), because that is what they become on some systems.
4. A refusal shows a name with its unprintable characters escaped.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from control_plane.refusals import LimitPassed
from runtime import limits
from runtime.errors import PushRefused
from runtime.protocol.declaration import Diagnostic


class MemberKind(Enum):
    """What a member of an archive is."""

    FILE = auto()
    DIRECTORY = auto()
    LINK = auto()
    SPECIAL = auto()


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``content(room)`` reads it, or raises `Oversize` when that is more than ``room``."""

    name: bytes
    kind: MemberKind
    content: Callable[[int], bytes]


class Oversize(Exception):
    """A member is larger than there is room for; holds the bytes seen or declared."""

    def __init__(self, observed: int) -> None:
        super().__init__(observed)
        self.observed = observed


def collect(members: Iterable[Member]) -> dict[str, bytes]:
    """The bundle's files by path; raise `PushRefused` for what may not be in one, `LimitPassed` for too much of it."""
    files: dict[str, bytes] = {}
    total = 0
    for count, member in enumerate(members, 1):
        if count > limits.ARCHIVE_MEMBERS:
            raise LimitPassed("the archive has too many members", "ARCHIVE_MEMBERS", limits.ARCHIVE_MEMBERS, count)
        path = _path(member.name)
        if path is None or not _is_file(member.kind, path):
            continue
        if path in files:
            raise refused(path, "is twice in the archive")
        if len(files) >= limits.BUNDLE_FILES:
            raise LimitPassed("the bundle has too many files", "BUNDLE_FILES", limits.BUNDLE_FILES, len(files) + 1)
        try:
            files[path] = member.content(limits.BUNDLE_BYTES - total)
        except Oversize as error:
            observed = total + error.observed
            raise LimitPassed("the bundle is too large", "BUNDLE_BYTES", limits.BUNDLE_BYTES, observed) from None
        total += len(files[path])
    _check_whole(files)
    return files


def refused(path: str, reason: str) -> PushRefused:
    """The refusal of an archive because of one of its members."""
    name = shown(path)
    return PushRefused([Diagnostic(file=name, line=0, message=f"{name!r} {reason}")])


def shown(name: str) -> str:
    """A name that somebody else chose, fit to be printed."""
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in name[:120])
    safe = "".join(escaped)
    return safe if len(name) <= 120 else f"{safe}…"


def _is_file(kind: MemberKind, path: str) -> bool:
    match kind:
        case MemberKind.FILE:
            return True
        case MemberKind.DIRECTORY:
            return False
        case MemberKind.LINK:
            raise refused(path, "is a link: a bundle has regular files only, so put the file itself there")
        case MemberKind.SPECIAL:
            raise refused(path, "is a device, pipe or other special file: a bundle has regular files only")
        case _:
            assert_never(kind)


def _path(name: bytes) -> str | None:
    """The path of a member in the bundle; ``None`` when it is passed over."""
    try:
        text = unicodedata.normalize("NFC", name.decode())
    except UnicodeDecodeError:
        raise refused(name.decode("latin-1"), "is not UTF-8: rename it") from None
    reason = _why_bad(text)
    if reason:
        raise refused(text, reason)
    path = text.removeprefix("./").removesuffix("/")
    if path in ("", ".") or any(part[0] == "." or part in ("__pycache__", "__MACOSX") for part in path.split("/")):
        return None
    return path


def _why_bad(text: str) -> str | None:
    path = text.removeprefix("./").removesuffix("/")
    parts = path.split("/")
    if not text:
        return "is an empty name"
    if not text.isprintable():
        return "has a control or other unprintable character in its name"
    if text[0] == "/" or "\\" in text or ":" in text:
        return "is no relative path with slashes: absolute paths, drives, backslashes and colons are refused"
    if ".." in parts:
        return "leads out of the bundle with '..'"
    if path not in ("", ".") and ("" in parts or "." in parts):
        return "has an empty or '.' part in its path"
    if len(path) > limits.BUNDLE_PATH_CHARACTERS:
        limit = int(limits.BUNDLE_PATH_CHARACTERS)
        return f"has a path of {len(path)} characters, the limit BUNDLE_PATH_CHARACTERS is {limit}"
    return None


def _check_whole(files: dict[str, bytes]) -> None:
    if not files:
        message = "the archive has no files: its root must be the bundle directory's content"
        raise PushRefused([Diagnostic(file="", line=0, message=message)])
    for path in files:
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in files:
                raise refused(above, f"is a file, and {shown(path)!r} needs a directory of that name")
