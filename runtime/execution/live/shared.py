"""How is one query run once for everybody who asks the same?

A `SharedQuery` holds the newest result of one question, what it was read from, and from which commit on it is out of
date. Who asks names a moment and gets the result at exactly that moment: the one that is held where it still holds
there, else a new run.

Rules
1. One run at a time: who comes meanwhile waits, and is answered by it where their moments agree.
2. A result that is the same as the one before is the same object: whoever got that has nothing to send.
3. What is out of date says so to everybody who watches it, once, and is run again only when one of them asks.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from runtime.execution.live.interests import holds_one, merged
from runtime.execution.live.pulse import Moment
from runtime.identity import Settled
from runtime.invocation import Outcome
from runtime.names import RequestId
from runtime.ports import Commit, KeyRange, Snapshot


class Question(NamedTuple):
    """What is asked: a function, its arguments (as sent, and in their one spelling), by an administrator or not, and
    the journal of an earlier answer."""

    path: str
    spelling: bytes
    administrator: bool
    journal: str | None = None


class Key(NamedTuple):
    """Who shares a result: everybody who asks this, and where the function looks at its caller, as the same user."""

    question: Question
    user: bytes | None


@dataclass(frozen=True, slots=True)
class Observed:
    """How a query ended at one moment, what it read, and whether it looked at who asks."""

    outcome: Outcome
    reads: frozenset[KeyRange]
    looked: bool
    journal: str | None
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class Answer:
    """A result at one moment. ``request_id`` is the run that gave it; ``written`` is for who sends it: the text of it,
    made once for all."""

    position: int
    outcome: Outcome
    looked: bool
    journal: str | None
    generation: int
    request_id: RequestId
    written: dict[object, str] = field(default_factory=dict)


class Watcher(Protocol):
    """Somebody who was given a result and wants to know when it changes."""

    def out_of_date(self) -> None:
        """What you were given may not be the result any more. Said on the loop; returns at once."""
        ...


class Surroundings(Protocol):
    """What a shared query needs from its deployment."""

    generation: int

    async def observe(self, question: Question, args: bytes, identity: Settled, moment: Snapshot) -> Observed: ...
    def depends(self, query: "SharedQuery", spans: tuple[KeyRange, ...]) -> None: ...
    def depends_no_more(self, query: "SharedQuery", spans: tuple[KeyRange, ...]) -> None: ...
    def looked(self, query: "SharedQuery", identity: Settled) -> None: ...


class SharedQuery:
    """One question and its newest answer."""

    __slots__ = ("_answer", "_args", "_broken", "_house", "_reads", "_running", "key", "watchers")

    def __init__(self, key: Key, args: bytes, house: Surroundings) -> None:
        self.key = key
        self.watchers: set[Watcher] = set()
        self._args = args
        self._house = house
        self._answer: Answer | None = None
        self._reads: tuple[KeyRange, ...] = ()
        self._broken: int | None = None
        self._running: tuple[int, asyncio.Task[Answer]] | None = None

    def holds(self, position: int) -> Answer | None:
        """The answer that is held, if it is the answer at this position."""
        answer = self._answer
        if answer is None or answer.position > position or (self._broken is not None and position >= self._broken):
            return None
        return answer

    async def at(self, moment: Moment, identity: Settled) -> Answer:
        """The answer at this moment; ``identity`` is who asks, for a function that looks."""
        while (held := self.holds(moment.position)) is None:
            if self._running is None:
                run = asyncio.get_running_loop().create_task(self._run(moment.share(), identity))
                run.add_done_callback(_hear_error)
                self._running = (moment.position, run)
            position, run = self._running
            # Who stops waiting does not end it for the others.
            answer = await asyncio.shield(run)
            if position == moment.position and answer.generation == self._house.generation:
                return answer
        return held

    def seed(self, answer: Answer, reads: tuple[KeyRange, ...]) -> None:
        """Begin with an answer that somebody else has: the same question, asked with the journal it gave."""
        if self._answer is None and self._running is None:
            self._answer, self._reads = answer, reads
            self._house.depends(self, reads)

    @property
    def reads(self) -> tuple[KeyRange, ...]:
        """What the answer that is held was read from."""
        return self._reads

    def break_at(self, position: int) -> None:
        """From this commit on the answer is out of date."""
        if self._broken is None and self._answer is not None:
            self._broken = position
            self._let_go()
            self.warn()

    def forget(self) -> None:
        """The function itself may be another one now."""
        self._answer = None
        self._broken = None
        self._let_go()
        self.warn()

    def warn(self) -> None:
        """Say to everybody who watches that the answer is out of date."""
        for watcher in tuple(self.watchers):
            watcher.out_of_date()

    def end(self) -> None:
        """Nobody watches any more."""
        self._answer = None
        self._let_go()

    async def _run(self, moment: Moment, identity: Settled) -> Answer:
        house, generation = self._house, self._house.generation
        try:
            observed = await house.observe(self.key.question, self._args, identity, moment.snapshot)
            answer = self._install(moment.position, generation, observed, moment.since())
            if observed.looked and self.key.user is None:
                house.looked(self, identity)
            return answer
        finally:
            self._running = None
            moment.release()

    def _install(self, position: int, generation: int, observed: Observed, later: list[Commit]) -> Answer:
        before = self._answer
        answer = Answer(position, observed.outcome, observed.looked, observed.journal, generation, observed.request_id)
        if before is not None and before.outcome == observed.outcome and before.journal == observed.journal:
            answer = replace(answer, outcome=before.outcome, request_id=before.request_id, written=before.written)
        if generation != self._house.generation or (before is not None and before.position > position):
            return answer
        self._let_go()
        self._answer, self._broken, self._reads = answer, None, merged(observed.reads)
        self._broken = next((commit.position for commit in later if _touches(self._reads, commit)), None)
        if self._broken is not None:
            self.warn()
        elif self.watchers:
            self._house.depends(self, self._reads)
        return answer

    def _let_go(self) -> None:
        self._house.depends_no_more(self, self._reads)
        self._reads = ()


def _touches(reads: tuple[KeyRange, ...], commit: Commit) -> bool:
    keys = commit.keys
    return keys is None or any(holds_one(span, keys) for span in reads)


def _hear_error(run: "asyncio.Task[Answer]") -> None:
    # Those who waited have it; when nobody did any more, nobody misses it.
    if not run.cancelled():
        run.exception()
