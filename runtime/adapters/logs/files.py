"""Where are log lines kept for good, without anybody waiting for a disk?

`write` encodes a line into its deployment's buffer; several times a second the buffers go to one thread, which writes
them. Knows the order of things; `segments.py` knows the files.

Rules
1. `write` never waits and never raises. It is called on the event loop, which also serves the readers.
2. A line is in its file a fifth of a second later (it survives this process), and on the disk within about a second (it
   survives the machine).
3. When the disk is slower than the lines, or refuses them, lines are dropped; each deployment's log says how many.
4. The thread alone touches the files: readers ask it. It gets bytes and jobs, never lines: encoding there took the
   interpreter from the loop for as long as ten requests, for every hundred lines.
5. Where other processes write the same folder (`Writers.SEVERAL`), who follows hears all of them, from the files.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from runtime import limits
from runtime.adapters.logs.followers import Follower, Followers
from runtime.adapters.logs.segments import Segments
from runtime.adapters.logs.tails import Tails
from runtime.names import DeploymentName
from runtime.ports import Clock, LogEntry, LogQuery
from runtime.protocol.messages import Level

T = TypeVar("T")

_PAUSE = 0.2  # seconds between two batches
_SYNC_EVERY = 0.8
_NEWLINE = 10
_log = logging.getLogger("warren.logs")
_encode_into = msgspec.json.Encoder().encode_into

Batch = dict[DeploymentName, bytearray]


class Writers(Enum):
    """Who writes a folder of logs."""

    ONE = auto()
    SEVERAL = auto()


class FileLogs:
    """Logs in files."""

    def __init__(
        self, folder: Path, clock: Clock, limit: int = limits.LOG_BYTES, writers: Writers = Writers.ONE
    ) -> None:
        self._segments = Segments(folder, limit)
        self._clock = clock
        self._followers = Followers()
        self._tails: Tails | None = None
        if writers is Writers.SEVERAL:
            self._tails = Tails(self._segments, self._followers, self._ask, self._ask)
        self._pending: Batch = {}
        self._lost: Counter[DeploymentName] = Counter()
        # Two counters with one writer each, instead of one with two: no lock on the way in.
        self._taken_in = 0
        self._put_away = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._handing_over = False
        self._failing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Begin to write what comes."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="warren-logs", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what is waiting, end every reader, stop."""
        self._followers.end_all()
        if self._tails is not None:
            self._tails.close()
        if self._thread is not None:
            self._hand_over()
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def end_readers(self) -> None:
        """End every `follow`: the server is about to stop and waits for them."""
        self._followers.end_all()

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        """Keep a line. Never waits, never raises."""
        if self._tails is None and name in self._followers.names:
            self._followers.hand_out(name, (entry,))
        if self._taken_in - self._put_away > limits.LOG_BACKLOG:
            self._lost[name] += 1
            return
        buffer = self._pending.get(name)
        if buffer is None:
            buffer = self._pending[name] = bytearray()
        before = len(buffer)
        _encode_into(entry, buffer, before)
        buffer.append(_NEWLINE)
        self._taken_in += len(buffer) - before
        if not self._handing_over and self._loop is not None:
            self._handing_over = True
            self._loop.call_later(_PAUSE, self._hand_over)

    async def read(self, name: DeploymentName, query: LogQuery) -> Sequence[LogEntry]:
        """The newest lines that match, oldest first; those just written too."""
        return await self._ask(lambda: self._segments.read(name, query))

    def follow(self, name: DeploymentName, query: LogQuery) -> Follower:
        """What matches and is written after this call."""
        follower = self._followers.add(name, query)
        if self._tails is not None:
            self._tails.watch(name)
        return follower

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deployment."""
        await self._ask(lambda: self._segments.forget(name))
        self._followers.end(name)

    def _hand_over(self) -> None:
        """Give the thread everything that has come together."""
        self._handing_over = False
        for name in list(self._lost):
            text = f"{self._lost.pop(name)} log lines were lost here: they came faster than they could be written"
            notice = LogEntry(at=self._clock.now(), level=Level.WARN, text=text)
            self._pending.setdefault(name, bytearray()).extend(msgspec.json.encode(notice) + b"\n")
        if self._pending:
            batch, self._pending = self._pending, {}
            self._jobs.put(partial(self._write_batch, batch))

    def _ask(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Have the thread do something after everything written until now, and before what is written next."""
        self._hand_over()
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(job())
            except BaseException as error:
                answer.set_exception(error)

        self._jobs.put(work)
        if self._thread is None:  # not started, or closed: nobody else touches the files
            while not self._jobs.empty():
                self._run(self._jobs.get())
        return asyncio.wrap_future(answer)

    # --- what the thread does -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        synced, unsynced = time.monotonic(), False
        while True:
            try:
                job = self._jobs.get(timeout=_SYNC_EVERY if unsynced else None)
            except queue.Empty:
                pass
            else:
                if job is None:
                    break
                self._run(job)
                unsynced = True
            if unsynced and time.monotonic() - synced >= _SYNC_EVERY:
                self._guarded(self._segments.sync)
                synced, unsynced = time.monotonic(), False
        self._guarded(self._segments.sync)

    def _run(self, job: Callable[[], None] | None) -> None:
        if job is not None:
            job()

    def _write_batch(self, batch: Batch) -> None:
        for name, data in batch.items():
            if not self._guarded(partial(self._segments.append, name, data)):
                self._lost[name] += data.count(b"\n")
            self._put_away += len(data)

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Whether the disk did it. A full disk must not end the thread: room may come back."""
        try:
            work()
        except (OSError, ValueError) as error:
            if not self._failing:  # said once, not five times a second
                _log.error("the log could not be written: %s", error)
            self._failing = True
            return False
        self._failing = False
        return True
