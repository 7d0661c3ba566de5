"""In which order are transactions committed, and who has lost?

The queue in front of the writer of one store. A transaction is compared with what this process knows to be committed
after its snapshot and with what waits before it; then it waits, and everything that waits is committed together. The
writer compares once more, with what other processes have committed.

Rules
1. At most one batch is under way. What comes meanwhile is the next one; when that is full, it waits for its turn.
2. An answer is given when the batch is durable, never before. When it fails, everybody in it hears so and nothing of it
   is visible.
3. Who lost against a transaction that is not durable yet is told when it is: only then would another attempt see it.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

from runtime import limits
from runtime.adapters.postgres.history import History, Log
from runtime.adapters.postgres.writer import Writer, Written
from runtime.adapters.rivals import Keys, after_committers, keys_of, overlap
from runtime.errors import NotFound
from runtime.ports import KeyRange, Write

_FULL = 32 * limits.MIB


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
        self.committed = 0


class _Batch:
    def __init__(self) -> None:
        self.attempts: list[_Attempt] = []
        self.keys: Keys = []
        self.bytes = 0
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, attempt: _Attempt) -> None:
        """One more."""
        self.attempts.append(attempt)
        self.keys.extend(keys_of(attempt.writes))
        self.keys.sort()
        self.bytes += sum(len(write.document or b"") for write in attempt.writes)


class Commits:
    """The queue of one store. ``heard`` is told what was committed, when those who committed know."""

    def __init__(
        self, writer: Writer, history: History, heard: Callable[[Log], None], landed: Callable[[int], None]
    ) -> None:
        self._writer = writer
        self._history = history
        self._heard = heard
        self._landed = landed
        self._loop = asyncio.get_running_loop()
        self._flying: _Batch | None = None
        self._boarding = _Batch()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def commit(self, position: int, reads: Collection[KeyRange], writes: Sequence[Write]) -> KeyRange | int:
        """See `Snapshot.commit`."""
        attempt = _Attempt(position, reads, writes, self._loop.create_future())
        while True:
            if self._closed:
                raise NotFound("this deployment was deleted while the transaction ran")
            if reads and (lost := await self._compare(position, reads)) is not None:
                return lost
            if self._boarding.bytes < _FULL:
                break
            await asyncio.shield(self._boarding.landed)
        self._boarding.take(attempt)
        if self._task is None:
            self._task = self._loop.create_task(self._fly())
        await attempt.done
        return attempt.lost if attempt.lost is not None else attempt.committed

    async def landing(self) -> None:
        """Wait for what is under way, if anything is."""
        if self._flying is not None:
            await asyncio.shield(self._flying.landed)

    async def close(self) -> None:
        """Take no more, and wait for what was begun."""
        self._closed = True
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _compare(self, position: int, reads: Collection[KeyRange]) -> KeyRange | None:
        if self._history.covers(position) and (lost := self._history.lost(position, reads)) is not None:
            return lost
        for batch in (self._flying, self._boarding):
            # Who sees it already has not lost against it, although those who committed have not heard.
            if batch is None or (batch is self._flying and self._writer.shown_at(position)):
                continue
            if (lost := overlap(reads, batch.keys)) is not None:
                await asyncio.shield(batch.landed)
                return lost
        return None

    async def _fly(self) -> None:
        while self._boarding.attempts:
            batch = self._flying = self._boarding
            self._boarding = _Batch()
            batch.attempts = [attempt for attempt in batch.attempts if not attempt.done.cancelled()]
            try:
                written = await self._writer.write(batch.attempts) if batch.attempts else None
            except Exception as error:
                self._fail(batch, error)
            else:
                if written is not None:
                    self._land(batch, written)
            self._flying = None
            batch.landed.set_result(None)
        self._task = None

    def _land(self, batch: _Batch, written: Written) -> None:
        self._heard(self._writer.news)
        for attempt in batch.attempts:
            attempt.committed = written.position
            if not attempt.done.done():
                attempt.done.set_result(None)
        if written.keys:
            self._history.landed(written.position, written.keys)
            # After those who committed, who are woken in the order in which they were told.
            after_committers(self._heard, [(written.position, written.keys)])
            self._landed(written.position)

    def _fail(self, batch: _Batch, error: Exception) -> None:
        for attempt in batch.attempts:
            if not attempt.done.done():
                attempt.done.set_exception(error)
