"""What have others written to the logs that somebody follows here?

Where several processes write one folder of logs, a line is heard of by reading the files' ends, a few times a second
and only for deployments that have a reader. Knows no file: it asks `segments.py` in the thread that may.

Rules
1. A line is handed out once, in the order of the files, whichever process wrote it.
2. What nobody follows is not read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runtime.adapters.logs.followers import Followers
from runtime.adapters.logs.segments import Marks, Segments
from runtime.names import DeploymentName
from runtime.ports import LogEntry

_PAUSE = 0.25  # seconds between two looks
_log = logging.getLogger("warren.logs")

Ends = Callable[[Callable[[], Marks]], Awaitable[Marks]]
News = Callable[[Callable[[], list[LogEntry]]], Awaitable[list[LogEntry]]]


class Tails:
    """The ends of the logs that somebody follows. ``ends`` and ``news`` run a job where files may be read."""

    def __init__(self, segments: Segments, followers: Followers, ends: Ends, news: News) -> None:
        self._segments = segments
        self._followers = followers
        self._ends = ends
        self._news = news
        self._watching: dict[DeploymentName, asyncio.Task[None]] = {}

    def watch(self, name: DeploymentName) -> None:
        """Hand out what comes, for as long as somebody follows."""
        if name not in self._watching:
            # Asked at once: what is written after this call is heard.
            begin = self._ends(lambda: self._segments.ends(name))
            self._watching[name] = asyncio.get_running_loop().create_task(self._watch(name, begin))

    def close(self) -> None:
        """Read no more."""
        for task in self._watching.values():
            task.cancel()

    async def _watch(self, name: DeploymentName, begin: Awaitable[Marks]) -> None:
        try:
            marks = await begin
            while name in self._followers.names:
                await asyncio.sleep(_PAUSE)
                try:
                    entries = await self._news(lambda: self._segments.news(name, marks))
                except OSError as error:
                    _log.warning("the log of %s cannot be read: %s", name, error)
                    entries = []
                self._followers.hand_out(name, entries)
        finally:
            self._watching.pop(name, None)
