"""Who is calling, and may they?

The admin key does everything. A deploy key ``<deployment>|<secret>`` does everything with its own deployment, except
what is the operator's to decide: making deployments, listing them all, pausing, limits, domains.

Rules
1. Only SHA-256 hashes are compared, in constant time, and only hashes are kept. The secrets are 256 random bits, so a
   slow hash would protect nothing.
2. A wrong key learns nothing: 401 comes before any look at whether the deployment exists. So does 403.
3. A secret is shown once, by whoever made it, and never logged.
"""

import hashlib
import hmac
import secrets
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from control_plane.office import Changes, Office
from runtime.errors import Forbidden, NotFound, Unauthorized
from runtime.names import DeploymentName, InvalidName, parse_deployment_name
from runtime.ports import DeploymentSummary, Keys, KeySummary

ADMIN = DeploymentName("")  # no deployment can have this name

_bearer = HTTPBearer(
    auto_error=False, description="The admin key, or a deploy key '<deployment>|<secret>' for its own deployment."
)


def hash_secret(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def issue_key(keys: Keys, name: DeploymentName, label: str, now: float) -> tuple[KeySummary, str]:
    """Make a deploy key and keep its hash; the second part is the key, and this is the only time it exists."""
    secret = secrets.token_urlsafe(32)
    key = KeySummary(id=secrets.token_hex(8), name=label, created_at=now)
    await keys.add(name, key, hash_secret(secret))
    return key, f"{name}|{secret}"


async def identify(office: Office, token: str | None) -> DeploymentName:
    """Whose key this is: a deployment's name, or `ADMIN`; raise `Unauthorized`."""
    if not token:
        raise Unauthorized("no key was sent: add the header 'Authorization: Bearer <key>'")
    if hmac.compare_digest(hash_secret(token), office.admin_key_hash):
        return ADMIN
    prefix, bar, secret = token.partition("|")
    try:
        name = parse_deployment_name(prefix)
    except InvalidName:
        name = ADMIN
    if not bar or name == ADMIN or await office.keys.find(name, hash_secret(secret)) is None:
        raise Unauthorized("this key is not valid: check it, or ask for a new one")
    return name


async def office_of(request: Request) -> Office:
    """The office of the application that answers this request."""
    office: Office = request.app.state.office
    return office


async def changes_of(request: Request) -> Changes:
    """Whose turn it is to change a deployment."""
    changes: Changes = request.app.state.changes
    return changes


TheOffice = Annotated[Office, Depends(office_of)]
TheChanges = Annotated[Changes, Depends(changes_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _holder(office: TheOffice, credentials: Credentials) -> DeploymentName:
    return await identify(office, credentials.credentials if credentials else None)


Holder = Annotated[DeploymentName, Depends(_holder)]


async def _admin(holder: Holder) -> None:
    if holder != ADMIN:
        raise Forbidden(f"this is for the operator's admin key; the deploy key of {holder!r} is for its own deployment")


async def _own(
    holder: Holder, office: TheOffice, name: Annotated[str, Path(description="The deployment's name.")]
) -> DeploymentSummary:
    if holder != ADMIN and holder != name:
        raise Forbidden(f"this deploy key is for {holder!r} and for nothing else")
    try:
        summary = await office.deployments.summary(parse_deployment_name(name))
    except InvalidName:
        summary = None
    if summary is None:
        raise NotFound(f"there is no deployment {name[:80]!r}")
    return summary


AdminOnly = Depends(_admin)
OwnDeployment = Annotated[DeploymentSummary, Depends(_own)]
