"""What does this Authorization header claim?

Pure. ``Bearer <token>`` is an end user; ``Convex <key>`` an administrator, who may act as a user:
``Convex <key>:<base64 of the user's JSON>``. Anything else is somebody else's scheme.

Rules
1. A key may have its kind in front (``prod:name|secret``), as Convex's tools write it. It is not part of the key.
2. Nothing is verified here.
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

from runtime.identification.claims import identity, token_identifier
from runtime.identity import KnownUser


class Bearer(NamedTuple):
    """An end user's token."""

    token: str


class AdminKey(NamedTuple):
    """An administrator's key (``Convex <key>``, as `Admits` wants it), and what follows it: whom they act as."""

    authorization: str
    acting_as: str | None


class Foreign(NamedTuple):
    """A scheme that is not ours."""

    scheme: str


Credentials = Bearer | AdminKey | Foreign


def read_credentials(header: bytes) -> Credentials:
    """Take an Authorization header apart; schemes are compared without regard to case."""
    scheme, _, rest = header.decode("latin-1").strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return Bearer(rest.strip())
        case "convex":
            return _admin_key(rest.strip())
        case _:
            return Foreign(scheme[:40])


def _admin_key(text: str) -> AdminKey:
    name, bar, secret = text.partition("|")
    if not bar:
        return AdminKey(f"Convex {text}", None)
    secret, colon, acting_as = secret.partition(":")
    return AdminKey(f"Convex {name.rpartition(':')[2]}|{secret}", acting_as if colon else None)


def read_acting_as(encoded: str) -> KnownUser:
    """The user an administrator wants to be taken for; raise `ValueError` when the text describes none."""
    try:
        described = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise ValueError("what follows the key is not base64 of a JSON object") from None
    return acting_user(described)


def acting_user(described: Any) -> KnownUser:
    """The user of a JSON object with issuer and subject, or tokenIdentifier; raise `ValueError` when it has neither."""
    if not isinstance(described, dict):
        raise ValueError("an identity to act as is a JSON object")
    name, issuer, subject = (described.get(field) for field in ("tokenIdentifier", "issuer", "subject"))
    if not isinstance(issuer, str) or not isinstance(subject, str):
        if not isinstance(name, str):
            raise ValueError("an identity to act as has issuer and subject, or tokenIdentifier")
        issuer, _, subject = name.partition("|")
    return KnownUser(identity(described, issuer, subject), token_identifier(issuer, subject))
