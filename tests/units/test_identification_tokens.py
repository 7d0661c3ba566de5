"""Is this token genuine?"""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runtime import limits
from runtime.adapters.outbound.memory_key_sets import MemoryKeySets
from runtime.identification.tokens import Identification
from runtime.identity import BadToken, KnownUser
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, JwtProvider, OidcProvider, Provider
from tests.signers import APPLICATION, ISSUER, Signer, by_hand, data_uri, key_set

KEYS = f"{ISSUER}/keys"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
OIDC = OidcProvider(ISSUER, APPLICATION)
ONE = Signer("ES256", "one")
RSA = Signer("RS256", "rsa")


class Now:
    """The time now, and later when the test says so."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return (time.time() + self.ahead) * 1000

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Gate:
    """A deployment with providers, what they publish, and who verifies."""

    def __init__(self, *providers: Provider, keys: tuple[Signer, ...] = (ONE, RSA)) -> None:
        self.port = MemoryKeySets()
        self.clock = Now()
        self.identification = Identification(self.port, self.clock)
        self.deployment = deployment(*providers or (OIDC,))
        self.port.publish(DISCOVERY, json.dumps({"issuer": ISSUER, "jwks_uri": KEYS}).encode())
        self.publish(*keys)

    def publish(self, *keys: Signer) -> None:
        self.port.publish(KEYS, key_set(*[key.jwk() for key in keys]))

    async def known(self, token: str) -> dict[str, Any]:
        found = await self.identification.identify(self.deployment, token)
        assert isinstance(found, KnownUser), found
        claims = values.decode(found.claims)
        assert isinstance(claims, dict)
        return claims

    async def refused(self, token: str) -> BadToken:
        found = await self.identification.identify(self.deployment, token)
        assert isinstance(found, BadToken), found
        return found


def deployment(*providers: Provider, name: str = "happy-otter-1") -> Deployment:
    declared = Declaration(auth=providers) if providers else Declaration()
    return Deployment(DeploymentName(name), Version(VersionNumber(1), "0" * 64, {}, declared), {})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_an_openid_provider_is_known(algorithm: str) -> None:
    signer = Signer(algorithm)
    gate = Gate(keys=(signer,))
    assert (await gate.known(signer.token(name="Zed")))["tokenIdentifier"] == f"{ISSUER}|zed"
    assert gate.port.asked == [DISCOVERY, KEYS]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_signer_with_its_keys_in_the_bundle_asks_nobody(algorithm: str) -> None:
    signer = Signer(algorithm)
    gate = Gate(JwtProvider("me", data_uri(key_set(signer.jwk())), algorithm))
    assert (await gate.known(signer.token(iss="me", aud="anybody")))["issuer"] == "me"
    assert (await gate.known(signer.token(iss="me", aud=None)))["subject"] == "zed"
    assert gate.port.asked == []


async def test_a_signer_with_its_keys_at_a_url_is_known() -> None:
    gate = Gate(JwtProvider("me", KEYS, "ES256", APPLICATION))
    await gate.known(ONE.token(iss="me"))
    assert (await gate.refused(ONE.token(iss="me", aud="other"))).code == "NoAuthProvider"
    assert gate.port.asked == [KEYS]


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
async def test_id_tokens_and_access_tokens_are_accepted(kind: str | None) -> None:
    await Gate().known(ONE.token({"typ": kind}))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "", "secevent+jwt"])
async def test_tokens_made_for_other_things_are_not(kind: str) -> None:
    # PyJWT leaves an empty typ out, so this one is signed by hand.
    token = jwt.PyJWS().encode(
        json.dumps({"iss": ISSUER, "aud": APPLICATION, "sub": "zed", "exp": time.time() + 60}).encode(),
        ONE._key,
        "ES256",
        headers={"kid": "one", "typ": kind or "x"},
    )
    assert "type" in (await Gate().refused(token)).message


@pytest.mark.parametrize("audience", [APPLICATION, [APPLICATION], ["other", APPLICATION]])
async def test_the_application_is_one_of_the_audiences(audience: Any) -> None:
    await Gate().known(ONE.token(aud=audience))


@pytest.mark.parametrize(
    "domain, issuer", [(ISSUER, ISSUER + "/"), (ISSUER + "/", ISSUER), (ISSUER + "/", ISSUER + "/")]
)
async def test_a_trailing_slash_makes_no_other_issuer(domain: str, issuer: str) -> None:
    gate = Gate(OidcProvider(domain, APPLICATION))
    gate.port.publish(DISCOVERY, json.dumps({"issuer": issuer, "jwks_uri": KEYS}).encode())
    assert (await gate.known(ONE.token(iss=issuer)))["tokenIdentifier"] == f"{issuer}|zed"


def after(**moments: float) -> dict[str, Any]:
    return {name: time.time() + seconds for name, seconds in moments.items()}


@pytest.mark.parametrize("seconds", [{"exp": -3}, {"nbf": 3}, {"iat": 3}, {"exp": 9, "nbf": -9}])
async def test_clocks_may_differ_by_a_few_seconds(seconds: dict[str, float]) -> None:
    await Gate().known(ONE.token(**after(**seconds)))


BAD_CLAIMS: list[tuple[dict[str, Any], str]] = [
    (after(exp=-10), "expired"),
    (after(nbf=86_400), "not valid before"),
    (after(iat=86_400), "issued at"),
    ({"exp": None}, "exp"),
    ({"exp": "tomorrow"}, "exp"),
    ({"exp": True}, "exp"),
    ({"exp": 1e300}, "exp"),
    ({"exp": float("nan")}, "exp"),
    ({"exp": float("inf")}, "exp"),
    ({"exp": [1]}, "exp"),
    ({"nbf": "x"}, "nbf"),
    ({"iat": {}}, "iat"),
    ({"sub": None}, "sub"),
    ({"sub": ""}, "sub"),
    ({"sub": 5}, "ub"),
    ({"sub": "\ud800"}, "claims"),
    ({"aud": None}, "audience"),
    ({"aud": "other"}, "audience"),
    ({"aud": ["other"]}, "audience"),
    ({"aud": {"shop": 1}}, "audience"),
    ({"aud": 5}, "audience"),
    ({"iss": None}, "issuer"),
    ({"iss": 5}, "issuer"),
    ({"iss": "https://evil.example"}, "issuer"),
    ({"iss": ISSUER + ".evil.example"}, "issuer"),
]


def signed(claims: dict[str, Any], signer: Signer = ONE, header: dict[str, Any] | None = None) -> str:
    """A token that is signed whatever it says: PyJWT's own encoder looks at claims."""
    said = {**{"iss": ISSUER, "aud": APPLICATION, "sub": "zed", "exp": time.time() + 60}, **claims}
    body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
    return jwt.PyJWS().encode(body, signer._key, signer.algorithm, headers={"kid": signer.kid, **(header or {})})


