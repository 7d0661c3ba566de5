"""How do processes that share a database hear of each other?

PostgreSQL's LISTEN and NOTIFY, on a connection of their own. Knows what is rung for, not what it means.

Rules
1. The bell is a knock on the door, the database is the truth: a knock that is lost is made up for by a look around
   every `_GLANCE` seconds, and by `None` ("anything may have changed") when the connection had to be made anew.
2. A change of the registry is rung for in its own transaction (`ANNOUNCE`), so it is heard if and only if it was made.
3. Commits are rung for afterwards and together: PostgreSQL lets transactions that ring commit one by one only, and they
   would wait for each other's disk.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from runtime.adapters.postgres.connections import Connection, Connections
from runtime.errors import WarrenError
from runtime.names import DeploymentName

ANNOUNCE = b"SELECT pg_notify('warren_' || current_schema()::regnamespace::oid, 'deployment ' || %s)"

_RING = b"SELECT pg_notify('warren_' || current_schema()::regnamespace::oid, %s)"
_CHANNEL = b"SELECT 'warren_' || current_schema()::regnamespace::oid"
_GLANCE = 0.5  # seconds
_PAUSE_BETWEEN_RINGS = 0.005
_STORES_PER_RING = 200  # what PostgreSQL carries is less than 8,000 bytes
_log = logging.getLogger("warren.postgres")


class Bell:
    """Rings for the other processes, and hears them. It hears this process, too."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._rung: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ringing = False
        self._listening = asyncio.Event()
        self._on_registry: list[Callable[[DeploymentName | None], None]] = []
        self._on_commit: list[Callable[[int, int], None]] = []
        self._on_glance: list[Callable[[], Awaitable[None]]] = []

    def on_registry(self, hear: Callable[[DeploymentName | None], None]) -> None:
        """Hear which deployment's entry has changed; ``None`` when it may have been any."""
        self._on_registry.append(hear)

    def on_commit(self, hear: Callable[[int, int], None], glance: Callable[[], Awaitable[None]]) -> None:
        """Hear how far a store has come; ``glance`` is asked now and then to look for itself."""
        self._on_commit.append(hear)
        self._on_glance.append(glance)

    async def start(self) -> None:
        """Listen from now on."""
        listening = self._begin(self._listen())
        begun = self._begin(self._wait_until_heard())
        await asyncio.wait({listening, begun}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():  # it goes on for ever, or it has failed
            begun.cancel()
            listening.result()

    async def stop(self) -> None:
        """Listen and ring no more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ring(self, store: int, position: int) -> None:
        """Let the others know how far a store has come."""
        self._rung[store] = position
        if not self._ringing:
            self._ringing = True
            self._begin(self._ring())

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _wait_until_heard(self) -> None:
        await self._listening.wait()

    async def _ring(self) -> None:
        try:
            while self._rung:
                some = [self._rung.popitem() for _ in range(min(len(self._rung), _STORES_PER_RING))]
                text = " ".join(["commits", *(f"{store}:{position}" for store, position in some)])
                # What is missed here is seen at the next glance.
                with contextlib.suppress(WarrenError):
                    await self._connections.repeat(partial(_say, text))
                await asyncio.sleep(_PAUSE_BETWEEN_RINGS)
        finally:
            self._ringing = False

    async def _listen(self) -> None:
        while True:
            try:
                connection = await self._connections.connect()
                try:
                    await self._hear_all(connection)
                finally:
                    await connection.close()
            except (psycopg.Error, WarrenError) as error:
                _log.warning("changes that other processes make are not heard for a moment: %s", error)
            await asyncio.sleep(_GLANCE)

    async def _hear_all(self, connection: Connection) -> None:
        row = await (await connection.execute(_CHANNEL)).fetchone()
        assert row is not None, "a statement without a table has one row"
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(row[0])))
        # Whatever was rung for until now was not heard.
        for hear in self._on_registry:
            hear(None)
        self._listening.set()
        while True:
            async for notice in connection.notifies(timeout=_GLANCE):
                self._hear(notice.payload)
            for glance in self._on_glance:
                with contextlib.suppress(WarrenError):
                    await glance()

    def _hear(self, text: str) -> None:
        what, *said = text.split(" ")
        if what == "deployment":
            for hear in self._on_registry:
                hear(DeploymentName(said[0]))
        for store, _, position in (pair.partition(":") for pair in said if what == "commits"):
            for hear_commit in self._on_commit:
                hear_commit(int(store), int(position))


async def _say(text: str, connection: Connection) -> None:
    async with connection.pipeline():
        await connection.execute("BEGIN")
        # There is nothing to keep, so nobody needs to wait for the disk.
        await connection.execute("SET LOCAL synchronous_commit = off")
        await connection.execute(_RING, (text,))
        await connection.execute("COMMIT")
