"""Whom does a deployment believe once its environment has changed?

``auth_config.py`` may read the environment, and what it says is kept with the version. So a change of a variable reads
it again, in an isolate, before the variable is changed: what it would break is refused.

Rules
1. Only the providers are taken over. What else the bundle declares was declared at its push, and stays.
2. A bundle without ``auth_config.py`` costs nothing here.
3. Other providers are another version, with the same files: who goes back to an earlier one gets what it declared.
"""

from collections.abc import Mapping

import msgspec

from control_plane.office import Office
from runtime.invocation import Version
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration


class Reread:
    """What is to be kept after the environment has changed."""

    def __init__(self, office: Office, name: DeploymentName, version: Version, declaration: Declaration) -> None:
        self._office = office
        self._name = name
        self._version = version
        self._declaration = declaration

    async def keep(self) -> None:
        """Make the version with the new providers the active one."""
        now = self._office.clock.now()
        await self._office.versions.add(self._name, self._version.sha256, self._version.bundle, self._declaration, now)
        await self._office.settle_crons(self._name)


async def reread(office: Office, name: DeploymentName, change: Mapping[str, str | None]) -> Reread | None:
    """What the active version declares with these variables set (``None``: removed), if that is something else.

    Raises `PushRefused` when ``auth_config.py`` cannot be read with them.
    """
    deployment = await office.deployments.load(name)
    version = deployment.version if deployment is not None else None
    if version is None or version.declaration.auth is None:
        return None
    environment = {
        key: value for key, value in {**await office.environment(name), **change}.items() if value is not None
    }
    auth = (await office.analyse(name, version.bundle, environment)).auth
    if auth == version.declaration.auth:
        return None
    return Reread(office, name, version, msgspec.structs.replace(version.declaration, auth=auth))
