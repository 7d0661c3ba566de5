"""Which isolate serves which deployment, and for how long?

A *crew* is the isolates of one version of one deployment. A crew grows when all of it is busy and shrinks when it is
idle; spares, locked down and without a bundle, wait for whoever comes next.

Rules
1. An isolate that has loaded a bundle belongs to its crew for its whole life.
2. A version that is no longer the active one starts no isolates of its own accord; those it has finish what is open.
3. Starting is shared: however many calls wait for a crew's first isolate, one is started.
4. Suspects run alone, and no more of them at once than a crew may have isolates: who crashes a lot waits for itself.
5. At the ceiling the isolate that has been idle longest gives way, whoever it belongs to.
"""

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass

from runtime import limits
from runtime.errors import IsolateLost, Overloaded, PushRefused
from runtime.invocation import Deployment, Version
from runtime.isolates.crew import Crew
from runtime.isolates.isolate import RETIRED, Isolate
from runtime.isolates.traffic import Traffic
from runtime.isolates.watchdog import is_stuck
from runtime.isolates.zygote import Zygote
from runtime.names import DeploymentName
from runtime.ports import Clock
from runtime.protocol.declaration import Declaration
from runtime.protocol.messages import Line, Load

log = logging.getLogger("warren.isolates")

SWEEP = 1.0
_WORDS = 500  # bytes of what an isolate wrote to its standard error last


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many isolates: in all, for one deployment, and waiting. ``manners`` is the language layer's switch."""

    isolates: int
    isolates_per_deployment: int
    spares: int
    manners: bool = True


OnLine = Callable[[DeploymentName, Line], None]
OnLost = Callable[[DeploymentName, str], None]


