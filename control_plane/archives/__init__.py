"""Which bundle is in this archive?

Bytes in, files out, all in memory: nothing an archive contains ever becomes a file of the host. Knows no deployment and
no HTTP. Works on threads; holds no state.

`members`     which files of an archive are the bundle's, and which archives are refused
`tar_reader`  the members of a ``.tar.gz``
`zip_reader`  the members of a ``.zip``

Rules
1. The kind of archive is decided by its first bytes, never by a name or a header. Its root is the bundle's root.
2. The readers are our own, because the standard library's believe sizes that the archive declares, cut names at NUL and
   read headers with regular expressions of unbounded cost. Limits are counted on what really comes out.
3. The same files give the same hash, whichever archive they came in.
"""

import hashlib
from collections.abc import Mapping

from control_plane.archives import tar_reader, zip_reader
from control_plane.archives.members import collect
from control_plane.refusals import BadArchive

__all__ = ["content_hash", "unpack"]


def unpack(data: bytes | bytearray) -> dict[str, bytes]:
    """The files of a bundle, by path; raise `BadArchive`, `LimitPassed` or `PushRefused`."""
    view = memoryview(data)
    beginning = bytes(view[:4])
    if beginning[:2] == b"\x1f\x8b":
        return collect(tar_reader.members(view))
    if beginning in (b"PK\x03\x04", b"PK\x05\x06"):
        return collect(zip_reader.members(view))
    found = "the body is empty" if not data else f"the body begins with {beginning!r}"
    raise BadArchive(f"{found}: send the content of the bundle directory as .tar.gz or .zip")


def content_hash(bundle: Mapping[str, bytes]) -> str:
    """The SHA-256 that names this content: over each path and content in the order of the paths, with their lengths."""
    digest = hashlib.sha256()
    for path in sorted(bundle):
        name, content = path.encode(), bundle[path]
        digest.update(len(name).to_bytes(8) + name + len(content).to_bytes(8))
        digest.update(content)
    return digest.hexdigest()
