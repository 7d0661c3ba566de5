"""Which keys does a provider publish?"""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from runtime import limits
from runtime.identification.keys import parse_discovery, parse_key_set, read_data_uri
from tests.signers import Signer, data_uri, key_set


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_is_good_for_the_algorithm_that_follows_from_it(algorithm: str) -> None:
    (key,) = parse_key_set(key_set(Signer(algorithm, "k").jwk()))
    assert (key.id, key.algorithm) == ("k", algorithm)


def test_keys_that_verify_nothing_here_are_left_out() -> None:
    good = Signer("ES256", "good")
    small = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    large_curve = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    strangers = [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "A" * 20_000, "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "A" * 400},
        {**small, "n": "A" * 200 + small["n"]},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed448", "x": "AA"},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": {}},
        {},
        good.jwk(use="enc"),
        good.jwk(alg="ES384"),
        good.jwk(alg="HS256"),
        good.jwk(key_ops=["encrypt"]),
        small,
        large_curve,
    ]
    found = parse_key_set(
        json.dumps({"keys": ["text", 5, None, *strangers, good.jwk(use="sig", alg="ES256")]}).encode()
    )
    assert [key.id for key in found] == ["good"]


def test_a_private_key_that_was_published_by_mistake_is_kept_as_its_public_half() -> None:
    (key,) = parse_key_set(key_set(Signer("ES256").jwk(d="c2VjcmV0")))
    assert not hasattr(key.key.key, "private_numbers")


def test_only_so_many_keys_are_looked_at() -> None:
    jwk = Signer("EdDSA").jwk()
    assert len(parse_key_set(key_set(*[jwk] * 500))) == limits.KEY_SET_KEYS


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"5", b"{}", b'{"keys": {}}', b"<html>", b"[" * 100_000])
def test_what_is_no_key_set_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(ValueError, match="the key set"):
        parse_key_set(body)


@pytest.mark.parametrize("body", [b"{}", b'{"issuer": 5, "jwks_uri": "x"}', b'{"issuer": "x"}', b"nope"])
def test_what_is_no_discovery_document_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the discovery document"):
        parse_discovery(body)


@pytest.mark.parametrize(
    "uri",
    [
        data_uri(b'{"keys": []}'),
        data_uri(b'{"keys": []}').rstrip("="),
        "data:text/plain;charset=utf-8;base64,eyJrZXlzIjogW119",
        'data:application/json,{"keys": []}',
        "data:,%7B%22keys%22:%20%5B%5D%7D",
        'DATA:application/json;charset=utf-8,{"keys": []}',
    ],
)
def test_a_key_set_may_stand_in_the_uri_itself(uri: str) -> None:
    assert json.loads(read_data_uri(uri)) == {"keys": []}


@pytest.mark.parametrize("uri", ["data:", "data:application/json", "data:;base64,§§", data_uri(b" " * 200_000)])
def test_a_uri_without_content_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="data: URI"):
        read_data_uri(uri)
