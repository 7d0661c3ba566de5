"""Who is calling?

What every door asks about an Authorization header. An end user's token is verified (`tokens`), an administrator's key
is shown to whoever knows keys (`Admits`); the doors differ in what they do about a bad one.

Rules
1. Without a header nobody is asked anything, and nothing is done.
2. HTTP actions get a `Claimed` identity: the header may be the tenant's own business, so it is looked at when the
   function asks and not before.
3. Elsewhere a token or key that proves nothing is a refusal, never an anonymous call.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, assert_never

from runtime.errors import InvalidToken, Unauthorized
from runtime.identification.credentials import AdminKey, Bearer, Foreign, read_acting_as, read_credentials
from runtime.identity import NOBODY, BadToken, Claimed, KnownUser, NoIdentity, Settled
from runtime.invocation import Deployment
from runtime.names import DeploymentName

Admits = Callable[[DeploymentName, str], Awaitable[bool]]
Identify = Callable[[Deployment, str], Awaitable[KnownUser | BadToken]]


class Found(NamedTuple):
    """Who calls: as whom, and whether as an administrator."""

    identity: NoIdentity | KnownUser
    administrator: bool


ANONYMOUS = Found(NOBODY, False)


class Callers:
    """Tells who is behind a header."""

    def __init__(self, identify: Identify, admits: Admits) -> None:
        self._identify = identify
        self._admits = admits

    def claimed(self, deployment: Deployment, header: bytes) -> Claimed:
        """Who sent this header to an HTTP action, when somebody asks."""
        return Claimed(lambda: self._look(deployment, header))

    async def find(self, deployment: Deployment, header: bytes) -> Found:
        """Who sent this header; raises `Unauthorized` unless it proves something."""
        credentials = read_credentials(header)
        match credentials:
            case Bearer(token):
                user = await self._identify(deployment, token)
                if isinstance(user, BadToken):
                    raise InvalidToken(user.code, user.message)
                return Found(user, False)
            case AdminKey():
                return Found(await self._administrator(deployment.name, credentials), True)
            case Foreign(scheme):
                raise _foreign(scheme)
            case _:
                assert_never(credentials)

    async def is_administrator(self, name: DeploymentName, header: bytes) -> bool:
        """Whether this header holds a key of this deployment."""
        credentials = read_credentials(header)
        return isinstance(credentials, AdminKey) and await self._admits(name, credentials.authorization)

    async def _look(self, deployment: Deployment, header: bytes) -> Settled:
        try:
            return (await self.find(deployment, header)).identity
        except Unauthorized as refused:
            return BadToken(refused.code, str(refused))

    async def _administrator(self, name: DeploymentName, key: AdminKey) -> NoIdentity | KnownUser:
        if not await self._admits(name, key.authorization):
            raise Unauthorized(f"this is no deploy key of the deployment {name!r}; make one with 'warren keys'")
        if key.acting_as is None:
            return NOBODY
        try:
            return read_acting_as(key.acting_as)
        except ValueError as error:
            raise InvalidToken("InvalidAuthHeader", str(error)) from None


def _foreign(scheme: str) -> InvalidToken:
    return InvalidToken(
        "InvalidAuthHeader",
        f"the Authorization header has the scheme {scheme!r}; an end user sends 'Bearer <token>', an administrator "
        "'Convex <key>'",
    )
