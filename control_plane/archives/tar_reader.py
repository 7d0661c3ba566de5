"""What are the members of this ``.tar.gz``?

Reads ustar (POSIX.1-1988), the ``path`` and ``size`` records of pax headers (POSIX.1-2001) and GNU long names, over one
or more gzip members (RFC 1952). Knows nothing of bundles.

Rules
1. Everything that comes out of the decompressor is counted, and stops at `ARCHIVE_BYTES`.
2. A checksum that does not fit, a missing end or anything behind it makes the archive broken.
3. The members' content is read in order: who passes a member over has it skipped.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from control_plane.archives.members import Member, MemberKind, Oversize
from control_plane.refusals import BadArchive, LimitPassed
from runtime import limits

_BLOCK = 512
_HEADER_BYTES = 64 * limits.KIB  # of one pax header or long name; a path of 256 characters needs far less
_PIECE = 256 * limits.KIB
_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,
    b"5": MemberKind.DIRECTORY,
    b"1": MemberKind.LINK,
    b"2": MemberKind.LINK,
}


@dataclass
class _Next:
    """What headers in front of a member say about it."""

    name: bytes | None = None
    size: int | None = None


class _Stream:
    """The bytes inside gzip members, in order, counted."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0
        self._gzip = zlib.decompressobj(wbits=31)
        self._ready = bytearray()
        self._produced = 0
        self._members_begun = 1

    def take(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        while len(self._ready) < size and self._more():
            pass
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        return taken

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size > 0:
            piece = min(size, _PIECE)
            if len(self.take(piece)) < piece:
                raise BadArchive("the archive ends in the middle of a file: it was cut off")
            size -= piece

    def finish(self) -> None:
        """Read to the end, so that the checksum is verified; only zeros may be left."""
        while piece := self.take(_PIECE):
            if piece.strip(b"\0"):
                raise BadArchive("the archive has data behind its end")

    def _more(self) -> bool:
        if self._gzip.eof and not self._begin_member():
            return False
        # Small pieces go in, because what is left over of one is copied.
        packed = self._data[self._at : self._at + _PIECE // 4]
        try:
            piece = self._gzip.decompress(packed, _PIECE)
        except zlib.error as error:
            raise BadArchive(f"the gzip data is broken: {error}") from None
        self._at += len(packed) - len(self._gzip.unconsumed_tail) - len(self._gzip.unused_data)
        if not piece and not packed and not self._gzip.eof:
            raise BadArchive("the gzip data ends too early: the archive was cut off")
        self._ready += piece
        self._produced += len(piece)
        if self._produced > limits.ARCHIVE_BYTES:
            name, limit = "ARCHIVE_BYTES", limits.ARCHIVE_BYTES
            raise LimitPassed("the archive unpacks to too much", name, limit, self._produced)
        return True

    def _begin_member(self) -> bool:
        """Go on to the next gzip member; some compressors write several. Zeros behind the last are padding."""
        rest = self._data[self._at :]
        if bytes(rest[:2]) != b"\x1f\x8b":
            if bytes(rest).strip(b"\0"):
                raise BadArchive("there is other data behind the gzip data")
            return False
        self._members_begun += 1
        if self._members_begun > limits.ARCHIVE_MEMBERS:
            raise BadArchive("the gzip data is in too many pieces")
        self._gzip = zlib.decompressobj(wbits=31)
        return True


def members(data: memoryview) -> Iterator[Member]:
    """Each member in order."""
    stream = _Stream(data)
    coming = _Next()
    headers = 0
    while (block := stream.take(_BLOCK)).strip(b"\0"):
        headers += 1
        if headers > 2 * limits.ARCHIVE_MEMBERS:
            limit = limits.ARCHIVE_MEMBERS
            raise LimitPassed("the archive has too many members", "ARCHIVE_MEMBERS", limit, headers)
        _check(block)
        size, kind = _number(block[124:136]), block[156:157]
        if kind in b"xgLK":
            _read_extension(kind, _extension(stream, size), coming)
            continue
        size = size if coming.size is None else coming.size
        name = _name(block) if coming.name is None else coming.name
        coming = _Next()
        yield from _member(stream, name, kind, size)
    if block and len(block) < _BLOCK:
        raise BadArchive("the archive ends in the middle of a header: it was cut off")
    stream.finish()


def _member(stream: _Stream, name: bytes, kind: bytes, size: int) -> Iterator[Member]:
    found = _KINDS.get(kind, MemberKind.SPECIAL)
    if found is MemberKind.FILE and name.endswith(b"/"):
        found = MemberKind.DIRECTORY  # how the oldest tars write one
    left = size if found in (MemberKind.FILE, MemberKind.SPECIAL) else 0
    padding = -left % _BLOCK

    def content(room: int) -> bytes:
        nonlocal left
        if left > room:
            raise Oversize(left)
        taken = stream.take(left)
        if len(taken) < left:
            raise BadArchive("the archive ends in the middle of a file: it was cut off")
        left = 0
        return taken

    yield Member(name, found, content)
    stream.skip(left + padding)


def _check(block: bytes) -> None:
    if len(block) < _BLOCK:
        raise BadArchive("the archive ends in the middle of a header: it was cut off")
    total = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
    if _number(block[148:156]) != total:
        raise BadArchive("a header of the tar archive has a wrong checksum: this is no tar archive, or a broken one")


def _number(field: bytes) -> int:
    """A size in octal; GNU's binary form is for files of more than 8 GiB, and refused with them."""
    text = field.strip(b" \0")
    if field[0] & 0x80 or not all(0x30 <= digit <= 0x37 for digit in text):
        raise BadArchive("a header of the tar archive has a number that cannot be read")
    return int(text or b"0", 8)


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # Only POSIX's ustar has a prefix there; GNU's own format ("ustar  ") keeps times in it.
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _extension(stream: _Stream, size: int) -> bytes:
    if size > _HEADER_BYTES:
        raise BadArchive(f"the tar archive has a header of {size} bytes, at most {_HEADER_BYTES} are read")
    text = stream.take(size)
    stream.skip(-size % _BLOCK)
    return text


def _read_extension(kind: bytes, text: bytes, coming: _Next) -> None:
    if kind == b"L":
        coming.name = text.removesuffix(b"\0")
    elif kind == b"x":
        for key, value in _records(text):
            if key == b"path":
                coming.name = value
            elif key == b"size":
                coming.size = _decimal(value)
            elif key.startswith(b"GNU.sparse"):
                raise BadArchive("the tar archive has a sparse file: make it without --sparse")


def _records(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header: ``length key=value\\n``, where the length counts itself."""
    while text:
        length = _decimal(text[:20].partition(b" ")[0])
        record, text = text[:length], text[length:]
        key, equals, value = record.partition(b" ")[2].partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise BadArchive("a pax header of the tar archive cannot be read")
        yield key, value[:-1]


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise BadArchive("a pax header of the tar archive has a number that cannot be read")
    return int(text)
