"""Where are every deployment's documents in the database?

One `stores` row for each deployment, made when it is first asked for. The work is done in the other rooms.

Rules
1. A deployment that was deleted and made again is another store; who holds the old one is told that it is gone.
2. What another process deleted is noticed when its position is asked for.
3. Several processes may use one database; they agree on everything through it.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from runtime.adapters.postgres.bell import Bell
from runtime.adapters.postgres.commits import Commits
from runtime.adapters.postgres.connections import Connection, Connections
from runtime.adapters.postgres.history import Feed, History
from runtime.adapters.postgres.snapshots import Positions, PostgresSnapshot
from runtime.adapters.postgres.trimming import trim
from runtime.adapters.postgres.writer import Writer, read_log
from runtime.errors import WarrenError
from runtime.names import DeploymentName
from runtime.ports import Commit, Followed, KeyRange, Write

_TRIM_EVERY = 10.0  # seconds

_FIND = "SELECT id, position FROM stores WHERE name = %s"
_MAKE = "INSERT INTO stores (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
_DELETE = "DELETE FROM stores WHERE name = %s RETURNING id"
_DELETE_ROWS = (
    "DELETE FROM entries WHERE store = %s",
    "DELETE FROM documents WHERE store = %s",
    "DELETE FROM commits WHERE store = %s",
)


class _Store:
    """One deployment's documents."""

    def __init__(self, connections: Connections, bell: Bell, id: int, position: int) -> None:
        self.id = id
        self.tables: dict[str, int] = {}
        self.feed = Feed(lambda after, upto: read_log(connections, id, after, upto), self._landing)
        history = History(position)
        self.commits = Commits(Writer(connections, id, history), history, self.feed.hear, self._landed)
        self._connections = connections
        self._bell = bell
        self._trimmed_at = 0.0
        self._trimming: asyncio.Task[None] | None = None

    async def snapshot(self, position: int) -> PostgresSnapshot:
        """What is visible at this position, which is now; told to those who follow."""
        if self.feed.followed and position > self.feed.told:
            await self.feed.catch_up(position)
        return PostgresSnapshot(self.id, position, self.tables, self._connections, self)

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Committing.commit`."""
        return await self.commits.commit(position, reads, writes)

    async def close(self) -> None:
        """Finish what is being committed; tell nobody any more."""
        self.feed.close()
        await self.commits.close()
        if self._trimming is not None:
            await self._trimming

    async def _landing(self) -> None:
        await self.commits.landing()

    def _landed(self, position: int) -> None:
        self._bell.ring(self.id, position)
        now = asyncio.get_running_loop().time()
        if self._trimming is None and now - self._trimmed_at > _TRIM_EVERY:
            self._trimmed_at = now
            self._trimming = asyncio.get_running_loop().create_task(self._trim())

    async def _trim(self) -> None:
        try:
            await trim(self._connections, self.id)
        finally:
            self._trimming = None


class PostgresDocuments:
    """Every deployment's documents in a database."""

    def __init__(self, connections: Connections, bell: Bell) -> None:
        self._connections = connections
        self._bell = bell
        self._positions = Positions(connections)
        self._by_name: dict[DeploymentName, _Store] = {}
        self._by_id: dict[int, _Store] = {}
        self._locks: WeakValueDictionary[DeploymentName, asyncio.Lock] = WeakValueDictionary()
        self._catching_up: set[asyncio.Task[None]] = set()
        bell.on_commit(self._hear, self._glance)

    async def snapshot(self, name: DeploymentName) -> PostgresSnapshot:
        """See `DocumentStore.snapshot`."""
        store, position = await self._now(name)
        return await store.snapshot(position)

    async def follow(self, name: DeploymentName, listener: Callable[[Commit], None]) -> Followed:
        """See `DocumentStore.follow`."""
        store, position = await self._now(name)
        if store.feed.followed:
            await store.feed.catch_up(position)
        return store.feed.follow(position, listener)

    async def delete(self, name: DeploymentName) -> None:
        """See `DocumentStore.delete`."""
        async with self._lock(name):
            await self._forget(name)

            async def delete(connection: Connection) -> None:
                async with connection.transaction():
                    await connection.execute("SET LOCAL statement_timeout = 0")
                    rows = await (await connection.execute(_DELETE, (name,))).fetchall()
                    # Afterwards: the first statement has waited for a commit that is under way.
                    for statement in _DELETE_ROWS if rows else ():
                        await connection.execute(statement, rows[0])

            await self._connections.repeat(delete)

    async def close(self) -> None:
        """See `DocumentStore.close`."""
        for name in list(self._by_name):
            await self._forget(name)
        if self._catching_up:
            await asyncio.gather(*self._catching_up, return_exceptions=True)

    async def _now(self, name: DeploymentName) -> tuple[_Store, int]:
        while True:
            store = self._by_name.get(name) or await self._open(name)
            position = await self._positions.of(store.id)
            if position is not None and self._by_id.get(store.id) is store:
                return store, position
            async with self._lock(name):
                if self._by_name.get(name) is store:
                    await self._forget(name)

    async def _open(self, name: DeploymentName) -> _Store:
        async with self._lock(name):
            store = self._by_name.get(name)
            if store is None:
                id, position = await self._connections.repeat(lambda connection: _find_or_make(connection, name))
                store = self._by_name[name] = self._by_id[id] = _Store(self._connections, self._bell, id, position)
            return store

    async def _forget(self, name: DeploymentName) -> None:
        store = self._by_name.pop(name, None)
        if store is not None:
            del self._by_id[store.id]
            await store.close()

    def _lock(self, name: DeploymentName) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _hear(self, id: int, position: int) -> None:
        store = self._by_id.get(id)
        if store is not None and store.feed.followed and position > store.feed.told:
            task = asyncio.get_running_loop().create_task(_quietly(store.feed.catch_up(position)))
            self._catching_up.add(task)
            task.add_done_callback(self._catching_up.discard)

    async def _glance(self) -> None:
        followed = {id for id, store in self._by_id.items() if store.feed.followed}
        if followed:
            for id, position in (await self._positions.of_all(followed)).items():
                self._hear(id, position)


async def _find_or_make(connection: Connection, name: DeploymentName) -> tuple[int, int]:
    while True:
        row: tuple[int, int] | None = await (await connection.execute(_FIND, (name,))).fetchone()
        if row is not None:
            return row
        await connection.execute(_MAKE, (name,))


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except WarrenError:
        # The next glance tries again.
        return
