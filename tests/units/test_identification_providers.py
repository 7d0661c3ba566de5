"""May this server ask these providers?"""

import pytest

from runtime.egress.rules import Exceptions, Rules, parse_exceptions
from runtime.identification.providers import objections
from runtime.protocol.declaration import JwtProvider, OidcProvider, Provider
from tests.signers import APPLICATION, ISSUER, Signer, data_uri, key_set

KEYS = f"{ISSUER}/keys"
OIDC = OidcProvider(ISSUER, APPLICATION)
ONE = Signer("ES256", "one")


def test_a_declaration_that_could_have_been_meant_is_taken() -> None:
    providers: list[Provider] = [
        OIDC,
        JwtProvider("anything at all", "https://x.example/k", "EdDSA"),
        JwtProvider("me", data_uri(key_set(ONE.jwk())), "ES256"),
    ]
    assert list(objections(providers, Rules(Exceptions()))) == []
    listed: list[Provider] = [
        OidcProvider("http://127.0.0.1:9000", "a"),
        JwtProvider("me", "http://id.internal/k", "RS256"),
    ]
    assert len(list(objections(listed, Rules(Exceptions())))) == 2
    assert list(objections(listed, Rules(parse_exceptions("127.0.0.1, id.internal")))) == []


@pytest.mark.parametrize(
    "provider, word",
    [
        (OidcProvider("http://id.example.org", "a"), "https"),
        (OidcProvider("https://localhost.", ""), "application_id"),
        (OidcProvider("https://10.0.0.1", "a"), "WARREN_EGRESS_ALLOW"),
        (OidcProvider("https://169.254.169.254", "a"), "WARREN_EGRESS_ALLOW"),
        (OidcProvider("file:///etc/passwd", "a"), "domain"),
        (OidcProvider("https://u:p@id.example.org", "a"), "domain"),
        (OidcProvider("x" * 5000, "a"), "characters"),
        (OidcProvider(ISSUER, "a\nb"), "printable"),
        (JwtProvider("", KEYS, "RS256"), "issuer"),
        (JwtProvider("me", KEYS, "HS256"), "algorithm"),
        (JwtProvider("me", KEYS, "none"), "algorithm"),
        (JwtProvider("me", "", "RS256"), "jwks"),
        (JwtProvider("me", "data:,{}", "RS256"), "key set"),
        (JwtProvider("me", data_uri(key_set(ONE.jwk())), "RS256"), "no key for RS256"),
        (JwtProvider("me", data_uri(b" " * 300_000), "RS256"), "KEY_SET_BYTES"),
        (JwtProvider("me", KEYS, "RS256", "x" * 5000), "application_id"),
    ],
)
def test_a_declaration_from_a_stranger_is_looked_over(provider: Provider, word: str) -> None:
    found = list(objections([OIDC, provider], Rules(Exceptions())))
    assert found and all(text.startswith("provider 2") for text in found)
    assert word in found[0]


def test_only_so_many_providers_are_taken() -> None:
    assert "PROVIDERS" in next(objections([OIDC] * 17, Rules(Exceptions())))
