"""Where may a client upload, and for how long?

An address that a function gives out carries a token: whose files, and until when, sealed with a key of this
installation. As in Convex it can be used until then, by whoever has it, and as often as they like.

Rules
1. A token that was not made here, or for another deployment, opens nothing; nor does one that is too old.
2. AES-SIV (RFC 5297) says the same for the same moment, so that a mutation that runs again says the same.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from runtime import limits
from runtime.errors import Forbidden
from runtime.names import DeploymentName

_PURPOSE = b"warren upload 1"
_BYTES = 8
_LENGTH = 32  # 16 of SIV, 8 of time, in base64


class InvalidUploadToken(Forbidden):
    """This is no token for an upload here."""

    code = "InvalidUploadToken"


class ExpiredUploadToken(Forbidden):
    """It was one, and is too old."""

    code = "ExpiredUploadToken"


class UploadTokens:
    """Seals and opens permissions to upload."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(hashlib.sha512(_PURPOSE + b"\x00" + secret).digest())

    def seal(self, name: DeploymentName, now: float) -> str:
        """A token that is good from ``now`` (milliseconds since 1970) for `UPLOAD_URL_AGE`."""
        ends = int(now) + limits.UPLOAD_URL_AGE
        return _text(self._cipher.encrypt(ends.to_bytes(_BYTES), [name.encode()]))

    def check(self, name: DeploymentName, token: str, now: float) -> None:
        """Raise `InvalidUploadToken` or `ExpiredUploadToken` unless an upload is permitted now."""
        try:
            if len(token) != _LENGTH or not token.isascii():
                raise ValueError
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
            content = self._cipher.decrypt(sealed, [name.encode()])
        except (InvalidTag, ValueError, binascii.Error):
            raise InvalidUploadToken(
                "this upload URL is not one of this deployment: ask for one with ctx.storage.generate_upload_url()"
            ) from None
        if now > int.from_bytes(content):
            raise ExpiredUploadToken(
                f"this upload URL is older than {limits.UPLOAD_URL_AGE} ms (limit UPLOAD_URL_AGE): ask for another"
            )


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode()
