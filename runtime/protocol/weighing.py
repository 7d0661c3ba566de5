"""How many things are in these bytes, before anybody makes objects of them?

Eight megabytes of MessagePack or JSON can name millions of empty lists: a second of work and half a gigabyte for
whoever decodes them. This page walks over the bytes, makes nothing, and stops as soon as it knows. No I/O.

Rules
1. What is short is not looked at: it cannot hold many things.
2. Nothing is said about bytes that are no MessagePack, or no JSON; the decoder finds out.
"""

import re
from itertools import islice

# Fewer bytes than this are not worth a walk: each thing takes one.
SHORT = 64 * 1024


def _head(byte: int) -> tuple[int, int]:
    """How long a thing is that begins with this byte, and how many of the bytes after it say how much longer."""
    if 0xA0 <= byte <= 0xBF:
        return 1 + (byte & 31), 0
    if 0xD4 <= byte <= 0xD8:  # extensions of 1, 2, 4, 8 and 16 bytes, and their code
        return 2 + (1 << (byte - 0xD4)), 0
    fixed = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    fixed |= {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}  # lists and dicts: what they hold follows, and is counted itself
    counted = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
    if byte in counted:
        return 1 + counted[byte], counted[byte]
    if 0xC7 <= byte <= 0xC9:
        return 2 + (1 << (byte - 0xC7)), 1 << (byte - 0xC7)
    return fixed.get(byte, 1), 0


_STEPS = tuple(_head(byte)[0] for byte in range(256))
_COUNTS = tuple(_head(byte)[1] for byte in range(256))


def holds_more_than(most: int, data: bytes) -> bool:
    """Whether more than ``most`` values, keys, lists and dicts are in these bytes."""
    size = len(data)
    if size < SHORT or size <= most:
        return False
    at = things = 0
    while at < size and things <= most:
        byte = data[at]
        things += 1
        if width := _COUNTS[byte]:
            at += int.from_bytes(data[at + 1 : at + 1 + width])
        at += _STEPS[byte]
    return things > most


# A whole string, also one that never ends, is one match: nothing is looked at twice.
_JSON = re.compile(rb'"[^"]*(?:"|\Z)|[,\[{]')


def json_holds_more_than(most: int, text: bytes) -> bool:
    """Whether more than ``most`` values and keys are in this JSON; it may be a yes from half as many on."""
    if len(text) < SHORT or len(text) <= most:
        return False
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    return next(islice(_JSON.finditer(unescaped), most, None), None) is not None
