"""Who serves one version of a deployment, and how has it behaved lately?

Isolates that keep crashing are replaced more and more slowly. After a call that did not come back by itself the whole
crew is *on probation*: its isolates are held to the processor that the call was held to, before the watchdog could know
that they burn.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.invocation import Version
from runtime.isolates.isolate import Isolate
from runtime.machine import processors
from runtime.names import DeploymentName

_LONGEST_PAUSE = 0.5  # seconds between the starts of a crew whose isolates keep crashing
# Seconds. The watchdog sees who burns after three ticks at most, and until then it may get in the way of others. That
# once in ten seconds is 0.6 % of the time of a neighbour, too little to be felt in its 99th percentile.
PROBATION = 10.0


@dataclass(slots=True)
class Crew:
    """The isolates of one version."""

    name: DeploymentName
    version: Version
    environment: Mapping[str, str]
    cells: asyncio.Semaphore
    isolates: list[Isolate] = field(default_factory=list)
    starting: "asyncio.Future[Isolate] | None" = None
    deaths: int = 0
    not_before: float = 0.0
    probation: float = 0.0
    place: frozenset[int] = processors.ALL  # where it is on probation

    @property
    def is_starting(self) -> bool:
        """Whether an isolate is on its way."""
        return self.starting is not None and not self.starting.done()

    def is_over(self, now: float) -> bool:
        """Whether nothing runs, and nothing is remembered that matters to who comes next."""
        return not (self.isolates or self.is_starting or self.cells.locked()) and now >= self.probation

    def back_off(self, now: float) -> None:
        """Take note of a death; in a row, each makes the next start wait longer."""
        # Deaths that are far apart are accidents; those in a row are a crash loop.
        self.deaths = self.deaths + 1 if now - self.not_before < 10 else 1
        pause = 0.0 if self.deaths < 4 else min(_LONGEST_PAUSE, 0.05 * 2 ** (self.deaths - 4))
        self.not_before = now + pause

    def ran_away(self, guilty: Isolate, now: float) -> None:
        """Take note of a call that had to be interrupted."""
        self.probation = now + PROBATION
        self.place = guilty.process.hold()
        for isolate in self.isolates:
            self.watch(isolate, now)

    def watch(self, isolate: Isolate, now: float) -> None:
        """Have an isolate tell when a call runs away in it, and hold it for as long as the crew is on probation."""
        isolate.on_runaway = self.ran_away
        isolate.held_until = self.probation
        if now < self.probation:
            isolate.process.keep_to(self.place)  # the watchdog will let it go
