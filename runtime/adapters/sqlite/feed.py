"""Who wants to hear of commits, and what have they been told?

Our own commits are told when they land; those of other processes are read from the log of commits when somebody sees
that the file has moved on: a new snapshot, or a look every fifth of a second while anybody follows.

Rules
1. Told in the order of positions, each once. What the log does not hold any more is told as "something".
2. Never further than what was committed here and has not landed: its committers hear of it first.
3. With nobody listening nothing is read and no timer runs.
"""

import asyncio
from collections.abc import Callable, Sequence

from runtime.ports import Commit, Followed

_GLANCE = 0.2  # seconds

Log = Callable[[int, int], Sequence[tuple[int, list[bytes]]]]


class Feed:
    """The listeners of one file. ``read_log`` gives the commits after one position up to another; ``look`` is asked
    now and then, and says `noticed`."""

    def __init__(self, read_log: Log, look: Callable[[], None]) -> None:
        self._read_log = read_log
        self._look = look
        self._listeners: list[Callable[[Commit], None]] = []
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def followed(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def follow(self, position: int, listener: Callable[[Commit], None]) -> Followed:
        """Tell ``listener`` of everything from now on; ``position`` is where the file is."""
        if not self._listeners:
            self._told = position

        # Two who listen with the same function are two.
        def tell(commit: Commit) -> None:
            listener(commit)

        def stop() -> None:
            if tell in self._listeners:
                self._listeners.remove(tell)
            self._rest()

        self._listeners.append(tell)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GLANCE, self._glance)
        return Followed(self._told, stop)

    def landed(self, position: int, keys: Sequence[bytes]) -> None:
        """What this process committed is durable, and who committed it knows."""
        if self._listeners and position > self._told:
            self._catch_up(position - 1)
            self._tell(Commit(position, keys))

    def noticed(self, position: int) -> None:
        """The file shows everything up to this position, and it may be told."""
        if self._listeners and position > self._told:
            self._catch_up(position)

    def close(self) -> None:
        """Tell nobody any more."""
        self._listeners.clear()
        self._rest()

    def _catch_up(self, position: int) -> None:
        if position <= self._told:
            return
        for at, keys in self._read_log(self._told, position):
            if at != self._told + 1:
                self._tell(Commit(at - 1, None))
            self._tell(Commit(at, keys))
        if self._told < position:
            self._tell(Commit(position, None))

    def _tell(self, commit: Commit) -> None:
        self._told = commit.position
        for listener in tuple(self._listeners):
            listener(commit)

    def _glance(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_GLANCE, self._glance)
        self._look()

    def _rest(self) -> None:
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None
