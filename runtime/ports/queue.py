"""Who is told that there is work, and who does work elsewhere?

The queue carries knocks and nothing else: the documents are the truth. Whatever is lost here is found again.
"""

from collections.abc import Mapping
from typing import Protocol

from runtime.invocation import Invocation, Outcome
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration


class Agenda(Protocol):
    """When the workers have to look at which deployment."""

    def note(self, name: DeploymentName, at: float) -> None:
        """Something of this deployment is due at ``at`` (milliseconds since 1970). Never waits, never raises."""
        ...


class Errands(Protocol):
    """What is not run by isolates of this process but by a worker: Node-style modules."""

    async def run(self, invocation: Invocation) -> Outcome:
        """Have a Node-style action run, once at most, and wait for how it ends.

        Raises `Overloaded` when no worker can be asked, and `IsolateLost` when the one that began it is gone.
        """
        ...

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Install what the bundle's Node-style modules need and learn what they declare: functions and packages.

        Raises `PushRefused` with every reason why they cannot be deployed, `Overloaded` when no worker can be asked.
        """
        ...
