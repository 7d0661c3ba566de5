"""Who goes next when mutations of one deployment get in each other's way?

A transaction that loses a race runs again, and could lose for ever. So the losers of a deployment run one at a time,
each with a commit of its own. Where that happens often it is different: a function that gets in its own way (it is
*crowded*) need not lose first, but boards a *convoy* at once: those in it run side by side, see what the others write,
and share a commit (`syscalls/convoys`). And when even that does not help, all that come fresh go through here as well.

Rules
1. Nobody waits here who has not lost, unless its function has often done so (`_CROWDED`), or somebody keeps losing
   (`DESPERATE` times).
2. Whoever comes boards in the order of arrival: the convoy that is there, or the next one, which opens when that has
   landed. Where the next one is full as well, or the one before is for one alone, it waits at the door.
3. Whoever is not crowded has a convoy for itself: one of many is longer under way, and loses more easily.
4. For what was lost in company nobody is blamed: it is tried again, in company `_TOGETHER` times, then alone.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Self
from weakref import WeakValueDictionary

from runtime import limits
from runtime.errors import CommitConflict
from runtime.index_keys import table_of
from runtime.invocation import Invocation
from runtime.names import DeploymentName, FunctionPath
from runtime.ports import KeyRange
from runtime.syscalls.convoys.convoy import MEMBERS, Convoy, Place
from runtime.syscalls.convoys.spots import Spots
from runtime.syscalls.transaction import Transaction, Transactions

DESPERATE = 3
_TOGETHER = 2
_CROWDED = 1 / 3
_WEIGHT = 1 / 32  # of the newest experience: chance alone makes nobody crowded
_FORGOTTEN = 0.01
_REMEMBERED = 4_096  # functions


class _Line:
    """The losers of one deployment, and what they lose at."""

    def __init__(self, name: DeploymentName, transactions: Transactions) -> None:
        self.desperate = 0
        self._name = name
        self._transactions = transactions
        self._door = asyncio.Lock()
        self._spots = Spots()
        self._convoy: Convoy | None = None

    async def board(self, goes_alone: Callable[[], bool]) -> Place:
        """Take a place: in the convoy that is there, or in the next one; wait where that is full, too."""
        async with self._door:
            convoy, alone = self._convoy, goes_alone()
            if convoy is None or convoy.departed or convoy.is_full or alone:
                if convoy is not None:
                    await (convoy.landed if alone or convoy.is_for_one else convoy.is_open).wait()
                begin = partial(self._transactions.store.snapshot, self._name)
                room = 1 if alone else MEMBERS
                convoy = self._convoy = Convoy(begin, convoy, self._spots, room, self._transactions.clock.now)
            return convoy.place()


class Turns:
    """The lines of every deployment that somebody stands in."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self._lines: WeakValueDictionary[DeploymentName, _Line] = WeakValueDictionary()
        # How often a function was in somebody's way, of late. Who never is, is not in here.
        self._crowds: dict[tuple[DeploymentName, FunctionPath], float] = {}

    def of(self, invocation: Invocation) -> "Turn":
        """A mutation's place in its deployment."""
        name = invocation.deployment.name
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(name, self.transactions)
        return Turn(self, line, name, invocation.path)

    def is_crowded(self, name: DeploymentName, path: FunctionPath) -> bool:
        """Whether this function will probably lose."""
        return self._crowds.get((name, path), 0.0) > _CROWDED

    def learn(self, name: DeploymentName, path: FunctionPath, met: bool) -> None:
        """This function has met somebody, or has run as if it were alone."""
        known = self._crowds.get((name, path))
        if known is None and not met:
            return
        crowd = (known or 0.0) * (1 - _WEIGHT) + _WEIGHT * met
        if crowd < _FORGOTTEN:
            del self._crowds[name, path]
            return
        if known is None and len(self._crowds) >= _REMEMBERED:
            del self._crowds[next(iter(self._crowds))]
        self._crowds[name, path] = crowd


class Turn:
    """One mutation's place in its deployment. Used as a context: leaving it lets others go on."""

    __slots__ = ("_desperate", "_line", "_lost", "_lost_together", "_name", "_path", "_place", "_turns")

    def __init__(self, turns: Turns, line: _Line, name: DeploymentName, path: FunctionPath) -> None:
        self._turns = turns
        self._line = line
        self._name = name
        self._path = path
        self._place: Place | None = None
        self._lost = 0
        self._lost_together = 0
        self._desperate = False

    async def begin(self) -> Transaction:
        """A transaction to run in, after waiting where others go first. `end` ends its turn."""
        self._place = None
        waits = self._lost or self._lost_together or self._line.desperate
        if not waits and not self._turns.is_crowded(self._name, self._path):
            return await self._turns.transactions.begin(self._name)
        self._place = place = await self._line.board(self._goes_alone)
        return self._turns.transactions.at(self._name, place)

    def _goes_alone(self) -> bool:
        return self._lost_together > _TOGETHER or not self._turns.is_crowded(self._name, self._path)

    async def stand_by(self, transaction: Transaction) -> None:
        """Wait until what this transaction was shown is true; raise `CommitConflict` when it will not be."""
        if self._place is not None:
            done = await self._place.stand_by(transaction.reads)
            if isinstance(done, KeyRange):
                raise CommitConflict(await self._turns.transactions.table_name(self._name, table_of(done.lower)))

    def end(self) -> None:
        """This attempt is over."""
        if self._place is not None:
            self._place.give_way()

    def ran(self) -> None:
        """It has not lost."""
        self._turns.learn(self._name, self._path, self._place is not None and self._place.met)

    def may_try_again(self) -> bool:
        """It has lost: whether it may run again."""
        place = self._place
        if place is not None and place.shared:
            self._lost_together = _TOGETHER + 1 if place.stayed_behind else self._lost_together + 1
        else:
            self._lost += 1
            self._turns.learn(self._name, self._path, True)
        if self._lost >= DESPERATE and not self._desperate:
            self._desperate = True
            self._line.desperate += 1
        return self._lost < limits.COMMIT_ATTEMPTS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._desperate:
            self._line.desperate -= 1
