"""Whose name is this, and what do they run now?

Remembers deployments as they were last loaded, until somebody says that one has changed: no lookup, no copy and no
clock on the hot path. Knows no HTTP; the control plane says `forget` after everything it changes.

Rules
1. What is remembered is replaced whole, never changed.
2. A load that began before a `forget` is not remembered: it may have read the past.
3. Names that nobody has are remembered too, in a bounded number, so that a scanner costs no database.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from runtime.invocation import Deployment
from runtime.names import DeploymentName
from runtime.ports import Deployments

_REMEMBERED = 10_000


class Directory:
    """Deployments by name and by custom domain, from memory where possible."""

    def __init__(
        self,
        deployments: Deployments,
        system_variables: Callable[[DeploymentName], Mapping[str, str]],
        changed: Callable[[DeploymentName, Deployment | None], None],
    ) -> None:
        self._deployments = deployments
        self._system_variables = system_variables
        self._changed = changed
        self._by_name: OrderedDict[DeploymentName, Deployment | None] = OrderedDict()
        self._by_domain: OrderedDict[str, DeploymentName | None] = OrderedDict()
        self._changes = 0
        # Who hears of every `forget`; ``None`` stands for every deployment.
        self.listeners: list[Callable[[DeploymentName | None], None]] = []

    def known(self, name: DeploymentName) -> Deployment | None:
        """The deployment, if it is remembered."""
        return self._by_name.get(name)

    async def find(self, name: DeploymentName) -> Deployment | None:
        """The deployment, or ``None`` when nobody has that name."""
        if name in self._by_name:
            return self._by_name[name]
        before = self._changes
        deployment = await self._deployments.load(name)
        if deployment is not None:
            variables = {**deployment.environment, **self._system_variables(name)}
            deployment = replace(deployment, environment=variables)
        if before == self._changes:
            self._by_name[name] = deployment
            if len(self._by_name) > _REMEMBERED:
                self._by_name.popitem(last=False)
        self._changed(name, deployment)
        return deployment

    async def find_domain(self, domain: str) -> Deployment | None:
        """The deployment with this custom domain (lower case, no port), or ``None``."""
        if domain not in self._by_domain:
            before = self._changes
            name = await self._deployments.by_domain(domain)
            if before != self._changes:
                return await self.find(name) if name is not None else None
            self._by_domain[domain] = name
            if len(self._by_domain) > _REMEMBERED:
                self._by_domain.popitem(last=False)
        found = self._by_domain[domain]
        return await self.find(found) if found is not None else None

    def forget(self, name: DeploymentName) -> None:
        """Something about this deployment has changed."""
        self._changes += 1
        self._by_name.pop(name, None)
        self._by_domain.clear()
        self._tell(name)

    def forget_everything(self) -> list[DeploymentName]:
        """Anything may have changed; says whose deployments were remembered."""
        self._changes += 1
        names = [name for name, deployment in self._by_name.items() if deployment is not None]
        self._by_name.clear()
        self._by_domain.clear()
        self._tell(None)
        return names

    def _tell(self, name: DeploymentName | None) -> None:
        for listener in self.listeners:
            listener(name)
