"""Who is the end user behind a call, as far as we know?

Frozen values, made at a door and carried by an invocation and by everything that it calls. Knows no token, no key and
no header: who verified what is the business of `identification`.

Rules
1. A `KnownUser` was verified. Its claims are encoded once, with their keys in order: equal bytes are the same user with
   the same claims, whatever token said so. They hold nothing that changes when a token is renewed.
2. A token that proves nothing is a value (`BadToken`) and not an exception: an HTTP action may never look at it.
3. A `Claimed` identity is looked at once, when somebody asks, and stays what it was then for the whole call.
"""

from collections.abc import Awaitable, Callable

import msgspec


class NoIdentity(msgspec.Struct, frozen=True, gc=False):
    """The caller did not say who they are."""


class KnownUser(msgspec.Struct, frozen=True, gc=False):
    """Somebody whom a provider vouches for.

    ``claims`` is the encoded dict that ``ctx.auth.get_user_identity()`` answers. ``expires_at`` is in milliseconds
    since 1970, ``None`` where nothing expires (an administrator who acts as a user).
    """

    claims: bytes
    token_identifier: str
    expires_at: float | None = None


class BadToken(msgspec.Struct, frozen=True, gc=False):
    """The caller said who they are and could not prove it; ``message`` says why, and what to do."""

    code: str
    message: str


NOBODY = NoIdentity()

Settled = NoIdentity | KnownUser | BadToken


class Claimed:
    """What a caller says who they are, before anybody has looked."""

    __slots__ = ("_look", "_settled")

    def __init__(self, look: Callable[[], Awaitable[Settled]]) -> None:
        self._look = look
        self._settled: Settled | None = None

    async def settle(self) -> Settled:
        """Find out, the first time; later the same answer."""
        if self._settled is None:
            found = await self._look()
            # Two may have asked at once: the first answer stands for both.
            self._settled = self._settled or found
        return self._settled


Identity = NoIdentity | KnownUser | BadToken | Claimed


async def settled(identity: Identity) -> Settled:
    """Who it is, looked up now if nobody has done it before."""
    return await identity.settle() if isinstance(identity, Claimed) else identity


def sharing_key(identity: Settled) -> bytes:
    """What must be equal for two callers to see the same result of a query that looked at its caller."""
    match identity:
        case NoIdentity():
            return b""
        case KnownUser(claims):
            return claims
        case BadToken(code, message):
            return f"{code}\0{message}".encode("utf-8", "backslashreplace")
