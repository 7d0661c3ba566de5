"""What has been committed in a deployment, as this process was told?

Rules
1. A moment is handed out only when everything that it shows was told: whoever committed it has heard, and every query
   that it changes has been marked.
2. What was told lately is kept while somebody runs a query at an earlier moment, and no longer.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from runtime.names import DeploymentName
from runtime.ports import Commit, DocumentStore, Followed, Snapshot


class Pulse:
    """The commits of one deployment as they come."""

    def __init__(self, store: DocumentStore, name: DeploymentName, told: Callable[[Commit], None]) -> None:
        self._store = store
        self._name = name
        self._told = told
        self._followed: Followed | None = None
        self._ended = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._recent: deque[Commit] = deque()
        self._running: Counter[int] = Counter()
        self.position = 0

    async def begin(self) -> None:
        """Listen."""
        followed = await self._store.follow(self._name, self._hear)
        if self._ended:
            followed.stop()
        else:
            self._followed, self.position = followed, max(self.position, followed.position)

    def end(self) -> None:
        """Listen no more; nobody waits any more."""
        self._ended = True
        if self._followed is not None:
            self._followed.stop()
        self._wake(None)

    async def moment(self) -> Snapshot:
        """What is committed now; for the one who asks, who ends it."""
        moment = await self._store.snapshot(self._name)
        if moment.position > self.position:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((moment.position, reached))
            try:
                await reached
            except BaseException:
                moment.release()
                raise
        return moment

    def keep_since(self, position: int) -> None:
        """Somebody runs a query at this moment."""
        self._running[position] += 1

    def since(self, position: int) -> list[Commit]:
        """What was told after this moment, which was kept; oldest first. The query that ran at it has ended."""
        later = [commit for commit in self._recent if commit.position > position]
        self._running[position] -= 1
        if not self._running[position]:
            del self._running[position]
            oldest = min(self._running, default=self.position)
            while self._recent and self._recent[0].position <= oldest:
                self._recent.popleft()
        return later

    def _hear(self, commit: Commit) -> None:
        self.position = commit.position
        if self._running:
            self._recent.append(commit)
        self._told(commit)
        if self._waiting:
            self._wake(commit.position)

    def _wake(self, position: int | None) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, reached in waiting:
            if position is not None and wanted > position:
                self._waiting.append((wanted, reached))
            elif not reached.done():
                reached.set_result(None)
