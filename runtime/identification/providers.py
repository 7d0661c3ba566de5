"""Which provider has to vouch for this token, and may this server ask them for their keys?

Pure. A declaration comes from behind the wall: `objections` looks it over before anything of it is kept.

Rules
1. The first provider decides whose issuer is the token's and, where it names an application, whose application is
   among the token's audiences.
2. A trailing slash makes no other issuer for OpenID Connect, where domains are typed by hand; for others it does.
3. Keys come over TLS, or from inside the bundle; from elsewhere only where the operator lists the address.
"""

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from runtime import limits
from runtime.egress.rules import NotAllowed, Rules
from runtime.identification.keys import ALGORITHMS, is_data_uri, parse_key_set, read_data_uri
from runtime.protocol.declaration import JwtProvider, OidcProvider, Provider

_DISCOVERY = "/.well-known/openid-configuration"


def discovery_url(provider: OidcProvider) -> str:
    """Where it says where its keys are (OpenID Connect Discovery §4)."""
    return provider.domain.rstrip("/") + _DISCOVERY


def is_same_issuer(one: str, other: str) -> bool:
    """Whether these are one OpenID Connect issuer."""
    return one.rstrip("/") == other.rstrip("/")


def audiences(claims: dict[str, Any]) -> list[str]:
    """For whom a token says that it was made."""
    said = claims.get("aud")
    return [text for text in (said if isinstance(said, list) else [said]) if isinstance(text, str)]


def choose(providers: Sequence[Provider], claims: dict[str, Any]) -> Provider | None:
    """The provider that has to vouch for a token with these claims."""
    issuer, meant_for = claims.get("iss"), audiences(claims)
    if not isinstance(issuer, str):
        return None
    for provider in providers:
        match provider:
            case OidcProvider(domain, application):
                fits = is_same_issuer(domain, issuer) and application in meant_for
            case JwtProvider(expected, _, _, optional):
                fits = issuer == expected and (optional is None or optional in meant_for)
            case _:
                assert_never(provider)
        if fits:
            return provider
    return None


def algorithms(provider: Provider) -> Sequence[str]:
    """By which algorithms its tokens may be signed."""
    return (provider.algorithm,) if isinstance(provider, JwtProvider) else ALGORITHMS


def objections(providers: Sequence[Provider], rules: Rules) -> Iterator[str]:
    """Why this server does not take these providers, sentence by sentence."""
    if len(providers) > limits.PROVIDERS:
        yield f"{len(providers)} providers, limit PROVIDERS is {limits.PROVIDERS}"
        return
    for number, provider in enumerate(providers, 1):
        match provider:
            case OidcProvider(domain, application):
                reasons = _oidc_objections(domain, application, rules)
            case JwtProvider():
                reasons = _jwt_objections(provider, rules)
            case _:
                assert_never(provider)
        yield from (f"provider {number}: {reason}" for reason in reasons)


def _oidc_objections(domain: str, application: str, rules: Rules) -> Iterator[str]:
    texts = list(_text_objections(domain=domain, application_id=application))
    yield from texts or _url_objections("domain", domain, rules)


def _jwt_objections(provider: JwtProvider, rules: Rules) -> Iterator[str]:
    audience = {} if provider.application_id is None else {"application_id": provider.application_id}
    yield from _text_objections(issuer=provider.issuer, **audience)
    if provider.algorithm not in ALGORITHMS:
        yield f"algorithm is {provider.algorithm[:40]!r}; it is one of {', '.join(ALGORITHMS)}"
    if not is_data_uri(provider.jwks):
        yield from _text_objections(jwks=provider.jwks) or _url_objections("jwks", provider.jwks, rules)
        return
    try:
        keys = parse_key_set(read_data_uri(provider.jwks))
    except ValueError as error:
        yield f"jwks: {error}"
        return
    if not any(key.algorithm == provider.algorithm for key in keys):
        yield f"jwks has no key for {provider.algorithm}"


def _text_objections(**texts: str) -> list[str]:
    limit = limits.PROVIDER_TEXT
    return [
        f"{name} has {len(text)} characters; 1 to {limit} printable ones are allowed"
        for name, text in texts.items()
        if not (0 < len(text) <= limit and text.isprintable())
    ]


def _url_objections(name: str, url: str, rules: Rules) -> Iterator[str]:
    try:
        rules.check_url(url)
    except NotAllowed as refused:
        yield f"{name}: {refused}"
