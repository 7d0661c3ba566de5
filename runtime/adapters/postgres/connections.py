"""Who may speak to the database now, and what does it mean when it does not answer?

A few connections, lent and given back. Knows no table.

Rules
1. A connection that failed, or comes back in the middle of a transaction, is closed and not lent again.
2. `ConnectionLost` says that the database went away. `repeat` tries again for `PATIENCE` seconds what may be done
   twice; then it is `Overloaded`, and the next one tries anew.
3. A commit that returned is on the database's disk: ``synchronous_commit`` is never left off.
4. Plans do not depend on how much there was when they were made: every statement here finds its rows by an index.
5. No message holds the address with its password.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from runtime.errors import OurMistake, Overloaded, WarrenError

T = TypeVar("T")
Connection = AsyncConnection[TupleRow]

PATIENCE = 5.0  # seconds
_MOST = 12
_log = logging.getLogger("warren.postgres")

# What an operator may choose otherwise in the address.
_DEFAULTS: dict[str, Any] = {
    "application_name": "warren",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SETTINGS = b"""
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


class ConnectionLost(Exception):
    """The database cannot be reached, or went away in the middle."""


class Connections:
    """The connections of this process to one database."""

    def __init__(self, url: str, most: int = _MOST) -> None:
        self._url = url
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._closed = False

    async def open(self) -> None:
        """See that the database answers, and that it keeps what it is given."""
        try:
            connection = await self.connect()
        except psycopg.Error as error:
            raise OurMistake(f"the database cannot be opened: {_words(error)}") from None
        self._idle.append(connection)
        row = await (await connection.execute("SHOW fsync")).fetchone()
        if row == ("off",):
            _log.warning("the database runs with fsync off: a power cut loses what clients were told is kept")

    async def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def connect(self) -> Connection:
        """A connection that is never lent; whoever asked closes it. Raises `psycopg.Error`."""
        try:
            given = conninfo_to_dict(self._url)
        except psycopg.Error:
            raise OurMistake("WARREN_DATABASE_URL is not the address of a PostgreSQL database") from None
        # A database without an encoding (SQL_ASCII) would answer in bytes otherwise.
        chosen = {**_DEFAULTS, **given, "client_encoding": "utf8"}
        connection = await AsyncConnection.connect(**chosen, autocommit=True, prepare_threshold=0)
        try:
            await connection.execute(_SETTINGS, prepare=False)
        except BaseException:
            await connection.close()
            raise
        return connection

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """A connection for a moment; raises `ConnectionLost`, `Overloaded` or `OurMistake` for what the database
        says."""
        async with self._room:
            connection: Connection | None = None
            try:
                connection = self._idle.pop() if self._idle else await self.connect()
                yield connection
            except psycopg.Error as error:
                if connection is None or connection.closed:
                    # The others are from before, too.
                    await self._drop_idle()
                    raise ConnectionLost(_words(error)) from error
                raise _mistake(error) from error
            finally:
                if connection is not None:
                    await self._take_back(connection)

    async def repeat(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something that may be done twice, again and again while the database cannot be reached."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                async with self.lend() as connection:
                    return await work(connection)
            except ConnectionLost as lost:
                if asyncio.get_running_loop().time() > deadline:
                    raise unreachable(lost) from lost
            await pause()

    async def look(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Look at one moment of the database."""

        async def look(connection: Connection) -> T:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = await work(connection)
            await connection.execute("COMMIT")
            return found

        return await self.repeat(look)

    async def change(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Make one change: all of it, durably, or nothing when it raises."""
        sent = False

        async def change(connection: Connection) -> T:
            nonlocal sent
            if sent:
                raise OurMistake("the database went away while a change was written: look whether it was made")
            await connection.execute("BEGIN")
            result = await work(connection)
            sent = True
            await connection.execute("COMMIT")
            return result

        return await self.repeat(change)

    async def _take_back(self, connection: Connection) -> None:
        if not self._closed and not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            await connection.close()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def pause() -> None:
    """Wait a little before the database is tried again."""
    await asyncio.sleep(random.uniform(0.02, 0.1))


def unreachable(lost: ConnectionLost) -> Overloaded:
    """What to say when patience is over."""
    return Overloaded(f"the database cannot be reached: {lost}; try again")


def _mistake(error: psycopg.Error) -> WarrenError:
    text = f"the database refused: {_words(error)}"
    return Overloaded(text) if isinstance(error, psycopg.OperationalError) else OurMistake(text)


def _words(error: psycopg.Error) -> str:
    first = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{first} ({error.sqlstate})" if error.sqlstate else first
