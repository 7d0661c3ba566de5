"""Who is told to stop, and which process is not worth keeping?

Looks at every Node-style process four times a second. There are no turns to be counted here: such code may burn as much
CPU as its confinement gives it, while somebody waits for a call of it.

Rules
1. A call past its deadline is told to stop; its process is ended when it does not within `NODE_STOP_GRACE`.
2. A process that was told so takes no new calls: it finishes those that it has.
3. With no call to run, a process that burns CPU is ended, and one that is idle, old or fat is retired.
"""

import asyncio

from runtime import limits
from runtime.isolates.isolate import Isolate
from runtime.ports import Clock
from worker.node_style.crews import Crews

TICK = 0.25
_PING = 1.0
# What it has so far it keeps; the next calls had better not meet the limit.
_FAT = limits.NODE_MEMORY * 2 // 3
_GRACE = limits.NODE_STOP_GRACE / 1000


class Keeper:
    """Ticks over the processes of some crews."""

    def __init__(self, crews: Crews, clock: Clock) -> None:
        self._crews = crews
        self._clock = clock
        self._number = 0
        self._idle_since: dict[Isolate, tuple[float, float]] = {}

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Look once at every process."""
        now = self._clock.monotonic()
        processes = [process for process in self._crews.processes() if process.lost is None]
        self._idle_since = {one: seen for one, seen in self._idle_since.items() if one in processes}
        for process in processes:
            if process.conversations:
                self._idle_since.pop(process, None)
                self._watch_calls(process, now)
            elif not process.loading:
                self._watch_idle(process, now)
        self._crews.forget_empty()

    def _watch_calls(self, process: Isolate, now: float) -> None:
        process.last_used = now
        if now - process.born > limits.NODE_AGE / 1000:
            process.retiring = True
        for conversation in list(process.conversations.values()):
            if conversation.stopped_at is not None:
                if now - conversation.stopped_at > _GRACE:
                    process.end("a call did not stop at its deadline")
                    return
            elif now > conversation.deadline:
                process.retiring = True
                conversation.stop(now)
        if not process.ping_pending and now - process.pinged_at > _PING:
            self._number += 1
            process.pinged_at = now
            process.ping(self._number)

    def _watch_idle(self, process: Isolate, now: float) -> None:
        seen, burnt = self._idle_since.setdefault(process, (now, process.process.cpu_seconds()))
        if now - seen >= 1.0:
            cpu = process.process.cpu_seconds()
            self._idle_since[process] = (now, cpu)
            # By the second: what is done right after a call may belong to it.
            if (cpu - burnt) / (now - seen) > limits.NODE_IDLE_CPU / 1000:
                what = f"it burnt {(cpu - burnt) * 1000:.0f} ms of CPU in a second with no call to run"
                process.end(f"{what}, limit {limits.NODE_IDLE_CPU} (NODE_IDLE_CPU)")
                return
        idle, age = now - process.last_used, now - process.born
        if idle > limits.NODE_IDLE / 1000 or age > limits.NODE_AGE / 1000 or process.process.rss_bytes() > _FAT:
            process.retire()
