"""Who watches what, in which deployment?

A watcher (one client's connection) attends a deployment, takes subscriptions there, and asks for their answers at one
moment at a time. Knows no wire: whoever sends the answers decides what a client reads.

Rules
1. A deployment that nobody attends costs nothing: no feed, no results, no memory.
2. A commit wakes those whose results it may change, and nobody else. A push, a changed variable or a pause wakes
   everybody who attends.
3. Functions that never look at their caller share one result among all callers; whether one looks is learnt by running
   it, and then it is shared among callers who are the same.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from runtime import limits
from runtime.execution.live.interests import Interests
from runtime.execution.live.pulse import Moment, Pulse
from runtime.execution.live.shared import Answer, Key, Observed, Question, SharedQuery, Watcher
from runtime.identity import Settled, sharing_key
from runtime.names import DeploymentName
from runtime.ports import Commit, DocumentStore, KeyRange, Snapshot

Observe = Callable[[DeploymentName, Question, bytes, Settled, Snapshot], Awaitable[Observed]]


class Attendant(Protocol):
    """Somebody who attends a deployment."""

    def deployment_changed(self) -> None:
        """Something about the deployment is another than before. Said on the loop; returns at once."""
        ...


class Live:
    """Every deployment that somebody attends. ``observe`` runs a query at a moment."""

    def __init__(self, store: DocumentStore, observe: Observe) -> None:
        self._store = store
        self._observe = observe
        self._attended: dict[DeploymentName, _Watched] = {}

    async def attend(self, name: DeploymentName, attendant: Attendant) -> "Attendance":
        """Take a place in a deployment."""
        watched = self._attended.get(name)
        if watched is None:
            watched = self._attended[name] = _Watched(name, self._store, self._observe)
        watched.attendants.add(attendant)
        try:
            await watched.ready()
        except BaseException:
            self._leave(watched, attendant)
            raise
        return Attendance(watched, lambda: self._leave(watched, attendant))

    def changed(self, name: DeploymentName | None) -> None:
        """A push, a variable, a pause, a deletion: whatever it was, what it changes is run again. ``None``: of any."""
        for watched in tuple(self._attended.values()):
            if name is None or watched.name == name:
                watched.change()

    def names(self) -> tuple[DeploymentName, ...]:
        """The deployments that somebody attends."""
        return tuple(self._attended)

    def _leave(self, watched: "_Watched", attendant: Attendant) -> None:
        watched.attendants.discard(attendant)
        if not watched.attendants and self._attended.get(watched.name) is watched:
            del self._attended[watched.name]
            watched.pulse.end()


class _Watched:
    """One deployment with its shared queries."""

    def __init__(self, name: DeploymentName, store: DocumentStore, observe: Observe) -> None:
        self.name = name
        self.generation = 0
        self.attendants: set[Attendant] = set()
        self.pulse = Pulse(store, name, self._hear)
        self._observe = observe
        self._beginning: asyncio.Task[None] | None = None
        self._interests: Interests[SharedQuery] = Interests()
        self._queries: dict[Key, SharedQuery] = {}
        self._personal: Counter[Question] = Counter()  # those that look at their caller, and their results held
        self._runs = asyncio.Semaphore(limits.LIVE_RUNS)

    async def ready(self) -> None:
        """Wait until commits are heard."""
        if self._beginning is None:
            self._beginning = asyncio.get_running_loop().create_task(self.pulse.begin())
        await asyncio.shield(self._beginning)

    def change(self) -> None:
        """Everything may be another result now."""
        self.generation += 1
        for query in tuple(self._queries.values()):
            query.forget()
        for attendant in tuple(self.attendants):
            attendant.deployment_changed()

    # --- queries ------------------------------------------------------------------------------------------------------

    def watch(self, question: Question, args: bytes, identity: Settled, watcher: Watcher) -> SharedQuery:
        """The query that answers this for this caller."""
        user = sharing_key(identity) if question in self._personal else None
        key = Key(question, user)
        query = self._queries.get(key)
        if query is None:
            query = self._queries[key] = SharedQuery(key, args, self)
            if user is not None:
                self._personal[question] += 1
        query.watchers.add(watcher)
        return query

    def leave(self, query: SharedQuery, watcher: Watcher) -> None:
        """The watcher wants to know no more."""
        query.watchers.discard(watcher)
        if not query.watchers and self._queries.get(query.key) is query:
            del self._queries[query.key]
            if query.key.user is not None:
                self._count_personal(query.key.question, -1)
            query.end()

    def _count_personal(self, question: Question, change: int) -> None:
        self._personal[question] += change
        if self._personal[question] <= 0:
            del self._personal[question]

    def _hear(self, commit: Commit) -> None:
        if commit.keys is None:
            touched = set(self._queries.values())
        elif len(self._interests):
            touched = self._interests.touched(commit.keys)
        else:
            return
        for query in touched:
            query.break_at(commit.position)

    # --- what a shared query asks for ---------------------------------------------------------------------------------

    async def observe(self, question: Question, args: bytes, identity: Settled, moment: Snapshot) -> Observed:
        """See `Surroundings`."""
        async with self._runs:
            return await self._observe(self.name, question, args, identity, moment)

    def depends(self, query: SharedQuery, spans: tuple[KeyRange, ...]) -> None:
        """See `Surroundings`."""
        self._interests.add(spans, query)

    def depends_no_more(self, query: SharedQuery, spans: tuple[KeyRange, ...]) -> None:
        """See `Surroundings`."""
        self._interests.remove(spans, query)

    def looked(self, query: SharedQuery, identity: Settled) -> None:
        """See `Surroundings`: from now on it belongs to the caller who was looked at, and others get their own."""
        if self._queries.get(query.key) is query:
            del self._queries[query.key]
        key = Key(query.key.question, sharing_key(identity))
        self._personal[key.question] += 1
        if key in self._queries:
            self._count_personal(key.question, -1)
        else:
            self._queries[key] = query
        query.key = key
        query.warn()


class Subscription:
    """One query of one client: its answer, and a note when that is out of date."""

    __slots__ = ("_args", "_identity", "_query", "_question", "_stale", "_watched")

    def __init__(
        self, watched: _Watched, question: Question, args: bytes, identity: Settled, stale: Callable[[], None]
    ) -> None:
        self._watched = watched
        self._question = question
        self._args = args
        self._identity = identity
        self._stale = stale
        self._query: SharedQuery | None = None

    async def answer(self, moment: Moment) -> Answer:
        """The answer at this moment."""
        while True:
            query = self._settle()
            answer = await query.at(moment, self._identity)
            if answer.looked and query.key.user != sharing_key(self._identity):
                continue  # it was somebody else's: nobody knew that the function looks
            if answer.journal is not None and answer.journal != self._question.journal:
                self._follow_journal(query, answer)
            return answer

    @property
    def journal(self) -> str | None:
        """Where the page that was answered ends, for a client that asks for it again."""
        return self._question.journal

    def out_of_date(self) -> None:
        """See `Watcher`."""
        self._stale()

    def end(self) -> None:
        """The client wants no more of it."""
        if self._query is not None:
            self._watched.leave(self._query, self)
            self._query = None

    def _settle(self) -> SharedQuery:
        watched, before = self._watched, self._query
        self._query = query = watched.watch(self._question, self._args, self._identity, self)
        if before is not None and before is not query:
            watched.leave(before, self)
        return query

    def _follow_journal(self, query: SharedQuery, answer: Answer) -> None:
        # Asked again, the page ends where it ended: that is another question with, now, the same answer.
        self._question = self._question._replace(journal=answer.journal)
        reads = query.reads if query.holds(answer.position) is answer and query.holds(1 << 62) is answer else ()
        after = self._settle()
        if reads:
            after.seed(answer, reads)


class Attendance:
    """A watcher's place in a deployment."""

    def __init__(self, watched: _Watched, leave: Callable[[], None]) -> None:
        self._watched = watched
        self._leave = leave

    async def moment(self) -> Moment:
        """What is committed now, with all that it changes already marked; for the one who asks, who ends it."""
        return await self._watched.pulse.moment()

    @property
    def position(self) -> int:
        """The last commit that was told."""
        return self._watched.pulse.position

    def subscribe(self, question: Question, args: bytes, identity: Settled, stale: Callable[[], None]) -> Subscription:
        """Take a subscription; ``stale`` is called when its answer is out of date."""
        return Subscription(self._watched, question, args, identity, stale)

    def leave(self) -> None:
        """Attend no more; every subscription has been ended."""
        self._leave()