@pytest.mark.parametrize("claims, word", BAD_CLAIMS)
async def test_a_claim_that_is_wrong_is_named(claims: dict[str, Any], word: str) -> None:
    assert word in (await Gate().refused(signed(claims))).message


GOOD = {"iss": ISSUER, "aud": APPLICATION, "sub": "zed", "exp": 4_000_000_000}


def with_public_key_as_secret() -> str:
    public = RSA._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = by_hand({"alg": "HS256", "kid": "rsa"}, GOOD).rstrip(".")
    signature = hmac.digest(public, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no dots": lambda: "abc",
    "two parts": lambda: "a.b",
    "five parts": lambda: "a.b.c.d.e",
    "not base64": lambda: "§.§.§",
    "surrogates": lambda: "\udcff.\udcff.\udcff",
    "header no JSON": lambda: "bm9wZQ.e30.e30",
    "header a list": lambda: "W10.e30.e30",
    "claims no JSON": lambda: by_hand({"alg": "ES256", "kid": "one"}, b"nope", b"x"),
    "claims a list": lambda: by_hand({"alg": "ES256", "kid": "one"}, b"[]", b"x"),
    "claims too deep": lambda: by_hand({"alg": "ES256", "kid": "one"}, b"[" * 9_000, b"x"),
    "no algorithm": lambda: by_hand({"kid": "one"}, GOOD, b"x"),
    "algorithm is a number": lambda: by_hand({"alg": 5, "kid": "one"}, GOOD, b"x"),
    "kid is a number": lambda: by_hand({"alg": "ES256", "kid": 5}, GOOD, b"x"),
    "unsigned": lambda: by_hand({"alg": "none", "kid": "one"}, GOOD),
    "unsigned, spelt oddly": lambda: by_hand({"alg": "nOnE", "kid": "one"}, GOOD),
    "without its signature": lambda: ONE.token().rpartition(".")[0] + ".",
    "a public key as secret": with_public_key_as_secret,
    "a shared secret": lambda: jwt.encode(GOOD, "s" * 32, "HS256", headers={"kid": "one"}),
    "an algorithm of another key": lambda: RSA.token({"kid": "one"}),
    "a larger hash": lambda: jwt.encode(GOOD, RSA._key, "RS512", headers={"kid": "rsa"}),
    "another's signature": lambda: Signer("ES256", "one").token(),
    "a key nobody knows": lambda: Signer("ES256", "nobody").token(),
    "a key it brings along": lambda: Signer("ES256", "own").token({"jwk": ONE.jwk(), "jku": "https://evil.example"}),
    "critical extensions": lambda: ONE.token({"crit": ["exp"], "exp": 1}),
    "a detached body": lambda: by_hand({"alg": "ES256", "kid": "one", "b64": False, "crit": ["b64"]}, GOOD, b"x"),
    "changed claims": lambda: _changed(ONE.token()),
    "too long": lambda: ONE.token(padding="x" * 20_000),
    "encrypted": lambda: by_hand({"alg": "RSA-OAEP", "enc": "A128GCM"}, GOOD, b"x") + ".e30.e30",
}


