"""What does a bundle declare?

A push is read behind the wall like any other tenant code: parsing and importing it in the host would give it the host.
"""

from collections.abc import Mapping

from runtime.errors import IsolateLost, PushRefused
from runtime.isolates.pool import Pool
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Diagnostic


class Analyst:
    """Learns what bundles declare."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Import the bundle in an isolate; raise `PushRefused` with every reason why it cannot be deployed."""
        try:
            return await self._pool.analyse(name, bundle, environment)
        except IsolateLost as lost:
            message = f"importing the bundle ended its process: {lost}. Do no work at import time."
            raise PushRefused([Diagnostic("", 0, message)]) from None
