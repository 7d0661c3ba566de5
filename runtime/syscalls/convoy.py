"""What do mutations see that share one commit?

Mutations that get in each other's way run one behind the other, each on a *place*: a snapshot that shows, above one
moment of the store, what those before it in the convoy have written. All their writes are committed at once, and what
all of them read is compared. Knows nothing of functions, nor of who may run when.

Rules
1. The order of joining is the order in which it is as if they had run. Who fails, or never joins, leaves nothing.
2. Whoever has seen something of another one's is told nothing until it is durable, also when it writes nothing itself.
3. When the convoy is lost, everybody in it has lost.
4. Who is too late stays behind: alone when it has seen nothing of the others, or else it has lost.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence

from runtime import limits
from runtime.index_keys import NEXT
from runtime.ports import KeyRange, Order, Page, Snapshot, Write
from runtime.syscalls.pending import Pending
from runtime.syscalls.reading.spans import read_part, rest

_MEMBERS = 16  # half of what a busy client has under way: the others come meanwhile
_DOCUMENTS = 1_024
_BYTES = 1 * limits.MIB
_RANGES = 1_024
_OPEN = 0.030  # seconds after which nobody begins in it any more
_PATIENCE = 0.060  # seconds that those who are done wait for one who is not


class Convoy:
    """Mutations that share one commit, above one moment, which it ends."""

    def __init__(self, moment: Snapshot) -> None:
        self.moment = moment
        # A table that is made here is there for others only when all has become true.
        self.tables = dict(moment.tables)
        self.departed = False
        self.landed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closes_at = self._loop.time() + _OPEN
        self._members: list[asyncio.Future[KeyRange | int]] = []
        self._reads: set[KeyRange] = set()
        self._pending = Pending()
        self._documents = 0
        self._bytes = 0
        self._patience: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def members(self) -> int:
        """How many have joined."""
        return len(self._members)

    @property
    def is_full(self) -> bool:
        """Whether nobody else is to begin in it."""
        return (
            len(self._members) >= _MEMBERS
            or self._documents >= _DOCUMENTS
            or self._bytes >= _BYTES
            or len(self._reads) >= _RANGES
            or self._loop.time() >= self._closes_at
        )

    def place(self, done: Callable[[], None]) -> "Place":
        """Where the next one runs; ``done`` is called when the one after it may."""
        return Place(self, done)

    def join(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> "asyncio.Future[KeyRange | int]":
        """Let this become true with the others; the answer is that of `Snapshot.commit`."""
        for write in writes:
            key = (write.before or write.after)[0]
            earlier = self._pending.find(key)
            self._pending.place(key, write if earlier is None else write._replace(before=earlier.before))
            self._bytes += len(write.document or b"")
        self._documents += len(writes)
        self._reads.update(reads)
        member: asyncio.Future[KeyRange | int] = self._loop.create_future()
        self._members.append(member)
        if self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE, self.depart)
        return member

    def depart(self) -> None:
        """Commit what has joined. May be said again."""
        if not self.departed:
            self.departed = True
            if self._patience is not None:
                self._patience.cancel()
            self._task = self._loop.create_task(self._commit())

    def within(self, span: KeyRange) -> list[tuple[bytes, bytes | None]]:
        """The keys of this range that were written here, and their documents."""
        return self._pending.within(span)

    def changes(self, span: KeyRange) -> tuple[int, int]:
        """How many keys of this range were added here, and how many of the moment's removed."""
        added = removed = 0
        for write in self._pending.writes() if self._pending.within(span) else ():
            added += sum(span.lower <= key < span.upper for key in write.after)
            removed += sum(span.lower <= key < span.upper for key in write.before)
        return added, removed

    async def _commit(self) -> None:
        try:
            self._tell(await self._write())
        except Exception as error:
            for member in self._waiting():
                member.set_exception(error)
        finally:
            self.landed.set()

    async def _write(self) -> KeyRange | int:
        if writes := self._pending.writes():
            return await self.moment.commit(self._reads, writes)
        self.moment.release()
        return self.moment.position

    def _tell(self, done: KeyRange | int) -> None:
        for member in self._waiting():
            member.set_result(done)

    def _waiting(self) -> Iterator["asyncio.Future[KeyRange | int]"]:
        return (member for member in self._members if not member.done())


