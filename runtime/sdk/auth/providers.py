"""Whose tokens does this deployment believe?

What ``auth_config.py`` is written with. Everything is looked at when it is written, so that a mistake fails the push;
which addresses may be asked for keys is the server's business, and it looks again. Knows no key and no token.

Rules
1. One algorithm per `JwtProvider`, from the list below: a token never chooses how it is verified.
2. Nothing secret is needed here. What would make a secret necessary (HS256) is not on the list.
"""

from collections.abc import Iterable

from runtime import limits
from runtime.protocol import declaration
from runtime.sdk.fetch.url import URL

ALGORITHMS = ("RS256", "ES256", "EdDSA")


class OidcProvider:
    """An OpenID Connect provider. Its keys are found through ``domain`` + ``/.well-known/openid-configuration``.

    ``domain`` is the issuer's URL (``https://`` may be left out), ``application_id`` the audience of the tokens.
    """

    __slots__ = ("_declaration",)

    def __init__(self, *, domain: str, application_id: str) -> None:
        domain = _text(domain, "domain")
        if "://" not in domain:
            domain = f"https://{domain}"
        _url(domain, "domain")
        if "?" in domain or "#" in domain:
            raise ValueError(f"domain is {domain[:200]!r}: an issuer's URL has neither '?' nor '#'")
        self._declaration = declaration.OidcProvider(domain.rstrip("/"), _text(application_id, "application_id"))

    @property
    def declaration(self) -> declaration.OidcProvider:
        """The same, as the bundle declares it."""
        return self._declaration

    def __repr__(self) -> str:
        return repr(self._declaration)


class JwtProvider:
    """Somebody who signs tokens with keys that ``jwks`` shows: a URL, or the key set itself as a ``data:`` URI.

    Without ``application_id`` the audience of a token is not looked at.
    """

    __slots__ = ("_declaration",)

    def __init__(self, *, issuer: str, jwks: str, algorithm: str, application_id: str | None = None) -> None:
        issuer = _text(issuer, "issuer")
        jwks = _text(jwks, "jwks", limits.KEY_SET_BYTES * 2 if str(jwks)[:5].lower() == "data:" else None)
        if jwks[:5].lower() != "data:":
            _url(jwks, "jwks")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm is {repr(algorithm)[:80]}; it is one of {', '.join(ALGORITHMS)}")
        audience = None if application_id is None else _text(application_id, "application_id")
        self._declaration = declaration.JwtProvider(issuer, jwks, algorithm, audience)

    @property
    def declaration(self) -> declaration.JwtProvider:
        """The same, as the bundle declares it."""
        return self._declaration

    def __repr__(self) -> str:
        return repr(self._declaration)


class AuthConfig:
    """``auth_config = AuthConfig(providers=[OidcProvider(…), …])``: the first that fits a token decides."""

    __slots__ = ("_providers",)

    def __init__(self, *, providers: Iterable[OidcProvider | JwtProvider]) -> None:
        if not isinstance(providers, Iterable) or isinstance(providers, str | bytes):
            raise TypeError(f"providers is a list of OidcProvider and JwtProvider, not {type(providers).__name__}")
        given = tuple(providers)
        for provider in given:
            if not isinstance(provider, OidcProvider | JwtProvider):
                raise TypeError(f"a provider is an OidcProvider or a JwtProvider, not {type(provider).__name__}")
        if len(given) > limits.PROVIDERS:
            raise ValueError(f"{len(given)} providers, limit PROVIDERS is {limits.PROVIDERS}")
        self._providers = tuple(provider.declaration for provider in given)

    @property
    def declaration(self) -> tuple[declaration.Provider, ...]:
        """The same, as the bundle declares it."""
        return self._providers

    def __repr__(self) -> str:
        return f"AuthConfig(providers={list(self._providers)!r})"


def _text(value: object, what: str, limit: int | None = None) -> str:
    limit = limits.PROVIDER_TEXT if limit is None else limit
    if not isinstance(value, str):
        raise TypeError(f"{what} is a string, not {type(value).__name__}")
    text = value.strip()
    if not text:
        raise ValueError(f"{what} is empty")
    if len(text) > limit or not text.isprintable():
        raise ValueError(f"{what} has {len(text)} characters; up to {limit} printable ones are allowed")
    return str(text)


def _url(text: str, what: str) -> None:
    url = URL.parse(text)
    if url is None or url.protocol not in ("https:", "http:"):
        raise ValueError(f"{what} is {text[:200]!r}, which is no URL; write it as in 'https://example.org'")
    if url.username or url.password:
        raise ValueError(f"{what} has a user name or password in it; leave them out")
