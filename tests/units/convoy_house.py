"""The places of one convoy over documents of one key each, and a store that counts who holds its snapshots."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.names import DeploymentName
from runtime.ports import KeyRange, Order, Snapshot, Write
from runtime.syscalls.convoys.convoy import Convoy, Place
from runtime.syscalls.convoys.spots import Spots

NAME = DeploymentName("happy-otter-123")


class Counted:
    """A snapshot that knows how many hold it."""

    def __init__(self, inner: Snapshot, store: "CountingStore") -> None:
        self.position, self.tables = inner.position, inner.tables
        self.read, self.count = inner.read, inner.count
        self._inner, self._store = inner, store
        store.held += 1

    def share(self) -> Snapshot:
        self._store.held += 1
        return self

    def release(self) -> None:
        self._store.held -= 1

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        self._store.held -= 1
        return await self._inner.commit(reads, writes)


class CountingStore:
    """A store whose snapshots are counted while somebody holds them."""

    def __init__(self) -> None:
        self.held = 0
        self._store = MemoryDocuments()

    async def snapshot(self, name: DeploymentName) -> Snapshot:
        return Counted(await self._store.snapshot(name), self)


async def until(so: Callable[[], object]) -> None:
    while not so():
        await asyncio.sleep(0)


class StoppedClock:
    """A clock that stands still."""

    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


class Cells:
    """Documents of one key each, and the places of one convoy over them."""

    def __init__(self, spots: Spots | None = None) -> None:
        self.store = CountingStore()
        self.convoy = Convoy(partial(self.store.snapshot, NAME), spots=spots)

    @staticmethod
    def span(cell: bytes) -> KeyRange:
        return KeyRange(cell, cell + b"~")

    async def see(self, place: Place, cell: bytes) -> bytes | None:
        page = await place.read(self.span(cell), Order.ASCENDING, 1, 1)
        return page.entries[0][1] if page.entries else None

    def write(self, place: Place, cell: bytes, content: bytes, found: bool) -> Write:
        """Show that this becomes the content of a cell."""
        write = Write((cell,) if found else (), (cell,), content)
        place.show(cell, write)
        return write

    def join(self, place: Place, *writes: Write) -> "asyncio.Future[KeyRange | int]":
        """Join, with what was read and written."""
        return asyncio.ensure_future(place.commit({self.span(write.after[0]) for write in writes}, writes))
