"""Where is the registry kept while the process lives?

The executable specification of the ports `Deployments`, `Versions`, `Variables` and `Keys`.

Rules
1. A change checks everything first and then changes everything: there is nothing to wait for in between.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from runtime import limits
from runtime.egress.policy import EgressPolicy
from runtime.errors import Conflict, NotFound
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import DeploymentSummary, KeySummary, VersionSummary
from runtime.protocol.declaration import Declaration


@dataclass
class _Record:
    """Everything about one deployment."""

    summary: DeploymentSummary
    next_number: int = 1
    versions: dict[VersionNumber, tuple[VersionSummary, Version]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[KeySummary, bytes]] = field(default_factory=dict)


class _Records:
    """Every deployment."""

    def __init__(self) -> None:
        self.by_name: dict[DeploymentName, _Record] = {}

    def of(self, name: DeploymentName) -> _Record:
        """The record of a deployment that must be there."""
        record = self.by_name.get(name)
        if record is None:
            raise NotFound(f"there is no deployment {name!r}")
        return record


class MemoryDeployments:
    """The port `Deployments` in memory."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    async def create(self, name: DeploymentName, created_at: float) -> None:
        """Make an empty deployment."""
        if name in self._records.by_name:
            raise Conflict(f"there is a deployment {name!r} already")
        summary = DeploymentSummary(name, created_at, paused=False, concurrency=None, domains=(), active=None)
        self._records.by_name[name] = _Record(summary)

    async def load(self, name: DeploymentName) -> Deployment | None:
        """The deployment as it is now."""
        record = self._records.by_name.get(name)
        if record is None:
            return None
        now = record.summary
        version = record.versions[now.active][1] if now.active is not None else None
        return Deployment(name, version, dict(record.variables), now.paused, now.concurrency, now.egress)

    async def by_domain(self, domain: str) -> DeploymentName | None:
        """Whose custom domain this is."""
        return next((name for name, record in self._records.by_name.items() if domain in record.summary.domains), None)

    async def summaries(self) -> Sequence[DeploymentSummary]:
        """Every deployment, by name."""
        return [self._records.by_name[name].summary for name in sorted(self._records.by_name)]

    async def summary(self, name: DeploymentName) -> DeploymentSummary | None:
        """One deployment."""
        record = self._records.by_name.get(name)
        return record.summary if record else None

    async def update(
        self,
        name: DeploymentName,
        *,
        paused: bool,
        concurrency: int | None,
        domains: Sequence[str],
        egress: EgressPolicy,
    ) -> None:
        """Replace what an operator may choose."""
        record = self._records.of(name)
        for domain in domains:
            if await self.by_domain(domain) not in (None, name):
                raise Conflict(f"the domain {domain!r} belongs to another deployment")
        record.summary = replace(
            record.summary, paused=paused, concurrency=concurrency, domains=tuple(domains), egress=egress
        )

    async def delete(self, name: DeploymentName) -> None:
        """Remove it with everything that is kept of it here."""
        self._records.of(name)
        del self._records.by_name[name]


class MemoryVersions:
    """The port `Versions` in memory."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    async def add(
        self,
        name: DeploymentName,
        sha256: str,
        bundle: Mapping[str, bytes],
        declaration: Declaration,
        created_at: float,
    ) -> VersionNumber:
        """Keep a bundle, number it, make it the active version."""
        record = self._records.of(name)
        number = VersionNumber(record.next_number)
        record.next_number += 1
        summary = VersionSummary(number, sha256, created_at, len(bundle), sum(map(len, bundle.values())))
        record.versions[number] = (summary, Version(number, sha256, dict(bundle), declaration))
        for old in sorted(record.versions)[: -limits.VERSIONS_KEPT]:
            del record.versions[old]
        record.summary = replace(record.summary, active=number)
        return number

    async def activate(self, name: DeploymentName, number: VersionNumber) -> None:
        """Make an older version the active one."""
        record = self._records.of(name)
        if number not in record.versions:
            raise NotFound(f"there is no version {number} of {name!r}, or it is no longer kept")
        record.summary = replace(record.summary, active=number)

    async def summaries(self, name: DeploymentName) -> Sequence[VersionSummary]:
        """Every version kept, newest first."""
        record = self._records.by_name.get(name)
        return [record.versions[number][0] for number in sorted(record.versions, reverse=True)] if record else []

    async def declaration(self, name: DeploymentName, number: VersionNumber) -> Declaration | None:
        """What a version that is kept declared."""
        record = self._records.by_name.get(name)
        kept = record.versions.get(number) if record else None
        return kept[1].declaration if kept else None


class MemoryVariables:
    """The port `Variables` in memory."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    async def all(self, name: DeploymentName) -> Mapping[str, str]:
        """Every variable."""
        record = self._records.by_name.get(name)
        return dict(record.variables) if record else {}

    async def set(self, name: DeploymentName, changes: Mapping[str, str | None]) -> None:
        """Set those with a value, remove those with ``None``."""
        record = self._records.of(name)
        merged = {**record.variables, **changes}
        record.variables = {key: value for key, value in merged.items() if value is not None}


class MemoryKeys:
    """The port `Keys` in memory."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    async def add(self, name: DeploymentName, key: KeySummary, secret_hash: bytes) -> None:
        """Keep a key."""
        self._records.of(name).keys[key.id] = (key, secret_hash)

    async def find(self, name: DeploymentName, secret_hash: bytes) -> KeySummary | None:
        """The key with this hash."""
        record = self._records.by_name.get(name)
        found = None
        for key, kept in record.keys.values() if record else ():
            if hmac.compare_digest(kept, secret_hash):
                found = key
        return found

    async def all(self, name: DeploymentName) -> Sequence[KeySummary]:
        """Every key, oldest first."""
        record = self._records.by_name.get(name)
        return [key for key, _ in record.keys.values()] if record else []

    async def remove(self, name: DeploymentName, id: str) -> None:
        """Forget a key."""
        if self._records.of(name).keys.pop(id, None) is None:
            raise NotFound(f"there is no key {id[:40]!r}")


class MemoryRegistry:
    """The four ports of the registry, over the same records."""

    def __init__(self) -> None:
        records = _Records()
        self.deployments = MemoryDeployments(records)
        self.versions = MemoryVersions(records)
        self.variables = MemoryVariables(records)
        self.keys = MemoryKeys(records)

    async def close(self) -> None:
        """Nothing to close; every registry can be."""
