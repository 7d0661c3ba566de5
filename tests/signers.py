"""Somebody who signs tokens, for the tests: real keys, their public halves as a key set, and tokens of every kind."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://id.example.org"
APPLICATION = "shop"


class Signer:
    """One private key and its name."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = "one") -> None:
        self.algorithm = algorithm
        self.kid = kid
        self._key: Any
        self._public: dict[str, Any]
        match algorithm:
            case "RS256":
                self._key = rsa.generate_private_key(65537, 2048)
                self._public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            case "ES256":
                self._key = ec.generate_private_key(ec.SECP256R1())
                self._public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            case "EdDSA":
                self._key = ed25519.Ed25519PrivateKey.generate()
                self._public = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            case _:
                raise ValueError(algorithm)

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public key as a key set lists it."""
        named = {} if self.kid is None else {"kid": self.kid}
        return {**self._public, **named, **more}

    def token(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token of this signer; ``None`` takes a claim away."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": APPLICATION, "sub": "zed", "iat": now, "exp": now + 600}
        said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        named = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(said, self._key, self.algorithm, headers={**named, **(header or {})})


def key_set(*keys: Mapping[str, Any]) -> bytes:
    """A key set of these keys."""
    return json.dumps({"keys": list(keys)}).encode()


def data_uri(body: bytes) -> str:
    """A document as a ``data:`` URI."""
    return "data:application/json;base64," + base64.b64encode(body).decode()


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, signature: bytes = b"") -> str:
    """A token put together part by part, good or not."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = (json.dumps(header).encode(), body, signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
