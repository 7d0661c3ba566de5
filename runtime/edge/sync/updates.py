"""What does a client know of its queries, and what is it told next?

Everything that a client subscribes to is answered at one moment and told in one transition. One update at a time: what
changes meanwhile is in the next one, which skips straight to the newest state.

Rules
1. The moment is taken first. Whatever it shows was told before, so every query that it changes is marked.
2. A transition begins where the one before it ended. A query that was just added is always in it; another one only when
   its result, or what it logged, is different.
3. After a mutation's answer there is always a transition, even an empty one: clients wait for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from runtime.edge.problems import Details
from runtime.edge.sync import messages
from runtime.edge.sync.messages import StateVersion
from runtime.edge.sync.wire import Wire
from runtime.errors import Overloaded, TooManyRequests
from runtime.execution.live.live import Attendance, Subscription
from runtime.execution.live.pulse import Moment
from runtime.execution.live.shared import Answer, Question
from runtime.identity import NOBODY, Settled
from runtime.invocation import Failed, Outcome
from runtime.names import RequestId
from runtime.ports import Clock
from runtime.protocol.messages import Failure, Reason

_ATTEMPTS = 6
_FIRST_PAUSE = 0.25  # seconds before a query that found no room is tried again; doubled each time


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a connection speaks for."""

    identity: Settled = NOBODY
    administrator: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query that a client subscribes to; ``refusal`` is why it cannot be asked at all."""

    path: str
    args: bytes
    spelling: bytes
    journal: str | None
    refusal: str | None = None


class _Query:
    """One subscription of a client, and what it was told last."""

    __slots__ = ("shown", "subscription", "told", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.subscription: Subscription | None = None
        self.told: Outcome | None = None
        self.shown: Details | None = None


class Updates:
    """The queries of one client."""

    def __init__(
        self, attendance: Attendance, wire: Wire, clock: Clock, details: Details, failed: Callable[[Exception], None]
    ) -> None:
        self._attendance = attendance
        self._wire = wire
        self._clock = clock
        self._details = details
        self._failed = failed
        self.skew: int | None = None
        # What the client asked for, and what is true of the last transition.
        self.wanted = StateVersion(0, 0, 0)
        self._caller = Caller()
        self._changes: list[tuple[int, Wanted | None]] = []
        self._told = StateVersion(0, 0, 0)
        self._told_caller = self._caller
        self._queries: dict[int, _Query] = {}
        self._ids: set[int] = set()
        self._stale: set[int] = set()
        self._owed = False  # a transition, whatever is in it
        self._due = False
        self._task: asyncio.Task[None] | None = None

    # --- what the client asks for -------------------------------------------------------------------------------------

    def knows(self, query: int) -> bool:
        """Whether the client subscribes to a query of this number."""
        return query in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def modify(self, version: int, changes: list[tuple[int, Wanted | None]]) -> None:
        """Subscribe to some queries, and to some no more."""
        for query, wanted in changes:
            if wanted is None:
                self._ids.discard(query)
            else:
                self._ids.add(query)
        self._changes += changes
        self.wanted = self.wanted._replace(query_set=version)
        self.owe()

    def speak_for(self, caller: Caller) -> None:
        """From now on every query is asked by this caller."""
        self._caller = caller
        self.wanted = self.wanted._replace(identity=self.wanted.identity + 1)
        self.owe()

    def owe(self) -> None:
        """The client waits for a transition."""
        self._owed = True
        self.schedule()

    def schedule(self) -> None:
        """Look for something to tell."""
        self._due = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def end(self) -> None:
        """Tell nothing more."""
        self._due = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for query in self._queries.values():
            if query.subscription is not None:
                query.subscription.end()
        self._queries.clear()

    # --- what it is told ----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while self._due:
                self._due = False
                await self._update()
        except Exception as error:
            self._failed(error)
        else:
            self._task = None

    async def _update(self) -> None:
        moment = await self._attendance.moment()
        try:
            # From here to the answers nothing may be awaited: what is marked now is what this moment changes.
            start, owed, self._owed = self._told, self._owed, False
            end = self.wanted._replace(position=moment.position)
            modifications = self._apply()
            stale, self._stale = self._stale & self._queries.keys(), set()
            answers = await self._answers(stale, moment)
        finally:
            moment.release()
        modifications += [text for query, answer in answers.items() if (text := self._tell(query, answer))]
        if modifications or owed:
            self._told = end
            now = self._clock.now()
            await self._wire.say(messages.transition(start, end, modifications, self.skew, int(now * 1_000_000)))

    def _apply(self) -> list[str]:
        """Make true what the client asked for; what that removes."""
        removed = []
        changes, self._changes = self._changes, []
        for number, wanted in changes:
            before = self._queries.pop(number, None)
            if before is not None and before.subscription is not None:
                before.subscription.end()
            if wanted is None:
                removed.append(number)
            else:
                self._queries[number] = _Query(wanted)
                self._stale.add(number)
        if self._caller is not self._told_caller:
            self._told_caller = self._caller
            for number, query in self._queries.items():
                self._resubscribe(query)
                self._stale.add(number)
        return [messages.query_removed(number) for number in removed if number not in self._queries]

    def _resubscribe(self, query: _Query) -> None:
        before, query.subscription = query.subscription, None
        if before is not None:
            before.end()

    async def _answers(self, stale: set[int], moment: Moment) -> dict[int, Answer]:
        if len(stale) == 1:
            (number,) = stale
            return {number: await self._answer(number, moment)}
        found = await asyncio.gather(
            *(self._answer(number, moment) for number in sorted(stale)), return_exceptions=True
        )
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return {number: one for number, one in zip(sorted(stale), found, strict=True) if isinstance(one, Answer)}

    async def _answer(self, number: int, moment: Moment) -> Answer:
        query = self._queries[number]
        wanted, caller = query.wanted, self._told_caller
        if wanted.refusal is not None:
            failure = Failure(Reason.ARGUMENTS, "ArgumentValidationError", wanted.refusal)
            return Answer(moment.position, Failed(failure), False, None, 0, RequestId(""))
        if query.subscription is None:
            question = Question(wanted.path, wanted.spelling, caller.administrator, wanted.journal)
            stale = partial(self._mark, number)
            query.subscription = self._attendance.subscribe(question, wanted.args, caller.identity, stale)
        for attempt in range(_ATTEMPTS):
            try:
                return await query.subscription.answer(moment)
            except (TooManyRequests, Overloaded):
                if attempt + 1 == _ATTEMPTS:
                    raise
                await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _mark(self, number: int) -> None:
        self._stale.add(number)
        self.schedule()

    def _tell(self, number: int, answer: Answer) -> str | None:
        query = self._queries[number]
        details = Details.SHOW if self._told_caller.administrator else self._details
        told = query.told if query.shown is details else None
        if told is not None and (told is answer.outcome or told == answer.outcome):
            return None
        query.told, query.shown = answer.outcome, details
        content = answer.written.get(details)
        if content is None:
            content = messages.result_content(answer.outcome, answer.journal, answer.request_id, details)
            answer.written[details] = content
        return messages.query_result(number, content)
