"""What do mutations see that share one commit?

Mutations that get in each other's way run side by side, each on a *place*: a snapshot that shows, above one moment of
the store, what the others in the convoy have written, also when they are not done. All their writes are committed at
once, and what all of them read is compared. Knows nothing of functions, nor of who may run when.

Rules
1. The order of joining is the order in which it is as if they had run. Whoever has seen what another one wrote joins
   after it. Who fails, or never joins, leaves nothing.
2. Who joins has read nothing that another one has changed meanwhile, and seen nothing that did not become so; else it
   has lost.
3. Whoever has seen something of another one's is told nothing until it is durable, also when it writes nothing itself.
4. When the convoy is lost, everybody in it has lost.
5. Who is too late stays behind: alone when it has seen nothing of the others, or else it has lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from runtime import limits
from runtime.errors import Overloaded
from runtime.index_keys import NEXT
from runtime.ports import KeyRange, Order, Page, Snapshot, Write
from runtime.syscalls.convoys.spots import Queues, Spots, reached
from runtime.syscalls.convoys.versions import Version, Versions
from runtime.syscalls.reading.pages import cut, merge, seen_of
from runtime.syscalls.reading.spans import rest

MEMBERS = 24  # most of what a busy client has under way: the others come meanwhile
_DOCUMENTS = 1_024
_BYTES = 1 * limits.MIB
_RANGES = 1_024
_OPEN = 0.030  # seconds after which nobody begins in it any more
_PATIENCE = 0.060  # seconds that those who are done wait, after that, for one who is not


class Convoy:
    """Mutations that share one commit, above one moment, which it begins and ends.

    It opens when the ``previous`` one has landed, and sees what that wrote. Who is in it already has until then begun,
    and read nothing. ``room`` is for how many, ``now`` the clock that documents are dated by.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[Snapshot]],
        previous: "Convoy | None" = None,
        spots: Spots | None = None,
        room: int = MEMBERS,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.moment: Snapshot | None = None
        # Tables that exist, as is known before there is a moment.
        self.tables = {} if previous is None or previous.moment is None else dict(previous.moment.tables)
        self.versions: Versions[Place] = Versions()
        self.queues = Queues(spots or Spots())
        self.departed = False
        self.landed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._room = room
        self.is_for_one = room == 1
        self._closes_at: float | None = None
        self._running: set[Place] = set()
        self._members: list[asyncio.Future[KeyRange | int]] = []
        self._reads: set[KeyRange] = set()
        self._bytes = 0
        self._patience: asyncio.TimerHandle | None = None
        self.is_open = asyncio.Event()  # or will never be
        self._failure: Exception | None = None
        self.latest = 0.0  # the creation time of nothing that is there, or has joined, is later
        self._opening = self._loop.create_task(self._open(begin, previous, now))
        self._landing: asyncio.Task[None] | None = None

    async def opened(self) -> Snapshot:
        """Its moment, as soon as there is one."""
        await self.is_open.wait()
        if self.moment is None:
            assert self._failure is not None, "it is open because it has a moment, or will never have one"
            raise self._failure
        return self.moment

    @property
    def members(self) -> int:
        """How many have joined."""
        return len(self._members)

    @property
    def is_full(self) -> bool:
        """Whether nobody else is to begin in it."""
        return (
            self._room <= 0
            or len(self.versions) >= _DOCUMENTS
            or self._bytes >= _BYTES
            or len(self._reads) >= _RANGES
            or (self._closes_at is not None and self._loop.time() >= self._closes_at)
        )

    def place(self) -> "Place":
        """Where the next one runs."""
        self._room -= 1
        place = Place(self)
        self._running.add(place)
        if self.moment is not None:
            place.enter(self.moment)
        return place

    def join(
        self, member: "Place", reads: Collection[KeyRange], writes: Sequence[Write]
    ) -> "asyncio.Future[KeyRange | int]":
        """Let this become true with the others; the answer is that of `Snapshot.commit`."""
        for write in writes:
            self.versions.count((write.before or write.after)[0], write, member, len(self._members))
            self._bytes += len(write.document or b"")
        self._reads.update(reads)
        joined: asyncio.Future[KeyRange | int] = self._loop.create_future()
        self._members.append(joined)
        self.latest = max(self.latest, member.latest)
        return joined

    def leave(self, place: "Place") -> None:
        """It has joined, or will not. The convoy departs when that is so of everybody."""
        self._running.discard(place)
        if not self._running:
            self.depart()

    def depart(self) -> None:
        """Commit what has joined. May be said again."""
        if not self.departed:
            self.departed = True
            if self._patience is not None:
                self._patience.cancel()
            self.queues.open()
            for place in self._running:
                place.is_done.set()
            self._landing = self._loop.create_task(self._commit())

    async def _open(
        self, begin: Callable[[], Awaitable[Snapshot]], previous: "Convoy | None", now: Callable[[], float]
    ) -> None:
        if previous is not None:
            await previous.landed.wait()
            self.latest = previous.latest
        try:
            self.moment = await begin()
        except Exception as error:
            self._failure = error
        else:
            self.latest = max(self.latest, now())
            for place in self._running:
                place.enter(self.moment)
        self.is_open.set()
        self._closes_at = self._loop.time() + _OPEN
        # Who is alone keeps nobody waiting who is done.
        if not (self.departed or self.is_for_one):
            self._patience = self._loop.call_later(_OPEN + _PATIENCE, self.depart)

    async def _commit(self) -> None:
        try:
            done = await self._write(await self.opened())
            self.landed.set()
            # Those of the next convoy begin first: they have further to go than an answer has.
            await asyncio.sleep(0)
            for member in self._waiting():
                member.set_result(done)
        except Exception as error:
            for member in self._waiting():
                member.set_exception(error)
        finally:
            self.landed.set()

    async def _write(self, moment: Snapshot) -> KeyRange | int:
        if writes := self.versions.writes():
            return await moment.commit(self._reads, writes)
        moment.release()
        return moment.position

    def _waiting(self) -> Iterator["asyncio.Future[KeyRange | int]"]:
        return (member for member in self._members if not member.done())


