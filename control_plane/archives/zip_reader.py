"""What are the members of this ``.zip``?

Reads the central directory (APPNOTE.TXT 4.3.12) of archives without ZIP64, spanning or encryption, with the two methods
that everybody writes: stored and deflated. Knows nothing of bundles.

Rules
1. The central directory is the truth; of a local header only its length is believed.
2. Content is inflated up to the room there is, and then checked against its size and CRC-32.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

from control_plane.archives.members import Member, MemberKind, Oversize, shown
from control_plane.refusals import BadArchive, LimitPassed
from runtime import limits

# signature, disk, disk of directory, entries here, entries, size, offset, comment length
_END = struct.Struct("<4sHHHHIIH")
# signature, made by, needed, flags, method, time, date, crc, compressed, size, name, extra, comment, disk, internal,
# external, offset
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
# signature, needed, flags, method, time, date, crc, compressed, size, name, extra
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_STORED, _DEFLATED = 0, 8
_CUT_OFF = "the zip archive was cut off or is broken"


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


def members(data: memoryview) -> Iterator[Member]:
    """Each member in the order of the central directory."""
    count, at = _directory(data)
    packed = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data):
            raise BadArchive(_CUT_OFF)
        fields = _ENTRY.unpack_from(data, at)
        signature, flags, external, disk = fields[0], fields[3], fields[15], fields[13]
        name_length, extra_length, comment_length = fields[10:13]
        name = bytes(data[at + _ENTRY.size : at + _ENTRY.size + name_length])
        at += _ENTRY.size + name_length + extra_length + comment_length
        if signature != b"PK\x01\x02" or at > len(data):
            raise BadArchive(_CUT_OFF)
        if flags & _ENCRYPTED:
            raise BadArchive(f"{_shown(name)} is encrypted: send the archive without a password")
        entry = _Entry(name, fields[4], fields[7], fields[8], fields[9], fields[16])
        if disk or 0xFFFFFFFF in (entry.compressed, entry.size, entry.offset):
            raise BadArchive("ZIP64 and archives in several parts are not read: make a plain zip archive")
        packed += entry.compressed
        if packed > len(data):
            raise BadArchive("the members of the zip archive overlap")
        yield Member(name, _kind(name, external >> 16), partial(_content, data, entry))


def _directory(data: memoryview) -> tuple[int, int]:
    """How many entries the central directory has, and where it begins."""
    # The end record is followed by a comment of up to 64 KiB, which may hold the signature again.
    tail = bytes(data[-(_END.size + 0xFFFF) :])
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size:
            _, disk, first, here, count, size, offset, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                break
        at = tail.rfind(b"PK\x05\x06", 0, at)
    else:
        raise BadArchive(_CUT_OFF)
    if disk or first or here != count or count == 0xFFFF or 0xFFFFFFFF in (size, offset):
        raise BadArchive("ZIP64 and archives in several parts are not read: make a plain zip archive")
    if count > limits.ARCHIVE_MEMBERS:
        raise LimitPassed("the archive has too many members", "ARCHIVE_MEMBERS", limits.ARCHIVE_MEMBERS, count)
    if offset + size != len(data) - len(tail) + at:
        raise BadArchive(_CUT_OFF)
    return count, offset


def _kind(name: bytes, mode: int) -> MemberKind:
    match S_IFMT(mode):
        case 0 | 0o100000 if name.endswith(b"/"):
            return MemberKind.DIRECTORY
        case 0:  # made on a system without modes
            return MemberKind.FILE
        case kind if kind == S_IFREG:
            return MemberKind.FILE
        case kind if kind == S_IFDIR:
            return MemberKind.DIRECTORY
        case kind if kind == S_IFLNK:
            return MemberKind.LINK
        case _:
            return MemberKind.SPECIAL


def _content(data: memoryview, entry: _Entry, room: int) -> bytes:
    if entry.offset + _LOCAL.size > len(data):
        raise BadArchive(_CUT_OFF)
    local = _LOCAL.unpack_from(data, entry.offset)
    begin = entry.offset + _LOCAL.size + local[9] + local[10]
    packed = data[begin : begin + entry.compressed]
    if local[0] != b"PK\x03\x04" or len(packed) != entry.compressed:
        raise BadArchive(_CUT_OFF)
    if entry.method == _STORED:
        if len(packed) > room:
            raise Oversize(len(packed))
        content = bytes(packed)
    elif entry.method == _DEFLATED:
        content = _inflate(packed, room, entry)
    else:
        raise BadArchive(f"{_shown(entry.name)} is compressed with method {entry.method}: use deflate (8)")
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise BadArchive(f"{_shown(entry.name)} does not have the size or checksum that the archive says")
    return content


def _inflate(packed: memoryview, room: int, entry: _Entry) -> bytes:
    stream = zlib.decompressobj(wbits=-15)
    try:
        # One byte more than there is room for shows that there is more; zlib takes 0 for "no limit".
        content = stream.decompress(packed, room + 1)
    except zlib.error as error:
        raise BadArchive(f"{_shown(entry.name)} is broken: {error}") from None
    if len(content) > room:
        raise Oversize(max(len(content), entry.size))
    if not stream.eof:
        raise BadArchive(f"{_shown(entry.name)} is cut off")
    return content


def _shown(name: bytes) -> str:
    return repr(shown(name.decode("utf-8", "replace")))
