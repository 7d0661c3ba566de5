"""What does a bundle declare?

A push is read behind the wall like any other tenant code: parsing and importing it in the host would give it the host.
What it says of identity providers is looked over here, because only the host knows where it may be sent.
"""

from collections.abc import Mapping

from runtime.egress.rules import Rules
from runtime.errors import IsolateLost, PushRefused
from runtime.identification.providers import objections
from runtime.isolates.pool import Pool
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Diagnostic


class Analyst:
    """Learns what bundles declare."""

    def __init__(self, pool: Pool, rules: Rules) -> None:
        self._pool = pool
        self._rules = rules

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Import the bundle in an isolate; raise `PushRefused` with every reason why it cannot be deployed."""
        try:
            declaration = await self._pool.analyse(name, bundle, environment)
        except IsolateLost as lost:
            message = f"importing the bundle ended its process: {lost}. Do no work at import time."
            raise PushRefused([Diagnostic("", 0, message)]) from None
        refused = [Diagnostic("auth_config.py", 1, text) for text in objections(declaration.auth or (), self._rules)]
        if refused:
            raise PushRefused(refused)
        return declaration