class Place:
    """What one mutation of a convoy sees: a `Snapshot`. One runs at a time."""

    __slots__ = ("_convoy", "_done", "_joined", "_moment", "met", "position", "stayed_behind", "tables")

    def __init__(self, convoy: Convoy, done: Callable[[], None]) -> None:
        self.position = convoy.moment.position
        self.tables = convoy.tables
        self.met = False  # something that another one wrote
        self.stayed_behind = False
        self._convoy = convoy
        self._moment = convoy.moment.share()
        self._done: Callable[[], None] | None = done
        self._joined = False

    @property
    def shared(self) -> bool:
        """Whether it was lost for another one's sake, or may have been."""
        return self.stayed_behind or (self._joined and self._convoy.members > 1)

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """See `Snapshot.read`."""
        left = span
        while True:
            page = await self._moment.read(left, order, most, enough)
            seen = left if page.complete else read_part(left, order, page.entries[-1][0])
            written = self._convoy.within(seen)
            if not written:
                return page
            self.met = True
            entries = _merge(page, written, order)
            if entries or page.complete:
                return _cut(Page(entries, page.complete), most, enough)
            # All that was there is gone.
            left = rest(left, order, page.entries[-1][0])

    async def count(self, span: KeyRange, most: int) -> int:
        """See `Snapshot.count`."""
        added, removed = self._convoy.changes(span)
        return min(await self._moment.count(span, most + removed) + added - removed, most)

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`. Whoever comes next begins now, and not when this is durable."""
        if not self._convoy.departed:
            self._moment.release()
            return await self._join(reads, writes)
        self.give_way()
        if not self.met:
            return await self._moment.commit(reads, writes)
        self._moment.release()
        return self._stay_behind(reads)

    async def stand_by(self, reads: Collection[KeyRange]) -> KeyRange | int:
        """Write nothing, and wait until what was seen is true: since which position, or what has changed."""
        if self._joined:
            return self.position
        if not self.met:
            self.give_way()
            return self.position
        if not self._convoy.departed:
            return await self._join(reads, ())
        self.give_way()
        return self._stay_behind(reads)

    def release(self) -> None:
        """See `Snapshot.release`."""
        self._moment.release()

    def share(self) -> "Place":
        """See `Snapshot.share`: it has one holder, and that is who asks."""
        return self

    def give_way(self) -> None:
        """Let the next one begin. May be said again."""
        done, self._done = self._done, None
        if done is not None:
            done()

    async def _join(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        joined = self._convoy.join(reads, writes)
        self._joined = True
        self.give_way()
        done = await joined
        if isinstance(done, int):
            self.position = done
        return done

    def _stay_behind(self, reads: Collection[KeyRange]) -> KeyRange:
        self.stayed_behind = True
        # Whoever has met something has read it; which of it, nobody asks.
        return next(iter(reads), KeyRange(b"", NEXT))


def _merge(page: Page, written: list[tuple[bytes, bytes | None]], order: Order) -> list[tuple[bytes, bytes]]:
    shown: dict[bytes, bytes | None] = dict(page.entries)
    shown.update(written)
    entries = [(key, document) for key, document in shown.items() if document is not None]
    entries.sort(reverse=order is Order.DESCENDING)
    return entries


def _cut(page: Page, most: int, enough: int) -> Page:
    size = 0
    for count, (_, document) in enumerate(page.entries, 1):
        size += len(document)
        if count == most or size >= enough:
            return Page(page.entries[:count], False)
    return page
