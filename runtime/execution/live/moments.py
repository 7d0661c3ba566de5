"""Moments that were given out, to be read at again.

A client that wants several queries to agree asks for a moment first (``query_ts``) and names it in each query.

Rules
1. A moment lasts `MOMENT_AGE`, and of one deployment there are `MOMENTS` at most: each keeps the past from being
   cleared away. Who names one that is gone is told to ask for another.
2. Who reads gets a share of their own, so a moment that ends under way ends for nobody.
"""

import asyncio
from collections import OrderedDict

from runtime import limits
from runtime.errors import Overloaded
from runtime.names import DeploymentName
from runtime.ports import DocumentStore, Snapshot

_AGE = limits.MOMENT_AGE / 1000


class Moments:
    """The moments that are held, by deployment and position."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._held: dict[DeploymentName, OrderedDict[int, Snapshot]] = {}

    async def now(self, name: DeploymentName) -> Snapshot:
        """What is committed now; for the one who asks, who ends it."""
        return await self._store.snapshot(name)

    async def give_out(self, name: DeploymentName) -> int:
        """Hold the present, and say which moment it is."""
        moment = await self._store.snapshot(name)
        held = self._held.setdefault(name, OrderedDict())
        if moment.position in held:
            held.move_to_end(moment.position)
            held.pop(moment.position).release()
        held[moment.position] = moment
        if len(held) > limits.MOMENTS:
            held.popitem(last=False)[1].release()
        asyncio.get_running_loop().call_later(_AGE, self._drop, name, moment)
        return moment.position

    async def at(self, name: DeploymentName, position: int) -> Snapshot:
        """A moment that was given out; for the one who asks, who ends it. Raises `Overloaded` when it is gone."""
        held = self._held.get(name)
        if held is not None and position in held:
            return held[position].share()
        present = await self._store.snapshot(name)
        if present.position == position:
            return present
        present.release()
        raise Overloaded(f"the moment {position} is held no longer: ask for another with query_ts")

    def end(self) -> None:
        """Hold nothing any more."""
        for held in self._held.values():
            for moment in held.values():
                moment.release()
        self._held.clear()

    def _drop(self, name: DeploymentName, moment: Snapshot) -> None:
        held = self._held.get(name)
        if held is not None and held.get(moment.position) is moment:
            del held[moment.position]
            moment.release()
            if not held:
                del self._held[name]
