"""What has been committed in a deployment, as this process was told?

Rules
1. A moment is handed out only when everything that it shows was told: whoever committed it has heard, and every query
   that it changes has been marked.
2. What was told lately is kept while somebody holds an earlier moment, and no longer.
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
        self._held: Counter[int] = Counter()
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

    async def moment(self) -> "Moment":
        """What is committed now; for the one who asks, who ends it."""
        snapshot = await self._store.snapshot(self._name)
        # From now on what is told is kept: who waits here must not miss what comes meanwhile.
        moment = Moment(self, snapshot)
        if snapshot.position > self.position:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((snapshot.position, reached))
            try:
                await reached
            except BaseException:
                moment.release()
                raise
        return moment

    def since(self, position: int) -> list[Commit]:
        """What was told after a moment that somebody holds, oldest first."""
        return [commit for commit in self._recent if commit.position > position]

    def hold(self, position: int) -> None:
        """Somebody holds this moment."""
        self._held[position] += 1

    def let_go(self, position: int) -> None:
        """Somebody holds this moment no more."""
        self._held[position] -= 1
        if not self._held[position]:
            del self._held[position]
            oldest = min(self._held, default=self.position)
            while self._recent and self._recent[0].position <= oldest:
                self._recent.popleft()

    def _hear(self, commit: Commit) -> None:
        self.position = commit.position
        if self._held:
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


class Moment:
    """A deployment at one moment, and what was told since. Ended once, by `release`."""

    __slots__ = ("_pulse", "position", "snapshot")

    def __init__(self, pulse: Pulse, snapshot: Snapshot) -> None:
        self._pulse = pulse
        self.snapshot = snapshot
        self.position = snapshot.position
        pulse.hold(self.position)

    def share(self) -> "Moment":
        """The same moment for one more holder."""
        return Moment(self._pulse, self.snapshot.share())

    def since(self) -> list[Commit]:
        """What was told after this moment, oldest first."""
        return self._pulse.since(self.position)

    def release(self) -> None:
        """Hold it no more."""
        self._pulse.let_go(self.position)
        self.snapshot.release()