def _changed(token: str) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{by_hand({}, {**GOOD, 'sub': 'admin'}).split('.')[1]}.{signature}"


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_a_token_that_proves_nothing_is_refused_with_a_reason(what: str) -> None:
    refused = await Gate().refused(BAD_TOKENS[what]())
    assert refused.code in ("InvalidAuthHeader", "Unauthenticated")
    assert len(refused.message) > 20 and "Traceback" not in refused.message


async def test_a_custom_signers_one_algorithm_is_the_only_one() -> None:
    keys = data_uri(key_set(ONE.jwk(), RSA.jwk()))
    gate = Gate(JwtProvider(ISSUER, keys, "RS256"))
    await gate.known(RSA.token())
    assert "ES256" in (await gate.refused(ONE.token())).message


async def test_without_providers_nobody_is_known_and_nobody_is_asked() -> None:
    gate = Gate()
    for nobody in (deployment(), Deployment(DeploymentName("x"), None, {})):
        gate.deployment = nobody
        assert (await gate.refused(ONE.token())).code == "NoAuthProvider"
    assert gate.port.asked == []


async def test_the_first_provider_that_fits_decides() -> None:
    other = Signer("ES256", "other")
    providers: list[Provider] = [
        JwtProvider(ISSUER, data_uri(key_set(other.jwk())), "ES256", "other"),
        OIDC,
        JwtProvider(ISSUER, data_uri(key_set(other.jwk())), "ES256"),
    ]
    gate = Gate(*providers)
    await gate.known(ONE.token())
    await gate.known(other.token(aud="other"))
    await gate.known(other.token(aud="third"))
    await gate.refused(other.token())


# --- keys come and go -------------------------------------------------------------------------------------------------


async def test_a_new_key_is_looked_for_at_once_and_an_old_one_is_no_longer_believed() -> None:
    gate = Gate()
    old = ONE.token()
    await gate.known(old)
    two = Signer("ES256", "two")
    gate.publish(two)
    await gate.known(two.token())
    assert gate.port.asked == [DISCOVERY, KEYS, KEYS]
    assert "publish" in (await gate.refused(ONE.token(sub="somebody else"))).message


async def test_a_key_without_a_name_is_found_by_trying() -> None:
    nameless, next_one = Signer("ES256", None), Signer("ES256", None)
    gate = Gate(keys=(RSA, nameless))
    await gate.known(nameless.token())
    await gate.known(nameless.token({"kid": "a name of its own"}))
    gate.publish(next_one)
    await gate.known(next_one.token())
    await gate.refused(nameless.token(sub="x"))


