"""Is this token genuine, and for whom was it made?

Verifies JSON Web Tokens (RFC 7519, with the advice of RFC 8725) against the providers that a deployment declared. PyJWT
checks the signature, the issuer and the audience; the times are compared with our own clock.

Rules
1. The provider is chosen by what the token claims; which algorithms are allowed is the provider's word, and a key is
   good for one algorithm. ``none`` and everything with a shared secret are on no list.
2. Headers that would lead to a key (``jku``, ``jwk``, ``x5u`` …) are not read. One that must be understood (``crit``)
   is not understood.
3. A token that was verified is remembered by its hash until it expires, `KEY_SET_AGE` at most: a key that a provider
   takes back is not believed for longer than that.
4. Every way in which a token can be bad ends as `BadToken`; nothing that a stranger sends is an exception here.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from runtime import limits
from runtime.identification import claims as shown
from runtime.identification.keys import (
    Discovery,
    Key,
    KeySet,
    is_data_uri,
    parse_discovery,
    parse_key_set,
    read_data_uri,
)
from runtime.identification.providers import algorithms, audiences, choose, discovery_url, is_same_issuer
from runtime.identification.published import Published
from runtime.identity import BadToken, KnownUser
from runtime.invocation import Deployment
from runtime.names import DeploymentName
from runtime.ports import Clock, KeySets, LookupFailed
from runtime.protocol.declaration import OidcProvider, Provider

LEEWAY = 5  # seconds; clocks differ
_TYPES = frozenset(("jwt", "at+jwt"))  # RFC 7519 §5.1, RFC 9068 §2.1; "application/" may stand in front
# Verified tokens that are remembered, and what their claims may hold together.
_REMEMBERED = 20_000
_REMEMBERED_BYTES = 32 * limits.MIB
# A token that names no key is tried with so many: each costs a tenth of a millisecond of everybody's time.
_TRIED = 8
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)
_SIGNATURE_ONLY: Any = {"verify_signature": False}
# Times are ours to check.
_CHECKED: Any = {
    "require": ["iss", "sub", "exp"],
    **{f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "jti")},
}


class _Bad(Exception):
    """This token proves nothing."""

    def __init__(self, message: str, code: str = "Unauthenticated") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that was verified, by these providers; ``until`` is in milliseconds since 1970."""

    user: KnownUser
    providers: Sequence[Provider]
    until: float


