"""What does a function see of a token's claims?

Pure. The names are those of Convex (`UserIdentity`); a claim that has none of its own keeps its name.

Rules
1. ``tokenIdentifier``, ``issuer`` and ``subject`` are ours: no claim can be called so.
2. What changes when a token is renewed is left out (``exp``, ``iat``, ``jti`` …): the same user with the same claims is
   the same value, byte for byte.
3. A claim that is no value of the tenant API (its name begins with ``$``, it holds half a surrogate pair) is left out;
   an integer past ±2^53 becomes the nearest number.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from runtime.protocol import values

Claims = Mapping[str, Any]

_STANDARD = {
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile": "profileUrl",
    "picture": "pictureUrl",
    "website": "websiteUrl",
    "email": "email",
    "email_verified": "emailVerified",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phoneNumber",
    "phone_number_verified": "phoneNumberVerified",
    "address": "address",
    "updated_at": "updatedAt",
}
_REGISTERED = frozenset(("iss", "sub", "aud", "exp", "iat", "nbf", "jti"))  # RFC 7519 §4.1
# OpenID Connect Core §2 and §3.1.3.6; fva is a provider's count of minutes that is another one in each token.
_PROTOCOL = frozenset(("auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "fva"))
_NESTED_AT_MOST = 16


def oidc_identity(claims: Claims) -> bytes:
    """The identity behind an OpenID Connect provider's token, encoded; `ValueError` when it names nobody."""
    standard = {field: shown for claim, field in _STANDARD.items() if (shown := _standard(claim, claims)) is not None}
    other = {
        claim: value
        for claim, value in claims.items()
        if claim not in _REGISTERED and claim not in _PROTOCOL and claim not in _STANDARD
    }
    return identity({**other, **standard}, claims["iss"], claims["sub"])


def jwt_identity(claims: Claims) -> bytes:
    """The identity behind another signer's token, encoded: claims as they are called, objects in them flattened."""
    own = {claim: value for claim, value in claims.items() if claim not in _REGISTERED and claim not in ("fva",)}
    return identity(dict(_flattened(own, "", _NESTED_AT_MOST)), claims["iss"], claims["sub"])


def identity(fields: Claims, issuer: str, subject: str) -> bytes:
    """An encoded identity of these fields and the three that every identity has; `ValueError` when it is no value."""
    kept = {field: value for field, raw in fields.items() if (value := _value(field, raw)) is not None}
    kept |= {"tokenIdentifier": token_identifier(issuer, subject), "issuer": issuer, "subject": subject}
    return values.encode(dict(sorted(kept.items())), "identity")


def token_identifier(issuer: str, subject: str) -> str:
    """What a user is called everywhere, for ever."""
    return f"{issuer}|{subject}"


def _standard(claim: str, claims: Claims) -> Any:
    value = claims.get(claim)
    match claim:
        case "updated_at":
            return _moment(value)
        case "address" if isinstance(value, dict):
            return value.get("formatted")
        case _:
            return value


def _moment(value: Any) -> str | None:
    """Seconds since 1970 as RFC 3339; some providers send the text already."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _flattened(claims: Claims, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in claims.items():
        if isinstance(value, dict) and value and depth:
            yield from _flattened(value, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}", value


def _value(field: str, raw: Any) -> Any:
    try:
        values.check_key(field, "identity")
        shown = _numbers(raw, _NESTED_AT_MOST)
        values.check(shown, field)
    except ValueError:
        return None
    return shown


def _numbers(value: Any, depth: int) -> Any:
    if depth and isinstance(value, dict):
        return {key: _numbers(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [_numbers(item, depth - 1) for item in value]
    if type(value) is int and abs(value) > values.SAFE_INTEGER:
        return float(value) if abs(value) < 2**1023 else (math.inf if value > 0 else -math.inf)
    return value