async def test_made_up_keys_do_not_hammer_the_provider() -> None:
    gate = Gate()
    for number in range(100):
        await gate.refused(Signer("EdDSA", f"made-up-{number}").token())
    for _ in range(100):
        await gate.refused(Signer("EdDSA", None).token())
    assert gate.port.asked.count(KEYS) <= 1 + limits.KEY_SET_REFRESHES


async def test_a_wrong_signature_with_a_known_key_asks_nobody() -> None:
    gate = Gate()
    await gate.known(ONE.token())
    for _ in range(10):
        await gate.refused(Signer("ES256", "one").token())
    assert gate.port.asked == [DISCOVERY, KEYS]


async def test_keys_rotate_under_load_and_no_good_token_is_refused() -> None:
    gate = Gate()
    signers = [Signer("ES256", f"k{number}") for number in range(6)]

    async def clients(signer: Signer) -> None:
        await asyncio.gather(*(gate.known(signer.token(sub=f"user-{number}")) for number in range(40)))

    for signer, following in zip(signers, [*signers[1:], signers[0]], strict=True):
        gate.publish(signer, following)
        await clients(signer)
    assert gate.port.asked.count(KEYS) <= 1 + len(signers)


async def test_a_token_is_verified_once_until_it_expires() -> None:
    gate = Gate()
    token = ONE.token(**after(exp=60))
    await gate.known(token)
    gate.publish()  # from here on nothing can be verified
    gate.identification._key_sets._entries.clear()
    await gate.known(token)
    gate.clock.ahead = 66
    assert "expired" in (await Gate().refused(ONE.token(**after(exp=-6)))).message
    await gate.refused(token)


async def test_a_key_that_was_taken_back_is_not_believed_for_long() -> None:
    gate = Gate()
    token = ONE.token(**after(exp=100_000))
    await gate.known(token)
    gate.publish(RSA)
    gate.clock.ahead = limits.KEY_SET_AGE / 1000 + 1
    await gate.refused(token)


async def test_what_one_deployment_believes_another_does_not() -> None:
    gate = Gate()
    token = ONE.token()
    await gate.known(token)
    gate.deployment = deployment(OidcProvider(ISSUER, "other"), name="other-1")
    await gate.refused(token)
    gate.deployment = deployment(OidcProvider(ISSUER, "other"))  # the first one, with another configuration
    await gate.refused(token)


async def test_a_bounded_number_of_tokens_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.identification.tokens._REMEMBERED", 10)
    gate = Gate()
    for number in range(30):
        await gate.known(ONE.token(sub=str(number)))
    assert len(gate.identification._verified) == 10
    monkeypatch.setattr("runtime.identification.tokens._REMEMBERED_BYTES", 4_000)
    for number in range(30):
        await gate.known(ONE.token(sub=str(number), padding="x" * 1_000))
    assert len(gate.identification._verified) == 3
    assert gate.identification._verified_bytes == sum(
        len(v.user.claims) for v in gate.identification._verified.values()
    )


async def test_a_token_without_a_keys_name_is_tried_with_a_few_keys_only() -> None:
    keys = tuple(Signer("ES256", str(number)) for number in range(20))
    gate = Gate(keys=keys)
    last = Signer("ES256", None)
    last._key = keys[-1]._key
    await gate.refused(last.token())
    await gate.known(keys[-1].token())


# --- providers that are down or lie -----------------------------------------------------------------------------------


async def test_a_provider_that_is_down_is_said_to_be() -> None:
    gate = Gate()
    gate.port.withdraw(DISCOVERY)
    refused = await gate.refused(ONE.token())
    assert refused.code == "AuthProviderDiscoveryFailed" and "404" in refused.message
    await gate.refused(ONE.token())
    assert gate.port.asked == [DISCOVERY]


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example", "jwks_uri": KEYS},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": 5},
        {"issuer": ISSUER, "jwks_uri": "https://id.example.org/nothing-here"},
        [],
    ],
)
async def test_a_provider_that_lies_about_itself_is_not_believed(document: Any) -> None:
    gate = Gate()
    gate.port.publish(DISCOVERY, json.dumps(document).encode())
    assert (await gate.refused(ONE.token())).code == "AuthProviderDiscoveryFailed"
