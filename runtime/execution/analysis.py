"""What does a bundle declare?

A push is read behind the wall like any other tenant code: parsing and importing it in the host would give it the host.
What it says of identity providers is looked over here, because only the host knows where it may be sent. What an
isolate leaves to the workers, a worker is asked about.
"""

from collections.abc import Mapping

import msgspec

from runtime.egress.rules import Rules
from runtime.errors import IsolateLost, PushRefused
from runtime.identification.providers import objections
from runtime.isolates.pool import Pool
from runtime.names import DeploymentName
from runtime.ports import Errands
from runtime.protocol.declaration import Declaration, Diagnostic


class Analyst:
    """Learns what bundles declare. Without ``errands`` there is nobody who runs Node-style modules."""

    def __init__(self, pool: Pool, rules: Rules, errands: Errands | None = None) -> None:
        self._pool = pool
        self._rules = rules
        self._errands = errands

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Import the bundle behind its walls; raise `PushRefused` with every reason why it cannot be deployed."""
        try:
            declaration = await self._pool.analyse(name, bundle, environment)
        except IsolateLost as lost:
            message = f"importing the bundle ended its process: {lost}. Do no work at import time."
            raise PushRefused([Diagnostic("", 0, message)]) from None
        refused = [Diagnostic("auth_config.py", 1, text) for text in objections(declaration.auth or (), self._rules)]
        if refused:
            raise PushRefused(refused)
        worker = Declaration()
        if declaration.node_style:
            worker = await self._of_workers(declaration, name, bundle, environment)
        return _merged(declaration, worker)

    async def _of_workers(
        self, isolate: Declaration, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        if self._errands is None:
            text = 'this server has no worker, and modules that begin with "use node" run there'
            raise PushRefused([Diagnostic(isolate.node_style[0], 1, text)])
        return await self._errands.analyse(name, bundle, environment)


def _merged(isolate: Declaration, worker: Declaration) -> Declaration:
    # An isolate has no say about packages: what stands there is installed.
    return msgspec.structs.replace(
        isolate,
        functions=(*isolate.functions, *worker.functions),
        warnings=(*isolate.warnings, *worker.warnings),
        packages=worker.packages,
    )