class _Read(NamedTuple):
    """What a place was shown of a span: what those wrote who had ``joined`` by then, and what was ``ahead`` of that."""

    span: KeyRange
    joined: int
    ahead: "frozenset[Version[Place]]"


class Place:
    """What one mutation of a convoy sees: a `Snapshot`."""

    def __init__(self, convoy: Convoy) -> None:
        self.position = 0
        # Its own: what another one made is there for it only as far as it has read it, and met.
        self.tables = dict(convoy.tables)
        self.met = False  # something that another one wrote
        self.latest = 0.0  # as the convoy's, of what was there, and of what it and all whom it has seen have added
        self.stayed_behind = False
        self.is_done = asyncio.Event()  # nobody need wait for it any more
        self._convoy = convoy
        self._moment: Snapshot | None = None
        self._reads: list[_Read] = []
        self._ahead: set[Version[Place]] = set()  # seen before its author had joined
        self._wrote: set[bytes] = set()
        self._spots: set[KeyRange] = set()  # where it waits, or others wait for it
        self._been_at: set[KeyRange] = set()
        self._joined = False
        self._overtaken = False

    @property
    def shared(self) -> bool:
        """Whether it was lost for another one's sake, or may have been."""
        return self._overtaken or self.stayed_behind or (self._joined and self._convoy.members > 1)

    def enter(self, moment: Snapshot) -> None:
        """The convoy is open, above this moment."""
        self._moment, self.position = moment.share(), moment.position
        self.latest = max(self.latest, self._convoy.latest)  # it may have added something before there was a moment
        self.tables.update(moment.tables)

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """See `Snapshot.read`."""
        moment = await self._begin()
        await self._wait_at(span)
        left = span
        while True:
            page = await moment.read(left, order, most, enough)
            written = self._look(seen_of(left, page, order))
            if not written:
                return page
            self.met = True
            entries = merge(page, written, order)
            if entries or page.complete:
                return cut(Page(entries, page.complete), most, enough)
            # All that was there is gone.
            left = rest(left, order, page.entries[-1][0])

    async def count(self, span: KeyRange, most: int) -> int:
        """See `Snapshot.count`."""
        moment = await self._begin()
        added, removed = self._convoy.versions.changes(span)
        return min(await moment.count(span, most + removed) + added - removed, most)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for this one at a hot spot."""
        return any(self._convoy.queues.is_awaited(spot, self) for spot in self._spots)

    def show(self, first: bytes, write: Write) -> None:
        """This is what happens to the document with this first key, as far as is known: others may see it."""
        if not (self._convoy.departed or self.is_done.is_set()):
            self._wrote.add(first)
            self._convoy.versions.show(first, write, self)
            if self._spots:
                self._leave(reached(self._spots, write))

    def release(self) -> None:
        """See `Snapshot.release`."""
        moment, self._moment = self._moment, None
        if moment is not None:
            moment.release()

    def share(self) -> "Place":
        """See `Snapshot.share`: it has one holder, and that is who asks."""
        return self

    def follows(self, other: "Place") -> bool:
        """Whether it can only join after the other one, having seen what that, or one that follows it, wrote."""
        followed, left = set[Place](), [self]
        while left:
            for ahead in left.pop().followed():
                if ahead is other:
                    return True
                if ahead not in followed:
                    followed.add(ahead)
                    left.append(ahead)
        return False

    def followed(self) -> "set[Place]":
        """Whose writes it has seen that have not joined yet."""
        return {version.author for version in self._ahead if not version.author.is_done.is_set()}

    async def _begin(self) -> Snapshot:
        await self._convoy.opened()
        if self._moment is None:
            # Its guest has not noticed that it is over.
            raise Overloaded("this transaction has ended while it waited")
        return self._moment

    async def _wait_at(self, span: KeyRange) -> None:
        spot = self._convoy.queues.spots.find(span)
        if spot is None or spot in self._been_at or self._convoy.departed or self.is_done.is_set():
            return
        self._been_at.add(spot)
        patient = not self._spots
        self._spots.add(spot)
        if not await self._convoy.queues.enter(spot, self, patient):
            self._spots.discard(spot)

    def _look(self, span: KeyRange) -> list[tuple[bytes, bytes | None]]:
        if self._convoy.departed and not self.met:
            return []  # it stays behind, and may yet have been alone
        entries, versions = self._convoy.versions.within(span, self._is_visible)
        ahead = frozenset(version for version in versions if version.joined is None)
        self._ahead |= ahead
        self.latest = max([self.latest, *(version.author.latest for version in versions)])
        self._reads.append(_Read(span, self._convoy.members, ahead))
        return entries

    def _is_visible(self, version: "Version[Place]") -> bool:
        author = version.author
        return version.joined is not None or (author is not self and not author.follows(self))

    # --- its end ------------------------------------------------------------------------------------------------------

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        moment = await self._begin()
        try:
            await self._let_others_go_first()
        except asyncio.CancelledError:
            self.release()
            raise
        if self._convoy.departed and not self.met:
            self.give_way()
            self._moment = None  # ended by its commit
            return await moment.commit(reads, writes)
        self.release()
        return await self._settle(reads, writes)

    async def stand_by(self, reads: Collection[KeyRange]) -> KeyRange | int:
        """Write nothing, and wait until what was seen is true: since which position, or what has changed."""
        if self._joined:
            return self.position
        if not self.met:
            self.give_way()
            self.position = (await self._convoy.opened()).position
            return self.position
        await self._let_others_go_first()
        return await self._settle(reads, ())

    def give_way(self) -> None:
        """It has joined, or never will. May be said again."""
        self._leave(list(self._spots))
        for first in self._wrote:
            self._convoy.versions.take_back(first, self)
        self._wrote.clear()
        self.is_done.set()
        self._convoy.leave(self)

    async def _let_others_go_first(self) -> None:
        """Wait for those whose writes it has seen."""
        self._leave(list(self._spots))
        for author in self.followed():
            await author.is_done.wait()

    async def _settle(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        if not self._convoy.departed:
            return await self._join(reads, writes)
        self.give_way()
        return self._stay_behind(reads)

    async def _join(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        lost = self._lost()
        if lost is not None:
            self._overtaken = True
            self._convoy.queues.spots.learn(lost)
            self.give_way()
            return lost
        joined = self._convoy.join(self, reads, writes)
        self._joined = True
        self._wrote.difference_update((write.before or write.after)[0] for write in writes)
        self.give_way()
        done = await joined
        if isinstance(done, int):
            self.position = done
        return done

    def _lost(self) -> KeyRange | None:
        """What it has read that is not so, now that its turn has come."""
        for read in self._reads:
            if any(version.joined is None for version in read.ahead):
                return read.span
            for version in self._convoy.versions.counting(read.span):
                if version.joined is not None and version.joined >= read.joined and version not in read.ahead:
                    return read.span
        return None

    def _leave(self, spots: Collection[KeyRange]) -> None:
        for spot in spots:
            self._convoy.queues.leave(spot, self)
            self._spots.discard(spot)

    def _stay_behind(self, reads: Collection[KeyRange]) -> KeyRange:
        self.stayed_behind = True
        # Whoever has met something has read it; which of it, nobody asks.
        return next(iter(reads), KeyRange(b"", NEXT))
