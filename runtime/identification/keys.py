"""Which keys does a provider publish?

Reads key sets (RFC 7517), discovery documents (OpenID Connect Discovery §3) and ``data:`` URIs (RFC 2397). Pure; the
bytes are a stranger's.

Rules
1. A key is good for one algorithm, and that follows from the key. What a key set says besides can only forbid.
2. Of a key only its public numbers are kept. Symmetric keys, unusual curves and keys of a dangerous size are not keys.
3. What cannot be read is a `ValueError` with a sentence about the document, never about our reading of it.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import jwt

from runtime import limits

ALGORITHMS = ("RS256", "ES256", "EdDSA")

# (kty, crv) → the algorithm, and the public numbers of such a key (RFC 7518 §6, RFC 8037 §2)
_SORTS: Mapping[tuple[str, str | None], tuple[str, tuple[str, ...]]] = {
    ("RSA", None): ("RS256", ("n", "e")),
    ("EC", "P-256"): ("ES256", ("crv", "x", "y")),
    ("OKP", "Ed25519"): ("EdDSA", ("crv", "x")),
}
_OTHER_NAMES = {"Ed25519": "EdDSA"}  # RFC 9864
_DATA = re.compile(r"data:(?P<type>[^,;]*)(?P<parameters>(?:;[^,;]*)*),(?P<content>.*)\Z", re.IGNORECASE | re.DOTALL)
# Fewer bits can be broken; with more, or a long exponent, one token costs a millisecond and up.
_RSA_BITS = range(2048, 8193)
_RSA_EXPONENT_BYTES = 4


class Key(NamedTuple):
    """One public key; ``id`` is what tokens call it by."""

    id: str | None
    algorithm: str
    key: jwt.PyJWK


KeySet = tuple[Key, ...]


class Discovery(NamedTuple):
    """What a provider says about itself."""

    issuer: str
    jwks_uri: str


def parse_key_set(body: bytes) -> KeySet:
    """The keys of a key set that can verify something here; at most `KEY_SET_KEYS` are looked at."""
    listed = _object(body, "the key set").get("keys")
    if not isinstance(listed, list):
        raise ValueError('the key set has no array "keys"')
    return tuple(_usable(listed[: limits.KEY_SET_KEYS]))


def parse_discovery(body: bytes) -> Discovery:
    """Issuer and address of the keys."""
    read = _object(body, "the discovery document")
    issuer, jwks_uri = read.get("issuer"), read.get("jwks_uri")
    if not isinstance(issuer, str) or not isinstance(jwks_uri, str):
        raise ValueError('the discovery document has no strings "issuer" and "jwks_uri"')
    return Discovery(issuer, jwks_uri)


def is_data_uri(text: str) -> bool:
    """Whether this is the thing itself and not its address."""
    return text[:5].lower() == "data:"


def read_data_uri(text: str) -> bytes:
    """What a ``data:`` URI holds."""
    found = _DATA.match(text)
    if found is None:
        raise ValueError("the data: URI has no comma; write it as in 'data:application/json;base64,…'")
    content = unquote_to_bytes(found["content"])
    if found["parameters"].lower().endswith(";base64"):
        try:
            content = base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the data: URI says base64 and holds something else") from None
    if len(content) > limits.KEY_SET_BYTES:
        raise ValueError(f"the data: URI holds {len(content)} bytes, limit KEY_SET_BYTES is {limits.KEY_SET_BYTES}")
    return content


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not JSON") from None
    if not isinstance(read, dict):
        raise ValueError(f"{what} is not a JSON object")
    return read


def _usable(listed: list[Any]) -> Iterator[Key]:
    for entry in listed:
        if isinstance(entry, dict):
            found = _key(entry)
            if found is not None:
                yield found


def _key(entry: dict[str, Any]) -> Key | None:
    kind, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    sort = _SORTS.get((kind, None if kind == "RSA" else curve))
    if sort is None:
        return None
    algorithm, members = sort
    numbers = {member: entry.get(member) for member in members}
    if not all(isinstance(number, str) for number in numbers.values()) or not _may_verify(entry, algorithm):
        return None
    if kind == "RSA" and not _is_sane_rsa(numbers["n"] or "", numbers["e"] or ""):
        return None
    try:
        key = jwt.PyJWK({"kty": kind, **numbers}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):
        return None
    if kind == "RSA" and key.key.key_size not in _RSA_BITS:
        return None
    name = entry.get("kid")
    return Key(name if isinstance(name, str) else None, algorithm, key)


def _may_verify(entry: dict[str, Any], algorithm: str) -> bool:
    named = entry.get("alg")
    if named is not None and (not isinstance(named, str) or _OTHER_NAMES.get(named, named) != algorithm):
        return False
    if entry.get("use") not in (None, "sig"):
        return False
    operations = entry.get("key_ops")
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _is_sane_rsa(modulus: str, exponent: str) -> bool:
    """Whether these numbers are short enough to be looked at at all."""
    return len(modulus) * 6 <= _RSA_BITS[-1] + 64 and len(exponent.rstrip("=")) * 6 // 8 <= _RSA_EXPONENT_BYTES
