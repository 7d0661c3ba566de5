"""In which order are transactions committed, and who has lost?

The queue in front of the writer. A transaction is compared with what was committed after its snapshot and with what
waits before it; then it waits, and everything that waits is committed together: one fsync for all.

Rules
1. At most one batch is under way. What comes meanwhile is the next one.
2. An answer is given when the batch is durable, never before. When it fails, everybody in it hears so and nothing of it
   is visible.
3. Who lost against a transaction that is not durable yet is told when it is: only then would another attempt see it.
4. A small batch is written on the loop's thread, because handing over the interpreter for each statement costs more
   than the statements; only the fsync is waited for in another thread. A large batch, or a file that another process
   has locked, goes to the other thread as a whole.
"""

import asyncio
import random
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Executor

from runtime.adapters.rivals import Keys, after_committers, keys_of, overlap
from runtime.adapters.sqlite.file import mistake
from runtime.adapters.sqlite.readers import Readers
from runtime.adapters.sqlite.writer import FileLocked, Writer
from runtime.errors import NotFound, Overloaded
from runtime.ports import KeyRange, Write

_SMALL_DOCUMENTS = 512
_SMALL_BYTES = 256 * 1024
_PATIENCE = 10.0  # seconds that another process may hold the file's lock


class _Attempt:
    __slots__ = ("committed", "done", "lost", "position", "reads", "writes")

    def __init__(
        self, position: int, reads: Collection[KeyRange], writes: Sequence[Write], done: asyncio.Future[None]
    ) -> None:
        self.position = position
        self.reads = reads
        self.writes = writes
        self.done = done
        self.lost: KeyRange | None = None
        self.committed = 0  # its own position, once it is durable


class _Batch:
    def __init__(self, landed: asyncio.Future[None]) -> None:
        self.attempts: list[_Attempt] = []
        self.keys: Keys = []
        self.landed = landed
        self.position: int | None = None  # once it is known

    def is_small(self) -> bool:
        """Whether it can be written in a moment."""
        writes = [write for attempt in self.attempts for write in attempt.writes]
        return len(writes) <= _SMALL_DOCUMENTS and sum(len(write.document or b"") for write in writes) <= _SMALL_BYTES


class Commits:
    """The queue of one file."""

    def __init__(
        self,
        writer: Writer,
        readers: Readers,
        executor: Executor,
        landed: Callable[[int, Keys], None],
        after_flight: Callable[[], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._executor = executor
        self._landed = landed
        self._untold = 0
        self._after_flight = after_flight
        self._loop = asyncio.get_running_loop()
        self._recent: deque[tuple[int, Keys]] = deque()
        self._flying: _Batch | None = None
        self._boarding = _Batch(self._loop.create_future())
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self._task is None

    @property
    def landing(self) -> bool:
        """Whether the file may show a commit of ours whose committers have not heard of it."""
        return self._flying is not None or self._untold > 0

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        if self._closed:
            raise NotFound("this deployment was deleted while the transaction ran")
        if reads:
            lost, rival = self._compare(position, reads)
            if lost is not None:
                if rival is not None:
                    await asyncio.shield(rival.landed)
                return lost
        attempt = _Attempt(position, reads, writes, self._loop.create_future())
        boarding = self._boarding
        boarding.attempts.append(attempt)
        boarding.keys.extend(keys_of(writes))
        boarding.keys.sort()
        if self._task is None:
            self._task = self._loop.create_task(self._fly())
        await attempt.done
        return attempt.lost if attempt.lost is not None else attempt.committed

    async def close(self) -> None:
        """Take no more, and wait for what is under way."""
        self._closed = True
        if self._task is not None:
            await asyncio.shield(self._task)

    def _compare(self, position: int, reads: Collection[KeyRange]) -> tuple[KeyRange | None, _Batch | None]:
        for at, keys in self._recent:
            if at > position and (lost := overlap(reads, keys)) is not None:
                return lost, None
        for batch in (self._flying, self._boarding):
            if batch is None or (batch.position is not None and batch.position <= position):
                continue
            if (lost := overlap(reads, batch.keys)) is not None:
                return lost, batch
        return None, None

    async def _fly(self) -> None:
        while self._boarding.attempts:
            batch = self._flying = self._boarding
            self._boarding = _Batch(self._loop.create_future())
            batch.attempts = [attempt for attempt in batch.attempts if not attempt.done.cancelled()]
            # What is shared now is about to be the past, and a reader of the past keeps the log from starting again.
            self._readers.retire()
            try:
                position, keys = await self._write(batch)
            except Exception as error:
                self._fail(batch, error)
            else:
                self._land(batch, position, keys)
            self._flying = None
            batch.landed.set_result(None)
            await self._after_flight()
        self._task = None

    async def _write(self, batch: _Batch) -> tuple[int, Keys]:
        if batch.is_small():
            try:
                prepared = self._writer.prepare(batch.attempts)
            except FileLocked:
                pass
            else:
                # It becomes visible before this thread hears of it; who sees it has not lost against it.
                batch.position = prepared[0]
                await self._loop.run_in_executor(self._executor, self._writer.finish)
                return prepared
        return await self._loop.run_in_executor(self._executor, self._write_patiently, batch)

    def _write_patiently(self, batch: _Batch) -> tuple[int, Keys]:
        # Not SQLite's own way of waiting: it sleeps longer and longer, and a busy process would starve this one.
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                prepared = self._writer.prepare(batch.attempts)
            except FileLocked:
                if time.monotonic() > deadline:
                    raise Overloaded("documents cannot be written: another process is writing all the time") from None
                time.sleep(random.uniform(0.0005, 0.003))
            else:
                self._writer.finish()
                return prepared

    def _land(self, batch: _Batch, position: int, keys: Keys) -> None:
        oldest = self._readers.oldest
        while self._recent and (oldest is None or self._recent[0][0] <= oldest):
            self._recent.popleft()
        if oldest is not None and oldest < position:
            self._recent.append((position, keys))
        for attempt in batch.attempts:
            attempt.committed = position
            if not attempt.done.done():
                attempt.done.set_result(None)
        if keys:
            # After those who committed: they were woken first.
            self._untold += 1
            after_committers(self._tell, position, keys)

    def _tell(self, position: int, keys: Keys) -> None:
        self._untold -= 1
        self._landed(position, keys)

    def _fail(self, batch: _Batch, error: Exception) -> None:
        reason = mistake(error, "documents cannot be written") if isinstance(error, sqlite3.Error) else error
        for attempt in batch.attempts:
            if not attempt.done.done():
                attempt.done.set_exception(reason)
