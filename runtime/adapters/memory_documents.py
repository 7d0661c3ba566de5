"""What does a document store do?

The executable specification of `DocumentStore`, kept in memory. Plain on purpose: a commit copies the whole deployment,
and a conflict is looked for in the words of the contract: what was read, would it read the same now?

Rules
1. A state is never changed once it is visible; a commit replaces it. So a snapshot is a reference.
2. Nothing here waits: what was committed is as durable as it will ever be.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence

from runtime.adapters.rivals import after_committers
from runtime.errors import NotFound
from runtime.names import DeploymentName
from runtime.ports import Commit, Followed, KeyRange, Order, Page, Write


class _Database:
    def __init__(self) -> None:
        self.state = _State({})
        self.position = 1
        self.tables: dict[str, int] = {}
        self.listeners: list[Callable[[Commit], None]] = []
        self.deleted = False


class _State:
    def __init__(self, documents: Mapping[bytes, bytes]) -> None:
        self.documents = documents
        self._keys = sorted(documents)

    def entries(self, span: KeyRange) -> list[tuple[bytes, bytes]]:
        keys = self._keys[bisect_left(self._keys, span.lower) : bisect_left(self._keys, span.upper)]
        return [(key, self.documents[key]) for key in keys]

    def after(self, writes: Sequence[Write]) -> "_State":
        documents = dict(self.documents)
        for write in writes:
            for key in write.before:
                documents.pop(key, None)
            if write.document is not None:
                documents.update(dict.fromkeys(write.after, write.document))
        return _State(documents)


class MemorySnapshot:
    """One state of one deployment."""

    def __init__(self, database: _Database) -> None:
        self.tables = database.tables
        self.position = database.position
        self._database = database
        self._state = database.state

    async def read(self, span: KeyRange, order: Order, most: int, enough: int) -> Page:
        """See `Snapshot.read`."""
        entries = self._state.entries(span)
        if order is Order.DESCENDING:
            entries.reverse()
        taken: list[tuple[bytes, bytes]] = []
        size = 0
        for entry in entries[:most]:
            taken.append(entry)
            size += len(entry[1])
            if size >= enough:
                return Page(taken, False)
        return Page(taken, len(taken) == len(entries) < most)

    async def count(self, span: KeyRange, most: int) -> int:
        """See `Snapshot.count`."""
        return min(len(self._state.entries(span)), most)

    async def commit(self, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        if self._database.deleted:
            raise NotFound("this deployment was deleted while the transaction ran")
        now = self._database.state
        for span in reads:
            if now is not self._state and now.entries(span) != self._state.entries(span):
                return span
        self._database.state = now.after(writes)
        self._database.position = position = self._database.position + 1
        keys = sorted({key for write in writes for key in (*write.before, *write.after)})
        # Not now: who committed hears of it first.
        after_committers(self._tell, Commit(position, keys))
        return position

    def release(self) -> None:
        """See `Snapshot.release`."""

    def share(self) -> "MemorySnapshot":
        """See `Snapshot.share`."""
        return self

    def _tell(self, commit: Commit) -> None:
        for listener in tuple(self._database.listeners):
            listener(commit)


class MemoryDocuments:
    """Every deployment's documents, gone with the process."""

    def __init__(self) -> None:
        self._databases: dict[DeploymentName, _Database] = {}

    async def snapshot(self, name: DeploymentName) -> MemorySnapshot:
        """See `DocumentStore.snapshot`."""
        return MemorySnapshot(self._databases.setdefault(name, _Database()))

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        """See `DocumentStore.follow`."""
        database = self._databases.setdefault(name, _Database())

        def tell(commit: Commit) -> None:
            # What was committed before, and is only now told to others, is no news here.
            if commit.position > position:
                listener(commit)

        def stop() -> None:
            if tell in database.listeners:
                database.listeners.remove(tell)

        position = database.position
        database.listeners.append(tell)
        return Followed(position, stop)

    async def delete(self, name: DeploymentName) -> None:
        """See `DocumentStore.delete`."""
        database = self._databases.pop(name, None)
        if database is not None:
            database.deleted = True

    async def close(self) -> None:
        """See `DocumentStore.close`."""
        self._databases.clear()
