"""Who goes next when mutations of one deployment get in each other's way?

A transaction that loses a race runs again, and could lose for ever. So the losers of a deployment run one at a time,
each with a commit of its own. Where that happens often it is different: a function that gets in its own way (it is
*crowded*) need not lose first, but goes to the end of the line at once, and those who wait behind one another share a
commit (`syscalls/convoy.py`). And when even that does not help, all that come fresh wait behind those who keep losing.

Rules
1. Nobody waits here who has not lost, unless its function has often done so (`_CROWDED`), or somebody keeps losing
   (`DESPERATE` times).
2. A turn is held until its holder has joined the convoy or given up. Whoever waits is served in the order of arrival.
3. A convoy leaves when nobody waits, or when it is full; the next one begins when it has landed, and sees it. Whoever
   is not crowded has one for itself: a convoy is longer under way, and loses more easily.
4. For what was lost in company nobody is blamed: it is tried again, in company `_TOGETHER` times, then alone.
"""

import asyncio
from collections.abc import Callable
from typing import Self
from weakref import WeakValueDictionary

from runtime import limits
from runtime.errors import CommitConflict
from runtime.index_keys import table_of
from runtime.invocation import Invocation
from runtime.names import DeploymentName, FunctionPath
from runtime.ports import KeyRange
from runtime.syscalls.convoy import Convoy, Place
from runtime.syscalls.transaction import Transaction, Transactions

DESPERATE = 3
_TOGETHER = 2
_CROWDED = 1 / 3
_WEIGHT = 1 / 32  # of the newest experience: chance alone makes nobody crowded
_FORGOTTEN = 0.01
_REMEMBERED = 4_096  # functions


class _Line:
    """The losers of one deployment, one behind the other."""

    def __init__(self, name: DeploymentName, transactions: Transactions) -> None:
        self.desperate = 0
        self._name = name
        self._transactions = transactions
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._convoy: Convoy | None = None

    async def board(self, goes_alone: Callable[[], bool]) -> Place:
        """Wait for a turn, and take a place: in the convoy that is there, or in one of its own."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        except asyncio.CancelledError:
            self._waiting -= 1
            if not self._lock.locked():
                self._pass_on()
            raise
        self._waiting -= 1
        alone = goes_alone()
        try:
            convoy = await self._open(alone)
        except BaseException:
            self._lock.release()
            raise
        return convoy.place(lambda: self._go_on(alone))

    async def _open(self, alone: bool) -> Convoy:
        convoy = self._convoy
        if convoy is not None and (alone or convoy.is_full):
            convoy.depart()
        if convoy is None or convoy.departed:
            if convoy is not None:
                await convoy.landed.wait()
            convoy = self._convoy = Convoy(await self._transactions.store.snapshot(self._name))
        return convoy

    def _go_on(self, alone: bool) -> None:
        self._lock.release()
        self._pass_on(alone)

    def _pass_on(self, alone: bool = False) -> None:
        convoy = self._convoy
        if convoy is not None and (alone or not self._waiting or convoy.is_full):
            convoy.depart()


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
    """One mutation's place in its deployment. Used as a context: leaving it lets the next one go."""

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
        """A transaction to run in, after waiting for as long as others go first. `end` ends its turn."""
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
            transaction.position = max(transaction.position, done)

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
