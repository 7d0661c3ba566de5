"""What was committed to a store lately, and who has heard of it?

`History` is what a new transaction is compared with; `Feed` tells those who follow. Both learn from this process's own
commits and, through the log in the database, from those of others.

Rules
1. Every commit is told in the order of positions, each once. What the log does not hold any more is told as
   "something".
2. Nobody is told of a commit of this process before those who committed.
3. With nobody following nothing is asked for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

from runtime.adapters.rivals import Keys, overlap
from runtime.ports import Commit, Followed, KeyRange

KEPT = 30
"""Seconds for which the past can be read: a few times as long as a transaction may take."""

_KEYS_REMEMBERED = 65_536

Log = Sequence[tuple[int, Keys]]


class History:
    """The commits of one store that this process remembers, none missing after the first."""

    def __init__(self, position: int) -> None:
        self.known = position
        self._complete_since = position
        self._commits: deque[tuple[int, Keys]] = deque()
        self._size = 0

    def start_for(self, oldest: int) -> int:
        """After which position the log must be read, so that a transaction as old as this can be compared."""
        return self.known if self._complete_since <= oldest <= self.known else oldest

    def learn(self, log: Log, since: int, position: int) -> Log:
        """Remember what the log holds after ``since``, up to ``position``, which is now; return what is news."""
        news = [commit for commit in log if commit[0] > self.known]
        if since != self.known:
            self._commits.clear()
            self._size = 0
            self._complete_since = since
            for at, keys in log:
                self._add(at, keys)
        else:
            for at, keys in news:
                self._add(at, keys)
        if position > since and (not log or log[0][0] != since + 1):
            self._complete_since = log[0][0] - 1 if log else position
        self.known = max(self.known, position)
        return news

    def landed(self, position: int, keys: Keys) -> None:
        """Remember a commit of this process, the next one after what is known."""
        if position > self.known:
            self._add(position, keys)
            self.known = position

    def lost(self, position: int, reads: Collection[KeyRange]) -> KeyRange | None:
        """Which of these ranges has changed since this position; any of them, when it is too long ago to say."""
        if position >= self.known:
            return None
        if position < self._complete_since:
            return next(iter(reads), None)
        for at, keys in reversed(self._commits):
            if at <= position:
                break
            if (span := overlap(reads, keys)) is not None:
                return span
        return None

    def covers(self, position: int) -> bool:
        """Whether a transaction of this age can be compared without the log."""
        return position >= self._complete_since

    def _add(self, position: int, keys: Keys) -> None:
        self._commits.append((position, keys))
        self._size += len(keys)
        while self._size > _KEYS_REMEMBERED and len(self._commits) > 1:
            self._complete_since, forgotten = self._commits.popleft()
            self._size -= len(forgotten)


class Feed:
    """Those who follow one store. ``read_log`` reads the commits after one position, up to another; ``landed`` waits
    until this process's commit that is under way is known to those who committed."""

    def __init__(self, read_log: Callable[[int, int], Awaitable[Log]], landed: Callable[[], Awaitable[None]]) -> None:
        self._read_log = read_log
        self._landed = landed
        self._listeners: list[Callable[[Commit], None]] = []
        self._heard: dict[int, Keys] = {}
        self._catching_up = asyncio.Lock()
        self.told = 0

    @property
    def followed(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def follow(self, position: int, listener: Callable[[Commit], None]) -> Followed:
        """Tell ``listener`` of everything after ``position``, or after what the others have been told."""
        if not self._listeners:
            self._heard.clear()
            self.told = position

        # Two who listen with the same function are two.
        def tell(commit: Commit) -> None:
            listener(commit)

        def stop() -> None:
            if tell in self._listeners:
                self._listeners.remove(tell)

        self._listeners.append(tell)
        return Followed(self.told, stop)

    def hear(self, log: Log) -> None:
        """These commits may be told, when it is their turn."""
        if not self._listeners:
            return
        for at, keys in log:
            if at > self.told:
                self._heard[at] = keys
        while (keys_next := self._heard.pop(self.told + 1, None)) is not None:
            self._tell(Commit(self.told + 1, keys_next))

    async def catch_up(self, position: int) -> None:
        """Tell everything up to this position, which somebody has seen."""
        async with self._catching_up:
            if not self._listeners or position <= self.told:
                return
            await self._landed()
            log = await self._read_log(self.told, position)
            if not self._listeners:
                return
            self.hear(log)
            # What is left out by now is not in the log any more.
            for at in sorted(at for at in self._heard if at <= position):
                if at > self.told + 1:
                    self._tell(Commit(at - 1, None))
                self._tell(Commit(at, self._heard.pop(at)))
            if position > self.told:
                self._tell(Commit(position, None))
            self.hear(())

    def close(self) -> None:
        """Tell nobody any more."""
        self._listeners.clear()
        self._heard.clear()

    def _tell(self, commit: Commit) -> None:
        self.told = commit.position
        for listener in tuple(self._listeners):
            listener(commit)
