"""Which spans does everybody want, and who waits for whom there?

Members of a convoy that want the same document would read it at the same time, and all but the first would have read
what is no longer so. Where that was seen to happen is a hot *spot*: whoever reads there first waits until the one
before has written there. No promise of order, and nobody relies on it: it only saves runs that would be lost.

Rules
1. A spot is held from the first read until the first write there, or the end; nobody holds one twice.
2. Who holds a spot waits for no other one: it goes on and may lose. So nobody waits in a circle.
3. A spot where nobody has to wait any more is forgotten.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from runtime.ports import KeyRange, Write

_SPOTS = 16
_PATIENCE = 64  # readers in a row who need not have waited


class Spots:
    """The hot spots of one deployment."""

    def __init__(self) -> None:
        self._known: dict[KeyRange, int] = {}

    def learn(self, span: KeyRange) -> None:
        """Somebody has lost, or had to wait, for what another one did here."""
        self._known.pop(span, None)
        while len(self._known) >= _SPOTS:
            del self._known[next(iter(self._known))]
        self._known[span] = _PATIENCE

    def cool(self, spot: KeyRange) -> None:
        """Somebody came and nobody was there."""
        left = self._known.get(spot, 0) - 1
        if left > 0:
            self._known[spot] = left
        else:
            self._known.pop(spot, None)

    def find(self, span: KeyRange) -> KeyRange | None:
        """A hot spot that this span reaches into."""
        if span in self._known:
            return span
        for spot in self._known:
            if span.lower < spot.upper and spot.lower < span.upper:
                return spot
        return None


class Queues:
    """Who holds the hot spots in one convoy, and who waits for them."""

    def __init__(self, spots: Spots) -> None:
        self.spots = spots
        # The first one holds the spot.
        self._queues: dict[KeyRange, deque[_Visitor]] = {}
        self._loop = asyncio.get_running_loop()

    async def enter(self, spot: KeyRange, member: object, patient: bool) -> bool:
        """Hold this spot, after waiting for it if this member is ``patient``; whether it is held now."""
        queue = self._queues.setdefault(spot, deque())
        if queue and not patient:
            return False
        visitor = _Visitor(member, self._loop.create_future())
        queue.append(visitor)
        if visitor is queue[0]:
            self.spots.cool(spot)
        else:
            self.spots.learn(spot)
            await visitor.turn
        return True

    def leave(self, spot: KeyRange, member: object) -> None:
        """Hold this spot no more, and wait for it no more."""
        queue = self._queues[spot]
        queue.remove(next(visitor for visitor in queue if visitor.member is member))
        if queue:
            queue[0].go_on()

    def is_awaited(self, spot: KeyRange, member: object) -> bool:
        """Whether this member holds the spot and another one waits for it."""
        queue = self._queues[spot]
        return len(queue) > 1 and queue[0].member is member

    def open(self) -> None:
        """Nobody waits any more."""
        for queue in self._queues.values():
            for visitor in queue:
                visitor.go_on()


class _Visitor(NamedTuple):
    member: object
    turn: "asyncio.Future[None]"

    def go_on(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


def reached(spots: Iterable[KeyRange], write: Write) -> list[KeyRange]:
    """Those of these spots that a write reaches into."""
    keys = (*write.before, *write.after)
    return [spot for spot in spots if any(spot.lower <= key < spot.upper for key in keys)]
