"""What do the routes need from the rest of the house, and whose turn is it to change something?

Knows ports and callables; not which adapters or rooms stand behind them. `serve.py` fills it in.

Rules
1. Whatever changes a deployment goes through `Changes.make`: one change of a deployment at a time, and the directory
   forgets it afterwards, also when the change failed half way or its client went away.
2. An `Office` is frozen: a running application never gets another registry.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from runtime.errors import WarrenError
from runtime.execution.crons.crons import Crons
from runtime.names import DeploymentName
from runtime.ports import Clock, Deployments, Keys, Logs, Variables, Versions
from runtime.protocol.declaration import Declaration
from runtime.syscalls.restoring import Restoring
from runtime.syscalls.scheduling.overseeing import Overseer
from runtime.syscalls.schemas.keeper import Schemas
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.transaction import Transactions

T = TypeVar("T")

log = logging.getLogger("warren")

# The two variables that every deployment has and nobody sets.
SITE_URL = "WARREN_SITE_URL"
CLOUD_URL = "WARREN_CLOUD_URL"

Analyse = Callable[[DeploymentName, Mapping[str, bytes], Mapping[str, str]], Awaitable[Declaration]]
Ready = Callable[[], Awaitable[Mapping[str, str | None]]]


@dataclass(frozen=True)
class Office:
    """Everything the routes work with.

    ``analyse`` loads a bundle in an isolate and raises `PushRefused`. ``changed`` makes the directory forget a
    deployment. ``removed`` ends its isolates and removes its documents and files; it is done when it returns, and doing
    it twice is harmless. ``admin_key_hash`` is the SHA-256 of the admin key. ``serves`` says whether a deployment
    answers at a host name. ``ready`` names each check of `/readyz` with ``None`` when all is well, else with a
    sentence. ``metrics`` is the Prometheus text.
    """

    deployments: Deployments
    versions: Versions
    variables: Variables
    keys: Keys
    schemas: Schemas
    transactions: Transactions
    restoring: Restoring
    crons: Crons
    overseer: Overseer
    shelf: Shelf
    logs: Logs
    clock: Clock
    analyse: Analyse
    changed: Callable[[DeploymentName], None]
    removed: Callable[[DeploymentName], Awaitable[None]]
    admin_key_hash: bytes
    site_url: Callable[[DeploymentName], str]
    cloud_url: Callable[[DeploymentName], str]
    serves: Callable[[str], Awaitable[bool]]
    ready: Ready
    metrics: Callable[[], str]
    version: str

    async def environment(self, name: DeploymentName) -> dict[str, str]:
        """What the code of a deployment sees as its environment."""
        variables = await self.variables.all(name)
        return {**variables, SITE_URL: self.site_url(name), CLOUD_URL: self.cloud_url(name)}

    async def settle_crons(self, name: DeploymentName) -> None:
        """Let the crons be those of the active version. It is active: what cannot be done now, a worker does soon."""
        try:
            await self.crons.settle(name)
        except WarrenError as error:
            log.warning("the crons of %s are not those of its active version yet: %s", name, error)


class Changes:
    """One change of a deployment at a time."""

    def __init__(self, changed: Callable[[DeploymentName], None]) -> None:
        self._changed = changed
        self._turns: WeakValueDictionary[DeploymentName, asyncio.Lock] = WeakValueDictionary()
        self._under_way: set[asyncio.Task[object]] = set()

    async def make(self, name: DeploymentName, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change when the earlier ones are done. Once begun it is finished, even if the caller is cancelled."""
        task = asyncio.create_task(self._in_turn(name, change))
        # The loop itself keeps only weak references, and a cancelled caller drops the last strong one.
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, name: DeploymentName, change: Callable[[], Awaitable[T]]) -> T:
        turn = self._turns.get(name)
        if turn is None:
            turn = self._turns[name] = asyncio.Lock()
        async with turn:
            try:
                return await change()
            finally:
                self._changed(name)
