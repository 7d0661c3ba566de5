"""Where are log lines kept for good, without anybody waiting for a disk?

`write` puts a line into a queue; one thread encodes and writes what has come together, several times a second. Knows
the order of things; `log_segments.py` knows the files.

Rules
1. `write` never waits and never raises. It is called on the event loop, which also serves the readers.
2. A line is in its file a fifth of a second later (it survives this process), and on the disk within about a second (it
   survives the machine).
3. When the disk is slower than the lines, or refuses them, lines are dropped; each deployment's log says how many.
4. The thread alone touches the files: readers ask it.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from runtime import limits
from runtime.adapters.log_followers import Follower, Followers
from runtime.adapters.log_segments import Segments
from runtime.names import DeploymentName
from runtime.ports import Clock, LogEntry, LogQuery
from runtime.protocol.messages import Level

T = TypeVar("T")

_PAUSE = 0.2  # seconds between two batches
_SYNC_EVERY = 0.8
_LINE_OVERHEAD = 400  # bytes that a line takes in memory beside its text, about
_log = logging.getLogger("warren.logs")


class FileLogs:
    """Logs in files."""

    def __init__(self, folder: Path, clock: Clock, limit: int = limits.LOG_BYTES) -> None:
        self._segments = Segments(folder, limit)
        self._clock = clock
        self._followers = Followers()
        self._pending: deque[tuple[DeploymentName, LogEntry]] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._lost: Counter[DeploymentName] = Counter()
        # Two counters with one writer each, instead of one with two: no lock on the way in.
        self._taken_in = 0
        self._put_away = 0
        self._stirred = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._failing = False
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Begin to write what comes."""
        self._thread = threading.Thread(target=self._work, name="warren-logs", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what is waiting, end every reader, stop."""
        self._followers.end_all()
        if self._thread is not None:
            self._closing = True
            self._hurry.set()
            self._wake.set()
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        while self._jobs:  # asked while it was leaving
            self._jobs.popleft()()

    def end_readers(self) -> None:
        """End every `follow`: the server is about to stop and waits for them."""
        self._followers.end_all()

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        """Keep a line. Never waits, never raises."""
        if name in self._followers.names:
            self._followers.hand_out(name, (entry,))
        taken_in = self._taken_in + len(entry.text) + _LINE_OVERHEAD
        if taken_in - self._put_away > limits.LOG_BACKLOG:
            self._lost[name] += 1
            return
        self._taken_in = taken_in
        self._pending.append((name, entry))
        if not self._stirred:
            self._stirred = True
            self._wake.set()

    async def read(self, name: DeploymentName, query: LogQuery) -> Sequence[LogEntry]:
        """The newest lines that match, oldest first; those just written too."""
        return await self._ask(lambda: self._segments.read(name, query))

    def follow(self, name: DeploymentName, query: LogQuery) -> Follower:
        """What matches and is written after this call."""
        return self._followers.add(name, query)

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deployment."""
        await self._ask(lambda: self._segments.forget(name))
        self._followers.end(name)

    async def _ask(self, job: Callable[[], T]) -> T:
        """Have the thread do something after everything written so far."""
        if self._thread is None:
            return job()  # not started, or closed: nobody else touches the files
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(job())
            except BaseException as error:
                answer.set_exception(error)

        self._jobs.append(work)
        self._hurry.set()
        self._wake.set()
        return await asyncio.wrap_future(answer)

    # --- what the thread does -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        synced = time.monotonic()
        unsynced = False
        while not self._closing or self._pending or self._jobs:
            self._wake.wait(_SYNC_EVERY if unsynced else None)
            self._hurry.wait(0 if self._closing else _PAUSE)
            self._hurry.clear()
            self._wake.clear()
            self._stirred = False
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
            unsynced = self._write_batch() or unsynced
            for job in jobs:
                job()
            if unsynced and (self._closing or time.monotonic() - synced >= _SYNC_EVERY):
                self._guarded(self._segments.sync)
                synced, unsynced = time.monotonic(), False

    def _write_batch(self) -> bool:
        by_name: dict[DeploymentName, list[LogEntry]] = {}
        size = 0
        for _ in range(len(self._pending)):
            name, entry = self._pending.popleft()
            size += len(entry.text) + _LINE_OVERHEAD
            by_name.setdefault(name, []).append(entry)
        for name in list(self._lost):
            text = f"{self._lost.pop(name)} log lines were lost here: they came faster than they could be written"
            by_name.setdefault(name, []).append(LogEntry(at=self._clock.now(), level=Level.WARN, text=text))
        for name, entries in by_name.items():
            if not self._guarded(partial(self._segments.append, name, entries)):
                self._lost[name] += len(entries)
        self._put_away += size
        return bool(by_name)

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