class Identification:
    """Verifies tokens."""

    def __init__(self, key_sets: KeySets, clock: Clock) -> None:
        self._clock = clock
        self._discoveries: Published[Discovery] = Published(key_sets, clock, parse_discovery)
        self._key_sets: Published[KeySet] = Published(key_sets, clock, parse_key_set)
        self._own_keys: OrderedDict[str, KeySet] = OrderedDict()
        self._verified: OrderedDict[tuple[DeploymentName, bytes], _Verified] = OrderedDict()
        self._verified_bytes = 0

    async def identify(self, deployment: Deployment, token: str) -> KnownUser | BadToken:
        """Whom this token stands for in this deployment, or why it stands for nobody. Never raises."""
        providers = (deployment.version.declaration.auth if deployment.version is not None else None) or ()
        slot = (deployment.name, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        known = self._verified.get(slot)
        now = self._clock.now()
        if known is not None and now < known.until and known.providers == providers:
            return known.user
        try:
            user = await self._verify(providers, token)
        except _Bad as bad:
            return BadToken(bad.code, str(bad))
        except LookupFailed as failed:
            return BadToken("AuthProviderDiscoveryFailed", f"the keys for this token cannot be had: {failed}")
        self._remember(slot, _Verified(user, providers, min(user.expires_at or 0, now + limits.KEY_SET_AGE)))
        return user

    def close(self) -> None:
        """Stop the look-ups that are under way."""
        self._discoveries.close()
        self._key_sets.close()

    def _remember(self, slot: tuple[DeploymentName, bytes], verified: _Verified) -> None:
        if earlier := self._verified.pop(slot, None):
            self._verified_bytes -= len(earlier.user.claims)
        self._verified[slot] = verified
        self._verified_bytes += len(verified.user.claims)
        while len(self._verified) > _REMEMBERED or self._verified_bytes > _REMEMBERED_BYTES:
            _, oldest = self._verified.popitem(last=False)
            self._verified_bytes -= len(oldest.user.claims)

    # --- one token ----------------------------------------------------------------------------------------------------

    async def _verify(self, providers: Sequence[Provider], token: str) -> KnownUser:
        header, claims = _read(token)
        provider = choose(providers, claims)
        if provider is None:
            raise _no_provider(providers, claims)
        algorithm, name = header["alg"], header.get("kid")
        if algorithm not in algorithms(provider):
            allowed = " or ".join(algorithms(provider))
            raise _Bad(f"the token is signed with {str(algorithm)[:40]!r}; this provider's tokens are with {allowed}")
        checked = self._check(token, provider, _fitting(await self._keys(provider), algorithm, name))
        if checked is None:
            checked = self._check(token, provider, _fitting(await self._newer_keys(provider, name), algorithm, name))
        if checked is None:
            raise _Bad(
                "the token is not signed with a key of its provider"
                + (f": it names the key {name[:80]!r}, which the provider does not publish" if name else "")
            )
        expires = _check_times(checked, self._clock.now() / 1000)
        return _user(provider, checked, (expires + LEEWAY) * 1000)

    def _check(self, token: str, provider: Provider, keys: Sequence[Key]) -> dict[str, Any] | None:
        """The token's claims when one of these keys has signed it, ``None`` when none has."""
        for key in keys:
            try:
                return _verified_claims(token, provider, key)
            except jwt.InvalidSignatureError:
                continue
            except _UNREADABLE as error:
                raise _Bad(f"Could not validate token: {error}") from None
        return None

    # --- the keys -----------------------------------------------------------------------------------------------------

    async def _keys(self, provider: Provider) -> KeySet:
        if not isinstance(provider, OidcProvider) and is_data_uri(provider.jwks):
            return self._own(provider.jwks)
        return await self._key_sets.find(await self._address(provider))

    async def _newer_keys(self, provider: Provider, name: str | None) -> KeySet:
        if not isinstance(provider, OidcProvider) and is_data_uri(provider.jwks):
            return ()
        url = await self._address(provider)
        seen = await self._key_sets.find(url)
        if name is None:
            return await self._key_sets.newer(url, lambda keys: keys is not seen)
        if any(key.id == name for key in seen):
            return ()  # the key is there, and has not signed this
        return await self._key_sets.newer(url, lambda keys: any(key.id == name for key in keys))

    async def _address(self, provider: Provider) -> str:
        if not isinstance(provider, OidcProvider):
            return provider.jwks
        found = await self._discoveries.find(discovery_url(provider))
        if not is_same_issuer(found.issuer, provider.domain):
            raise LookupFailed(
                f"what {provider.domain} publishes is about the issuer {found.issuer[:200]!r}: it must be its own"
            )
        return found.jwks_uri

    def _own(self, uri: str) -> KeySet:
        """The keys that the bundle brought along."""
        keys = self._own_keys.get(uri)
        if keys is None:
            try:
                keys = parse_key_set(read_data_uri(uri))
            except ValueError as error:
                raise LookupFailed(str(error)) from None
            self._own_keys[uri] = keys
            if len(self._own_keys) > 100:
                self._own_keys.popitem(last=False)
        return keys


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, as it says."""
    if len(token) > limits.TOKEN_BYTES:
        raise _Bad(f"the token has {len(token)} bytes, limit TOKEN_BYTES is {limits.TOKEN_BYTES}", "InvalidAuthHeader")
    try:
        read = jwt.decode_complete(token, options=_SIGNATURE_ONLY)
        header, claims = read["header"], read["payload"]
    except _UNREADABLE as error:
        raise _Bad(f"Could not parse as id token: {str(error)[:200]}", "InvalidAuthHeader") from None
    kind = header.get("typ")
    if kind is not None and (not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES):
        raise _Bad(f"a token of type {str(kind)[:40]!r} says nothing of who calls; send an ID or access token")
    if "crit" in header:
        raise _Bad("the token's header has critical extensions, and none is understood here")
    if not isinstance(header.get("kid"), str | None) or not isinstance(header.get("alg"), str):
        raise _Bad("the token's header has no 'alg', or a 'kid' that is no text", "InvalidAuthHeader")
    return header, claims


def _no_provider(providers: Sequence[Provider], claims: dict[str, Any]) -> _Bad:
    if not providers:
        return _Bad("this deployment believes no provider: its bundle has none in an auth_config.py", "NoAuthProvider")
    issuer, meant_for = str(claims.get("iss"))[:200], ", ".join(audiences(claims))[:200]
    return _Bad(
        f"no provider in auth_config.py fits this token, whose issuer is {issuer!r} and audience {meant_for!r}: "
        "compare them with domain or issuer, and application_id",
        "NoAuthProvider",
    )


def _fitting(keys: KeySet, algorithm: str, name: str | None) -> Sequence[Key]:
    """The keys that may have signed: by name where the token names one and the key has a name."""
    same = [key for key in keys if key.algorithm == algorithm]
    return (same if name is None else [key for key in same if key.id == name or key.id is None])[:_TRIED]


def _verified_claims(token: str, provider: Provider, key: Key) -> dict[str, Any]:
    options: Any = {**_CHECKED, "verify_aud": provider.application_id is not None}
    read = jwt.decode_complete(
        token, key.key, algorithms=[key.algorithm], audience=provider.application_id, options=options
    )
    claims: dict[str, Any] = read["payload"]
    return claims


def _check_times(claims: dict[str, Any], now: float) -> float:
    """When the token expires, in seconds since 1970."""
    expires = _seconds(claims, "exp")
    if expires is None:
        raise _Bad("the token has no 'exp'")
    if now >= expires + LEEWAY:
        raise _Bad(f"the token expired {round(now - expires)} s ago: get a new one")
    for name, what in (("nbf", "is not valid before"), ("iat", "was issued at")):
        moment = _seconds(claims, name)
        if moment is not None and moment > now + LEEWAY:
            raise _Bad(f"the token {what} a moment that is {round(moment - now)} s ahead: is a clock wrong?")
    return expires


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53 or math.isnan(value):
        raise _Bad(f"the token's '{name}' is no moment in seconds since 1970")
    return float(value)


def _user(provider: Provider, claims: dict[str, Any], expires_at: float) -> KnownUser:
    issuer, subject = claims["iss"], claims["sub"]
    if not isinstance(subject, str) or not subject:
        raise _Bad("the token's 'sub' is no text")
    try:
        encode = shown.oidc_identity if isinstance(provider, OidcProvider) else shown.jwt_identity
        return KnownUser(encode(claims), shown.token_identifier(issuer, subject), expires_at)
    except _UNREADABLE as error:
        raise _Bad(f"the token's claims cannot be shown to a function: {str(error)[:200]}") from None
