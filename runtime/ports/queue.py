"""Who is told that there is work, and who does work elsewhere?

The queue carries knocks and nothing else: the documents are the truth. Whatever is lost here is found again.

Rules
1. Whatever cannot be reached is `Overloaded`; only `Agenda.note` says nothing, it tries again by itself.
2. A claim ends by itself: a worker that died holds nothing for longer than its claim.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from runtime.identity import Settled
from runtime.invocation import Invocation, Outcome
from runtime.names import DeploymentName, RequestId
from runtime.protocol.declaration import Declaration, Kind


class Agenda(Protocol):
    """When the workers have to look at which deployment."""

    def note(self, name: DeploymentName, at: float) -> None:
        """Something of this deployment is due at ``at`` (milliseconds since 1970). Never waits, never raises."""
        ...


class Taken(msgspec.Struct, frozen=True):
    """Whom to look at now, when something is due next, and whether the book was found empty: then it must be swept."""

    names: tuple[DeploymentName, ...]
    next: float | None
    fresh: bool


class DueBook(Protocol):
    """The agenda, as the workers read it. Moments are milliseconds since 1970."""

    async def take(self, now: float, most: int) -> Taken:
        """Claim who is due, for ten seconds. Who is claimed already is not taken, but comes again when settled."""
        ...

    async def settle(self, name: DeploymentName, again: float | None) -> None:
        """The shift of a claimed deployment is over: come ``again``, and at once if something was noted meanwhile."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until something is noted that is due before everything else."""
        ...

    async def may_sweep(self) -> bool:
        """Whether it is this worker's turn to ask every deployment; one worker a minute is told so."""
        ...


class Knocks(Protocol):
    """What a worker's threads are woken with: one knock per deployment at a time."""

    async def knock(self, names: Sequence[DeploymentName]) -> None:
        """Have a shift done for each, behind everybody who waits already. Who waits or is served is left alone."""
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


class Call(msgspec.Struct, frozen=True):
    """An invocation on its way to a worker, which finds the deployment and its version itself."""

    path: str
    kind: Kind
    args: bytes
    request_id: RequestId
    depth: int
    identity: Settled
    job: str


class Analysis(msgspec.Struct, frozen=True):
    """A bundle on its way to a worker."""

    bundle: Mapping[str, bytes]
    environment: Mapping[str, str]


class Errand(msgspec.Struct, frozen=True):
    """One errand that a worker has taken; nobody else ever gets it."""

    id: str
    name: DeploymentName
    order: Call | Analysis
    reply_to: str


class ErrandDesk(Protocol):
    """Where workers take errands, and where they answer."""

    async def take(self, id: str) -> Errand | None:
        """The errand, for this worker alone. ``None``: nobody waits for it, or its deployment has enough under way."""
        ...

    async def hold(self, errand: Errand) -> bool:
        """It is still being worked on, for the next ten seconds; whether somebody still waits for it."""
        ...

    async def answer(self, errand: Errand, result: Outcome | Declaration | Exception) -> None:
        """Tell whoever waits how it ended, and let the next one of this deployment come."""
        ...
