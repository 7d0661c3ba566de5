"""Whose time has come?

One loop over the due book: who is due is knocked for; then it sleeps until somebody is, or becomes, due. Any number of
workers do this side by side, each name is claimed by one of them.

Rules
1. Nothing is looked at while nothing is due: a sleep of a second costs one round trip.
2. A book that was found empty is swept, because what stood in it is known only to the documents.
3. The book may be out of reach at any moment: that is said once, and tried again ever more seldom.
"""

import asyncio
import logging
from collections.abc import Callable

from runtime.errors import Overloaded
from runtime.ports import Clock, DueBook, Knocks

log = logging.getLogger("warren.worker")

_MOST = 200
_FIRST_DELAY = 0.1  # seconds
_LONGEST_DELAY = 2.0


class Timekeeper:
    """``found_empty`` is called when the book has forgotten everything."""

    def __init__(self, book: DueBook, knocks: Knocks, clock: Clock, found_empty: Callable[[], None]) -> None:
        self._book, self._knocks, self._clock = book, knocks, clock
        self._found_empty = found_empty
        self.looked_at: float | None = None  # by the monotonic clock; when the book last answered

    async def run(self) -> None:
        """Keep time, until cancelled."""
        delay = _FIRST_DELAY
        while True:
            try:
                await self._turn()
            except Overloaded as error:
                if delay == _FIRST_DELAY:
                    log.warning("nobody is knocked for now: %s", error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
            except Exception:
                # Nobody else keeps time in this process, whatever it was.
                log.exception("time is kept again in a moment")
                await asyncio.sleep(_LONGEST_DELAY)
            else:
                if delay != _FIRST_DELAY:
                    log.warning("the queue answers again")
                delay = _FIRST_DELAY

    async def _turn(self) -> None:
        taken = await self._book.take(self._clock.now(), _MOST)
        self.looked_at = self._clock.monotonic()
        if taken.fresh:
            self._found_empty()
        if taken.names:
            await self._knocks.knock(taken.names)
        else:
            seconds = float("inf") if taken.next is None else (taken.next - self._clock.now()) / 1000
            await self._book.wait(seconds)
