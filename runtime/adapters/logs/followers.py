"""Who is reading what is being written, and what have they missed?

Shared by the log adapters. Works on one event loop; knows no storage.

Rules
1. A reader gets what is handed out after it began, in order. When it is too slow, lines are dropped and counted, and
   it is told the number in a line of its own.
2. A reader that was closed, or that nobody holds any more, costs nothing.
3. When all have been ended, whoever comes after that is told the end at once: the server waits for its readers.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from weakref import WeakSet

from runtime import limits
from runtime.names import DeploymentName
from runtime.ports import LogEntry, LogQuery
from runtime.protocol.messages import Level

_SERIOUSNESS = {level: rank for rank, level in enumerate(Level)}


def matches(entry: LogEntry, query: LogQuery) -> bool:
    """Whether this line is one that the query asks for."""
    return (
        (query.since is None or entry.at >= query.since)
        and (query.request_id is None or entry.request_id == query.request_id)
        and (query.level is None or _SERIOUSNESS[entry.level] >= _SERIOUSNESS[query.level])
    )


class Follower:
    """One reader of one deployment's log."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._waiting: deque[LogEntry] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._missed = 0
        self._missed_at = 0.0
        self.ended = False

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> LogEntry:
        """The next line; the end when the follower was closed or the log forgotten."""
        while not self._waiting and not self._missed:
            if self.ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        if self._waiting:
            entry = self._waiting.popleft()
            self._waiting_bytes -= len(entry.text)
            return entry
        text = f"{self._missed} lines were left out here: this reader is too slow"
        self._missed = 0
        return LogEntry(at=self._missed_at, level=Level.WARN, text=text)

    def hand(self, entries: Iterable[LogEntry]) -> None:
        """Give it what it asked for."""
        for entry in entries:
            if not matches(entry, self._query):
                continue
            # Once something was left out, the reader first hears of it; else lines would stand on both sides of a gap.
            if self._missed or self._is_full():
                self._missed += 1
                self._missed_at = entry.at
            else:
                self._waiting.append(entry)
                self._waiting_bytes += len(entry.text)
        self._news.set()

    def _is_full(self) -> bool:
        return len(self._waiting) >= limits.LOG_FOLLOWER or self._waiting_bytes >= limits.LOG_FOLLOWER_BYTES

    def end(self) -> None:
        """There will be no more."""
        self.ended = True
        self._news.set()

    async def aclose(self) -> None:
        """Stop reading."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._missed = 0
        self.end()


class Followers:
    """Every reader, by deployment."""

    def __init__(self) -> None:
        self._by_name: defaultdict[DeploymentName, WeakSet[Follower]] = defaultdict(WeakSet)
        # Asked for every line that is written, so without a call: the names that somebody reads.
        self.names = self._by_name.keys()
        self._over = False

    def add(self, name: DeploymentName, query: LogQuery) -> Follower:
        """A new reader."""
        follower = Follower(query)
        if self._over:
            follower.end()
        else:
            self._by_name[name].add(follower)
        return follower

    def hand_out(self, name: DeploymentName, entries: Iterable[LogEntry]) -> None:
        """Give these lines to whoever reads this deployment's log."""
        followers = self._by_name.get(name)
        if followers is None:
            return
        for follower in list(followers):
            if follower.ended:
                followers.discard(follower)
            else:
                follower.hand(entries)
        if not followers:
            del self._by_name[name]

    def end(self, name: DeploymentName) -> None:
        """Nothing more comes from this deployment."""
        for follower in list(self._by_name.pop(name, ())):
            follower.end()

    def end_all(self) -> None:
        """Nothing more comes, for those who read and for those who begin to."""
        self._over = True
        for name in list(self._by_name):
            self.end(name)
