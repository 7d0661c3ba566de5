"""What is known about every deployment, and where is it kept?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.egress.policy import OPEN, EgressPolicy
from runtime.invocation import Deployment
from runtime.names import DeploymentName, VersionNumber
from runtime.protocol.declaration import Declaration


@dataclass(frozen=True, slots=True)
class DeploymentSummary:
    """A deployment without its code: what lists show. Times are milliseconds since 1970."""

    name: DeploymentName
    created_at: float
    paused: bool
    concurrency: int | None
    domains: tuple[str, ...]
    active: VersionNumber | None
    egress: EgressPolicy = OPEN


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version without its files."""

    number: VersionNumber
    sha256: str
    created_at: float
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class KeySummary:
    """A deploy key without its secret."""

    id: str
    name: str
    created_at: float


class Deployments(Protocol):
    """The registry of deployments."""

    async def create(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment; raise `Conflict` when the name is taken (or was deleted and keeps its name)."""
        ...

    async def load(self, name: DeploymentName) -> Deployment | None:
        """The deployment as it is now, with its active version's files and its environment, or ``None``."""
        ...

    async def by_domain(self, domain: str) -> DeploymentName | None:
        """Whose custom domain this is (lower case, no port)."""
        ...

    async def summaries(self) -> Sequence[DeploymentSummary]:
        """Every deployment, by name."""
        ...

    async def summary(self, name: DeploymentName) -> DeploymentSummary | None:
        """One deployment without its code, or ``None``."""
        ...

    async def update(
        self,
        name: DeploymentName,
        *,
        paused: bool,
        concurrency: int | None,
        domains: Sequence[str],
        egress: EgressPolicy,
    ) -> None:
        """Replace what an operator may choose; raise `Conflict` when a domain belongs to another deployment."""
        ...

    async def delete(self, name: DeploymentName) -> None:
        """Remove it with its versions, environment and keys; raise `NotFound`."""
        ...


class Versions(Protocol):
    """The pushed bundles of every deployment."""

    async def add(
        self,
        name: DeploymentName,
        sha256: str,
        bundle: Mapping[str, bytes],
        declaration: Declaration,
        created_at: float,
    ) -> VersionNumber:
        """Keep a bundle, number it, make it active: all of it or nothing. Drops the oldest past the limit."""
        ...

    async def activate(self, name: DeploymentName, number: VersionNumber) -> None:
        """Make an older version the active one; raise `NotFound`."""
        ...

    async def summaries(self, name: DeploymentName) -> Sequence[VersionSummary]:
        """Every version kept, newest first."""
        ...

    async def declaration(self, name: DeploymentName, number: VersionNumber) -> Declaration | None:
        """What a version that is kept declared."""
        ...


class Variables(Protocol):
    """The environment of every deployment."""

    async def all(self, name: DeploymentName) -> Mapping[str, str]:
        """Every variable."""
        ...

    async def set(self, name: DeploymentName, changes: Mapping[str, str | None]) -> None:
        """Set those with a value, remove those with ``None``: all of them or nothing."""
        ...


class Keys(Protocol):
    """Deploy keys, by the hash of their secret. No secret is ever kept."""

    async def add(self, name: DeploymentName, key: KeySummary, secret_hash: bytes) -> None:
        """Keep a key."""
        ...

    async def find(self, name: DeploymentName, secret_hash: bytes) -> KeySummary | None:
        """The key with this hash, if this deployment has it."""
        ...

    async def all(self, name: DeploymentName) -> Sequence[KeySummary]:
        """Every key, oldest first."""
        ...

    async def remove(self, name: DeploymentName, id: str) -> None:
        """Forget a key; raise `NotFound`."""
        ...
