"""What is a cursor, so that a client can hold it and do nothing with it but give it back?

A position in an index is made of values of documents. A client may keep it between two pages, and must neither read it
nor make one up; so it is sealed with a key of this installation, bound to the deployment and to the question that it
belongs to. AES-SIV (RFC 5297): the same position of the same question is always the same text, so that a query which is
run again answers the same.

Rules
1. A text that was not made here, or for another question, is no cursor: the error that Convex's clients know and answer
   by beginning anew.
2. A cursor outlives the version, the process and the index's number. It does not outlive a change of the index's
   fields.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds, Index

_PURPOSE = b"warren cursor 1"
_AFTER = b"k"
_END = b"e"
_INVALID = values.encode({"isConvexSystemError": True, "paginationError": "InvalidCursor"})

END = _END
"""The position behind everything, also behind what is yet to come."""


class Cursors:
    """Seals and opens positions."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(hashlib.sha512(_PURPOSE + b"\x00" + secret).digest())

    def seal(self, question: bytes, position: bytes) -> str:
        """The cursor of a position (`END`, or one of the index)."""
        content = _END if position is END else _AFTER + position
        return _text(self._cipher.encrypt(content, [question]))

    def open(self, question: bytes, cursor: str) -> bytes:
        """The position of a cursor; raise `SyscallRefused` when it is none of this question."""
        try:
            if len(cursor) > limits.VALUE_BYTES or not cursor.isascii():
                raise ValueError
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            # Base64 has bits to spare at its end, and a cursor has one spelling.
            if _text(sealed) != cursor:
                raise ValueError
            content = self._cipher.decrypt(sealed, [question])
        except (InvalidTag, ValueError, binascii.Error):
            raise SyscallRefused(
                "InvalidCursor: this cursor is not one of this query with these arguments; begin again with null",
                "ApplicationError",
                _INVALID,
            ) from None
        return END if content == _END else content[len(_AFTER) :]


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def question_of(name: DeploymentName, table: str, index: Index, bounds: Bounds, order: Order) -> bytes:
    """What a cursor belongs to: everything of a query but its filters, which only the guest knows."""
    ends = [repr(bound) for bound in (bounds.lower, bounds.lower_inclusive, bounds.upper, bounds.upper_inclusive)]
    return "\x00".join([name, table, ",".join(index.fields), order, *ends]).encode("utf-8", "surrogatepass")
