"""How does a function ask who called it?

``ctx.auth`` of every kind of function. Knows no token: the host verifies, and answers with claims or says why not.
"""

from runtime.protocol.user_identity import UserIdentity
from runtime.sdk.running import Running


class InvalidToken(ValueError):
    """The caller sent a token, or something in its place, that proves nothing; the message says why."""


class Auth:
    """What a function may know about its caller."""

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    async def get_user_identity(self) -> UserIdentity | None:
        """The end user behind this call, ``None`` when nobody said who they are; raises `InvalidToken`."""
        claims = await self._running.syscall("auth.identity")
        return None if claims is None else UserIdentity(claims)
