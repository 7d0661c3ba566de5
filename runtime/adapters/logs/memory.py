"""Where are log lines kept while the process lives?

The executable specification of the port `Logs`.

Rules
1. The newest lines of each deployment are kept, up to a number; older ones are dropped.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from runtime import limits
from runtime.adapters.logs.followers import Follower, Followers, matches
from runtime.names import DeploymentName
from runtime.ports import LogEntry, LogQuery


class MemoryLogs:
    """Logs in lists."""

    def __init__(self, kept: int = limits.LOG_READ) -> None:
        self._kept = kept
        self._lines: dict[DeploymentName, deque[LogEntry]] = {}
        self._followers = Followers()

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        """Keep a line."""
        lines = self._lines.get(name)
        if lines is None:
            lines = self._lines[name] = deque(maxlen=self._kept)
        lines.append(entry)
        if name in self._followers.names:
            self._followers.hand_out(name, (entry,))

    async def read(self, name: DeploymentName, query: LogQuery) -> Sequence[LogEntry]:
        """The newest lines that match, oldest first."""
        newest_first = (entry for entry in reversed(self._lines.get(name, ())) if matches(entry, query))
        return list(islice(newest_first, query.limit))[::-1]

    def follow(self, name: DeploymentName, query: LogQuery) -> Follower:
        """What matches from now on."""
        return self._followers.add(name, query)

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deployment."""
        self._lines.pop(name, None)
        self._followers.end(name)

    async def close(self) -> None:
        """End every reader."""
        self._followers.end_all()
