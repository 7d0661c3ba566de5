"""Which part of a file does this request want, and does it have it already?

Pure: reads ``Range``, ``If-Range`` and ``If-None-Match`` (RFC 9110 §13, §14).

Rules
1. A header that makes no sense, or asks for several parts, is no header: the answer is the whole file.
2. One part that begins behind the end cannot be had. An empty file has no parts, and is sent whole.
"""

import re
from typing import NamedTuple

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*\Z", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


class Part(NamedTuple):
    """Bytes ``start`` up to, and without, ``end``."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """There are no such bytes."""


def wanted_part(range: str | None, if_range: str | None, tag: str, size: int) -> Part | None:
    """The part that is wanted, ``None`` for all of it; raise `Unsatisfiable`."""
    found = _RANGE.match(range) if range is not None else None
    if found is None or not size or (if_range is not None and if_range.strip() != tag):
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
        if start >= size:
            raise Unsatisfiable
        return Part(start, end)
    if not last:
        return None
    if int(last) == 0:
        raise Unsatisfiable
    return Part(max(size - int(last), 0), size)


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client says that it has what this tag names."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)