class Pool:
    """All isolates of this process."""

    def __init__(self, zygote: Zygote, settings: PoolSettings, clock: Clock, on_line: OnLine, on_lost: OnLost) -> None:
        self._zygote = zygote
        self._settings = settings
        self._clock = clock
        self._on_line = on_line
        self._on_lost = on_lost
        self._crews: dict[tuple[DeploymentName, str], Crew] = {}
        self._spares: deque[Isolate] = deque()
        self._all: set[Isolate] = set()
        self._refilling: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[object]] = set()
        self._stopping = False
        self._traffic = Traffic()

    # --- choosing ---------------------------------------------------------------------------------------------------

    def pick(self, deployment: Deployment, version: Version) -> Isolate | None:
        """An isolate that can take one more call at once, or ``None`` when one has to be started."""
        crew = self._crews.get((deployment.name, version.sha256))
        if crew is None:
            return None
        if crew.environment is not deployment.environment:
            self._renew_environment(crew, deployment)
        best: Isolate | None = None
        fewest = int(limits.ISOLATE_CONVERSATIONS)
        for isolate in crew.isolates:
            load = len(isolate.conversations)
            if load < fewest and not isolate.retiring and not is_stuck(isolate):
                best, fewest = isolate, load
        return best

    async def acquire(self, deployment: Deployment, version: Version) -> Isolate:
        """An isolate for one call, started if need be; raise `Overloaded` when there can be none now."""
        while True:
            crew = self._crew_of(deployment, version)
            isolate = self.pick(deployment, version)
            if isolate is not None:
                return isolate
            usable = [isolate for isolate in crew.isolates if isolate.usable]
            if len(usable) >= self._settings.isolates_per_deployment:
                # All are full or stuck. The least busy one takes it: a deployment slows down, it does not fail.
                return min(usable, key=lambda isolate: (is_stuck(isolate), len(isolate.conversations)))
            await self._grow(crew)

    async def alone(self, deployment: Deployment, version: Version) -> Isolate:
        """A new isolate for a call that is suspected of having ended another one.

        The caller opens its conversation at once and sets ``retiring``: then nothing else will ever run in it.
        """
        crew = self._crew_of(deployment, version)
        try:
            async with asyncio.timeout(limits.QUERY_TIME / 1000):
                await crew.cells.acquire()
        except TimeoutError:
            raise Overloaded(f"deployment {crew.name!r} keeps losing its isolates: too many calls run alone") from None
        try:
            isolate = await self._start(crew)
        except BaseException:
            crew.cells.release()
            raise

        def leave(lost: Isolate, reason: str) -> None:
            crew.cells.release()
            self._leave(crew, lost, reason)

        isolate.on_lost = leave
        return isolate

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """What a bundle declares, learnt inside an isolate; raise `PushRefused`.

        The isolate ends with it: reading a bundle node by node has made it larger than one that only loads it, and a
        fresh one takes a few milliseconds.
        """
        isolate = await self._spare()
        isolate.on_line = lambda line: self._on_line(name, line)
        try:
            return await self._load(isolate, Load(dict(bundle), dict(environment), name, self._settings.manners))
        finally:
            isolate.end(RETIRED)

    def stand_down(self, name: DeploymentName, active: Version | None) -> None:
        """Retire what this deployment runs of other versions than ``active``."""
        for key, crew in list(self._crews.items()):
            if crew.name == name and (active is None or crew.version.sha256 != active.sha256):
                del self._crews[key]
                for isolate in list(crew.isolates):
                    isolate.retire()

    def remove(self, name: DeploymentName) -> None:
        """End everything that runs for this deployment: it is deleted."""
        for key, crew in list(self._crews.items()):
            if crew.name == name:
                del self._crews[key]
                for isolate in list(crew.isolates):
                    isolate.end(RETIRED)

    # --- figures ----------------------------------------------------------------------------------------------------

    def isolates(self) -> Iterator[Isolate]:
        """Every isolate there is."""
        return iter(self._all)

    def counts(self) -> dict[str, int]:
        """How many isolates there are, by what they do now."""
        busy = sum(1 for isolate in self._all if isolate.conversations)
        serving = sum(len(crew.isolates) for crew in self._crews.values())
        return {"all": len(self._all), "spare": len(self._spares), "serving": serving, "busy": busy}

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have the spares ready."""
        await self._refill()

    async def stop(self) -> None:
        """End every isolate, and return when their processes are gone."""
        self._stopping = True
        if self._refilling is not None:
            self._refilling.cancel()
        for isolate in list(self._all):
            isolate.end(RETIRED)
        while self._background:
            await asyncio.wait(self._background)

    async def sweep(self) -> None:
        """Retire what is idle, old or fat, once a second, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            now = self._clock.monotonic()
            for crew in list(self._crews.values()):
                self._sweep_crew(crew, now)
            for isolate in list(self._all):
                _end_if_restless(isolate)

    def _sweep_crew(self, crew: Crew, now: float) -> None:
        for isolate in list(crew.isolates):
            if isolate.conversations:
                isolate.last_used = now
            if now - isolate.last_used > limits.ISOLATE_IDLE / 1000:
                isolate.retire()
            elif self._is_worn_out(isolate, now) and not isolate.retiring:
                self._keep(self._replace(crew, isolate))
        if crew.is_over(now):
            self._crews.pop((crew.name, crew.version.sha256), None)

    def _is_worn_out(self, isolate: Isolate, now: float) -> bool:
        if isolate.calls > limits.ISOLATE_CALLS or now - isolate.born > limits.ISOLATE_AGE / 1000:
            return True
        recently = now - isolate.last_used < 2 * SWEEP
        return recently and isolate.process.rss_bytes() > limits.GUEST_MEMORY * 2 // 3

    async def _replace(self, crew: Crew, worn: Isolate) -> None:
        # The successor first: nobody should meet a cold start because of our housekeeping.
        worn.retiring = True
        try:
            await self._start(crew)
        finally:
            worn.retire()

    # --- starting ---------------------------------------------------------------------------------------------------

    def _crew_of(self, deployment: Deployment, version: Version) -> Crew:
        key = (deployment.name, version.sha256)
        crew = self._crews.get(key)
        if crew is None:
            cells = asyncio.Semaphore(self._settings.isolates_per_deployment)
            crew = self._crews[key] = Crew(deployment.name, version, deployment.environment, cells)
        return crew

    def _renew_environment(self, crew: Crew, deployment: Deployment) -> None:
        crew.environment = deployment.environment
        for isolate in crew.isolates:
            isolate.set_environment(deployment.environment)

    async def _grow(self, crew: Crew) -> None:
        # One that is done is nothing to wait for: who asks again and again would never let the loop go on.
        if crew.starting is None or not crew.is_starting:
            crew.starting = asyncio.ensure_future(self._start_in_turn(crew))
        # Shielded: whoever waits may give up, the others still want it.
        await asyncio.shield(crew.starting)

    async def _start_in_turn(self, crew: Crew) -> Isolate:
        pause = crew.not_before - self._clock.monotonic()
        if pause > 0:
            # Who crashes again and again costs a start each time. It is slowed down, and never refused.
            await asyncio.sleep(pause)
        return await self._start(crew)

    async def _start(self, crew: Crew) -> Isolate:
        isolate = await self._spare()
        isolate.on_line = lambda line: self._on_line(crew.name, line)
        isolate.on_lost = lambda lost, reason: self._forget(lost, reason, crew.name)
        crew.watch(isolate, self._clock.monotonic())
        try:
            load = Load(
                dict(crew.version.bundle), dict(crew.environment), crew.name, self._settings.manners, checked=True
            )
            await self._load(isolate, load)
            if isolate.lost is not None:  # it said so, and was gone before anybody had heard it
                raise IsolateLost(isolate.lost)
        except (IsolateLost, PushRefused) as error:
            isolate.end("its bundle was not loaded")
            crew.back_off(self._clock.monotonic())
            raise IsolateLost(f"the bundle does not load any more: {error}") from None
        self._join(crew, isolate)
        return isolate

    def _join(self, crew: Crew, isolate: Isolate) -> None:
        isolate.last_used = self._clock.monotonic()
        isolate.on_line = lambda line: self._on_line(crew.name, line)
        isolate.on_lost = lambda lost, reason: self._leave(crew, lost, reason)
        isolate.on_drained = _drained
        crew.isolates.append(isolate)

    def _leave(self, crew: Crew, isolate: Isolate, reason: str) -> None:
        if isolate in crew.isolates:
            crew.isolates.remove(isolate)
        if reason != RETIRED and not isolate.retiring:
            crew.back_off(self._clock.monotonic())
        self._forget(isolate, reason, crew.name)

    def _forget(self, isolate: Isolate, reason: str, name: DeploymentName | None = None) -> None:
        self._all.discard(isolate)
        self._keep(self._bury(isolate, reason, name))

    async def _bury(self, isolate: Isolate, reason: str, name: DeploymentName | None) -> None:
        status = await isolate.process.exit_status()
        words = _one_line(isolate.process.last_words()[-_WORDS:])
        isolate.process.close()
        if reason != RETIRED and name is not None:
            self._on_lost(name, f"{reason} ({_cause(status)})" + (f": {words}" if words else ""))

    async def _load(self, isolate: Isolate, load: Load) -> Declaration:
        try:
            async with asyncio.timeout(limits.LOAD_TIME / 1000):
                return await isolate.load(load)
        except TimeoutError:
            raise IsolateLost(f"importing the bundle took longer than {limits.LOAD_TIME} ms") from None

    async def _spare(self) -> Isolate:
        while self._spares:
            isolate = self._spares.popleft()
            if isolate.usable:
                self._want_spares()
                return isolate
        isolate = await self._fork()
        self._want_spares()
        return isolate

    async def _fork(self) -> Isolate:
        self._make_room()
        try:
            async with asyncio.timeout(limits.START_TIME / 1000):
                process = await self._zygote.fork()
                isolate = Isolate(process, self._clock.monotonic(), self._traffic)
                isolate.on_lost = self._forget
                self._all.add(isolate)
                try:
                    await isolate.start()
                except asyncio.CancelledError:
                    isolate.end("it was not ready in time")
                    raise
        except TimeoutError:
            raise Overloaded(f"no isolate was ready within {limits.START_TIME} ms (START_TIME)") from None
        return isolate

    def _make_room(self) -> None:
        if len(self._all) < self._settings.isolates:
            return
        idle = [isolate for crew in self._crews.values() for isolate in crew.isolates if not isolate.conversations]
        if not idle:
            raise Overloaded(f"all {self._settings.isolates} isolates of this server are busy")
        min(idle, key=lambda isolate: isolate.last_used).retire()

    def _want_spares(self) -> None:
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.ensure_future(self._refill())

    async def _refill(self) -> None:
        try:
            while len(self._spares) < self._settings.spares:
                self._spares.append(await self._fork())
        except (IsolateLost, Overloaded) as error:
            log.warning("no spare isolate: %s", error)

    def _keep(self, work: Coroutine[object, object, object]) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _end_if_restless(isolate: Isolate) -> None:
    """End an isolate that burns CPU with no call to run: an honest guest waits."""
    if isolate.conversations or isolate.loading:
        return
    cpu, before = isolate.process.cpu_seconds(), isolate.idle_cpu
    isolate.idle_cpu = cpu
    if before is not None and cpu - before > limits.IDLE_CPU / 1000:
        isolate.end(f"it burnt {(cpu - before) * 1000:.0f} ms of CPU with no call to run, limit {limits.IDLE_CPU}")


def _one_line(words: bytes) -> str:
    """A stranger's words, in one line that no terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in words.decode(errors="replace")).strip()


def _cause(status: int) -> str:
    if status == -signal.SIGSYS:
        return "it made a forbidden kernel call"
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"


def _drained(isolate: Isolate) -> None:
    if isolate.retiring:
        isolate.end(RETIRED)
