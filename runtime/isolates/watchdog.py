"""Who runs too long, burns too much, or does not listen, and what is done about it?

Looks at isolates with open conversations at every tick. Wall time is a deadline of the conversation. CPU is counted per
*turn* of the guest's loop: while a turn lasts, no `Ping` is answered and only the process's CPU clock moves. A guest
that sleeps in the middle of a turn does not even burn CPU: it is found out because it is asleep with a `Ping` to read.

Rules
1. The guilty call first: past its deadline a conversation is told to stop; a turn past `TURN_CPU` or
   `TURN_SLEEP` is interrupted.
2. The isolate next: what is neither ended nor answered `STOP_GRACE` later is killed.
3. Who burns for longer than a tick is held to one processor until it answers; on probation, before that. The kernel
   would move it to each that is idle for a moment, and who wakes there next would wait behind it for up to 4 ms.
4. Everybody else that has something to do keeps off that processor, and so does the host, while half of all are left.
   Who is idle is not told before it has something to do: there may be a thousand.
5. Where one was interrupted, they keep off for `_AGAIN` more: it is likely to be called again, and begins there.
6. A look that fails is logged, and is not the last one.
7. A quiet isolate is asked once a second, and no more: waiting costs next to nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from runtime import limits
from runtime.isolates.isolate import Isolate
from runtime.isolates.traffic import CROWD
from runtime.machine import processors
from runtime.ports import Clock
from runtime.protocol.messages import Failure, Reason

log = logging.getLogger("warren.isolates")

TICK = 0.02
# A tick in which less than this much CPU was burnt cannot be part of a turn that burns too much.
_BUSY = TICK / 2
_TURN = limits.TURN_CPU / 1000
_SLEEP = limits.TURN_SLEEP / 1000
_QUIET = 1.0
# Of one processor: what a turn that is held must get.
_MOST = 0.5
# Seconds. The next isolate of who ran away is forked and has loaded its bundle long before.
_AGAIN = 0.5
_GRACE = limits.STOP_GRACE / 1000
# An isolate in the middle of a turn for so long gets no new call while there is another choice.
STUCK = 0.05


class Watchdog:
    """Ticks over the isolates that somebody waits for."""

    def __init__(self, clock: Clock, isolates: Callable[[], Iterable[Isolate]]) -> None:
        self._clock = clock
        self._isolates = isolates
        self._number = 0
        self._taken: dict[int, float] = {}  # by runaways: processors, and until when

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK)
                try:
                    self.tick()
                except Exception:
                    log.exception("looking at the isolates failed")
        finally:
            processors.leave_free()

    def tick(self) -> None:
        """Look once at every isolate that has something to do."""
        now = self._clock.monotonic()
        self._number += 1
        busy = [it for it in self._isolates() if it.lost is None and (it.conversations or it.loading)]
        for isolate in busy:
            self._watch_deadlines(isolate, now)
            self._watch_turn(isolate, now)
        self._choose_places([isolate for isolate in busy if isolate.lost is None], now)

    def _watch_deadlines(self, isolate: Isolate, now: float) -> None:
        for conversation in list(isolate.conversations.values()):
            if conversation.stopped_at is not None:
                if now - conversation.stopped_at > _GRACE:
                    isolate.end("a call did not stop at its deadline")
                    return
            elif now > conversation.deadline:
                conversation.stop(now)

    def _watch_turn(self, isolate: Isolate, now: float) -> None:
        if isolate.lost is not None:
            return
        cpu = isolate.process.cpu_seconds()
        if isolate.ping_pending:
            self._judge(isolate, cpu, now)
        else:
            isolate.interrupted_at, isolate.asleep = None, False
            if cpu - isolate.cpu_seen > _BUSY or now - isolate.pinged_at > _QUIET:
                isolate.cpu_at_ping, isolate.pinged_at = isolate.cpu_seen, now
                isolate.ping(self._number)
        isolate.burns = cpu - isolate.cpu_seen > _BUSY
        isolate.cpu_seen = cpu

    def _judge(self, isolate: Isolate, cpu: float, now: float) -> None:
        silence = now - isolate.pinged_at
        if is_stuck(isolate):
            # It needs a processor for long. The loop must not stand still on the other one.
            isolate.traffic.crowded = CROWD
        # Who was told to go on and has no processor is not to blame, nor is who has answered and was not heard yet.
        isolate.asleep = silence > STUCK and not isolate.behind and isolate.process.asleep()
        if isolate.interrupted_at is not None:
            if now - isolate.interrupted_at > _GRACE:
                _kill_deaf(isolate)
        elif cpu - isolate.cpu_at_ping > _TURN:
            _interrupt(isolate, now, f"burnt more than {limits.TURN_CPU} ms of CPU without a pause")
        elif isolate.asleep and silence > _SLEEP:
            _interrupt(isolate, now, f"slept for more than {limits.TURN_SLEEP} ms without an await")

    def _choose_places(self, isolates: Iterable[Isolate], now: float) -> None:
        others: list[Isolate] = []
        burning: frozenset[int] = frozenset()
        for isolate in isolates:
            if not _is_to_be_held(isolate, now):
                others.append(isolate)
                continue
            # Who cannot be held is everywhere, and nobody keeps off. Who is on probation and only waits takes nothing.
            where = isolate.process.hold()
            if isolate.burns and len(where) == 1:
                burning |= where
                if isolate.interrupted_at is not None:
                    self._taken |= dict.fromkeys(where, now + _AGAIN)
        self._taken = {processor: until for processor, until in self._taken.items() if until > now}
        left = processors.ALL - burning - self._taken.keys()
        if 2 * len(left) < len(processors.ALL):
            left = processors.ALL
        for isolate in others:
            isolate.process.keep_to(left)
        processors.keep_to(left)


def _is_to_be_held(isolate: Isolate, now: float) -> bool:
    burnt, silence = isolate.cpu_seen - isolate.cpu_at_ping, now - isolate.pinged_at
    on_probation = now < isolate.held_until
    if isolate.ping_pending and silence > TICK / 2 and not isolate.behind:
        # Who gets too little of the processor that it is held to may look for another.
        return burnt > _MOST * silence and (on_probation or burnt > TICK)
    return on_probation


def _interrupt(isolate: Isolate, now: float, charge: str) -> None:
    isolate.interrupted_at, isolate.charge = now, charge
    if isolate.on_runaway is not None:
        isolate.on_runaway(isolate, now)
    # What was interrupted anywhere may have left the tenant's objects half changed.
    isolate.retiring = True
    isolate.process.interrupt()


def _kill_deaf(isolate: Isolate) -> None:
    reason = f"a call {isolate.charge} and did not listen"
    if len(isolate.conversations) == 1:
        # Nobody else was there: it is guilty, and hears so. Among several the innocent are run again, one by one.
        (conversation,) = isolate.conversations.values()
        conversation.blame(Failure(Reason.TIME, "TimeLimit", reason))
    isolate.end(reason)


def is_stuck(isolate: Isolate) -> bool:
    """Whether the isolate has been inside one turn of its loop for a while."""
    return isolate.ping_pending and (isolate.asleep or isolate.cpu_seen - isolate.cpu_at_ping > STUCK)
