"""Which process serves which deployment, and for how long?

A *crew* is the Node-style processes of one version of one deployment, in one language. Processes are started when
somebody calls, serve many calls at once, and stay warm between them.

Rules
1. A process belongs to its crew for its whole life, and sees one environment and one egress policy: when they change,
   another one is started.
2. When a version is called that is the active one, the crews of the others finish what they do and end.
3. Starting is shared: however many calls wait for a crew's first process, one is started.
4. At the ceiling the process that has been idle longest gives way, whoever it belongs to; where all are busy, who needs
   one waits, and is refused after `PERMIT_WAIT`.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runtime import limits
from runtime.errors import IsolateLost, Overloaded, PushRefused
from runtime.invocation import Deployment, Version
from runtime.isolates.isolate import RETIRED, Isolate
from runtime.isolates.process import IsolateProcess
from runtime.names import DeploymentName
from runtime.ports import Clock
from runtime.protocol.declaration import Declaration, Engine
from runtime.protocol.messages import Line, Load
from worker.node_style.programs import Folders, Launcher, OpenFolders, Program

log = logging.getLogger("warren.worker")

_WORDS = 2_000  # bytes of what a process wrote to its standard error last
# In the middle of one turn for so long, a process gets no new call while there is another choice.
_STUCK = 0.5


class Sizes(NamedTuple):
    """How many processes: in all, and for one language of one version."""

    processes: int
    processes_per_crew: int


@dataclass(slots=True, eq=False)
class Crew:
    """The processes of one version in one language."""

    deployment: Deployment
    version: Version
    engine: Engine
    processes: list[Isolate] = field(default_factory=list)
    starting: "asyncio.Future[Isolate] | None" = None


OnLine = Callable[[DeploymentName, Line], None]
OnLost = Callable[[DeploymentName, str], None]


class Crews:
    """All Node-style processes of this worker."""

    def __init__(self, launcher: Launcher, open_folders: OpenFolders, sizes: Sizes, clock: Clock) -> None:
        self._launcher = launcher
        self._open_folders = open_folders
        self._sizes = sizes
        self._clock = clock
        self.on_line: OnLine = lambda name, line: None
        self.on_lost: OnLost = lambda name, reason: None
        self._crews: dict[tuple[DeploymentName, str, Engine], Crew] = {}
        self._all: set[Isolate] = set()
        self._launching = 0
        self._room = asyncio.Event()
        self._background: set[asyncio.Task[object]] = set()

    # --- choosing -----------------------------------------------------------------------------------------------------

    async def acquire(self, deployment: Deployment, version: Version, engine: Engine) -> Isolate:
        """A process for one call, started if need be.

        Raises `Overloaded` when there can be none now, and `IsolateLost` when the bundle does not load in it.
        """
        if deployment.version is not None and deployment.version.sha256 == version.sha256:
            self.stand_down(deployment)
        while True:
            crew = self._crew_of(deployment, version, engine)
            usable = [one for one in crew.processes if one.usable]
            now = self._clock.monotonic()
            free = [one for one in usable if _has_room(one) and not _is_stuck(one, now)]
            if free:
                return min(free, key=_load)
            if len(usable) >= self._sizes.processes_per_crew:
                # All are full or do not listen. The least busy one takes it: who is that busy slows down.
                return min(usable, key=_load)
            await self._grow(crew)

    async def analyse(
        self,
        name: DeploymentName,
        bundle: Mapping[str, bytes],
        environment: Mapping[str, str],
        engine: Engine,
        packages: Path | None,
    ) -> Declaration:
        """What the modules of one language declare, learnt in a process that ends with it.

        Raises `PushRefused` with every reason why they do not load, `IsolateLost` when that ended the process.
        """
        process = await self._launch(Program(engine, name, packages))
        process.on_line = lambda line: self.on_line(name, line)
        try:
            return await _loaded(process, Load(dict(bundle), dict(environment), name, False))
        finally:
            process.end(RETIRED)

    def names(self) -> set[DeploymentName]:
        """Whose processes there are."""
        return {name for name, _, _ in self._crews}

    def stand_down(self, deployment: Deployment) -> None:
        """Let what it runs of another version, or with another environment, finish what it does, and end."""
        active = deployment.version.sha256 if deployment.version is not None else None
        for key, crew in list(self._crews.items()):
            if key[0] == deployment.name and (key[1] != active or not _suits(crew, deployment)):
                self._disband(key)

    def remove(self, name: DeploymentName) -> None:
        """End everything that runs for this deployment: it is deleted."""
        for key in [key for key in self._crews if key[0] == name]:
            for process in list(self._crews.pop(key).processes):
                process.end(RETIRED)

    def processes(self) -> Iterator[Isolate]:
        """Every process there is."""
        return iter(self._all)

    async def stop(self) -> None:
        """End every process, and return when all are gone."""
        for process in list(self._all):
            process.end(RETIRED)
        while self._background:
            await asyncio.wait(self._background)

    # --- crews --------------------------------------------------------------------------------------------------------

    def _crew_of(self, deployment: Deployment, version: Version, engine: Engine) -> Crew:
        key = (deployment.name, version.sha256, engine)
        crew = self._crews.get(key)
        if crew is not None and not _suits(crew, deployment):
            self._disband(key)
            crew = None
        if crew is None:
            crew = self._crews[key] = Crew(deployment, version, engine)
        return crew

    def _disband(self, key: tuple[DeploymentName, str, Engine]) -> None:
        for process in list(self._crews.pop(key).processes):
            process.retire()

    def forget_empty(self) -> None:
        """Let go of crews that nobody is left of."""
        for key, crew in list(self._crews.items()):
            if not crew.processes and (crew.starting is None or crew.starting.done()):
                del self._crews[key]

    # --- starting -----------------------------------------------------------------------------------------------------

    async def _grow(self, crew: Crew) -> None:
        if crew.starting is None or crew.starting.done():
            crew.starting = asyncio.ensure_future(self._start(crew))
            crew.starting.add_done_callback(_heard)
        # Shielded: whoever waits may give up, the others still want it.
        await asyncio.shield(crew.starting)

    async def _start(self, crew: Crew) -> Isolate:
        process = await self._launch_with_packages(crew)
        name, environment = crew.deployment.name, crew.deployment.environment
        process.on_line = lambda line: self.on_line(name, line)
        process.on_lost = lambda lost, reason: self._leave(crew, lost, reason)
        load = Load(dict(crew.version.bundle), dict(environment), name, False, checked=True)
        try:
            await _loaded(process, load)
            if process.lost is not None:
                raise IsolateLost(process.lost)
        except (IsolateLost, PushRefused) as error:
            process.end(RETIRED if isinstance(error, PushRefused) else "its bundle was not loaded")
            raise IsolateLost(f"the Node-style modules do not load any more: {error}") from None
        process.last_used = self._clock.monotonic()
        process.on_drained = self._drained
        if self._crews.get((crew.deployment.name, crew.version.sha256, crew.engine)) is crew:
            crew.processes.append(process)
        else:
            process.retiring = True  # meanwhile the crew was disbanded; who waits asks its successor
            process.end(RETIRED)
        return process

    async def _launch_with_packages(self, crew: Crew) -> Isolate:
        try:
            folders = await self._open_folders(crew.version.declaration.packages)
        except PushRefused as refused:
            raise IsolateLost(f"the packages cannot be installed any more: {refused}") from None
        path = folders.python if crew.engine is Engine.PYTHON else folders.node
        try:
            process = await self._launch(Program(crew.engine, crew.deployment.name, path))
        except BaseException:
            folders.close()
            raise
        self._keep(_close_with(process, folders))
        return process

    async def _launch(self, program: Program) -> Isolate:
        await self._make_room()
        self._launching += 1
        try:
            process = Isolate(await self._launcher.launch(program), self._clock.monotonic())
            self._all.add(process)
        finally:
            self._launching -= 1
        process.on_lost = lambda lost, reason: self._forget(program.deployment, lost, reason)
        self._keep(_watch_end(process))
        try:
            async with asyncio.timeout(limits.NODE_LOAD_TIME / 1000):
                await process.start()
        except TimeoutError:
            process.end("it did not say that it was ready")
            raise IsolateLost("a Node-style process did not say that it was ready") from None
        return process

    async def _make_room(self) -> None:
        try:
            async with asyncio.timeout(limits.PERMIT_WAIT / 1000):
                while len(self._all) + self._launching >= self._sizes.processes:
                    idle = [one for crew in self._crews.values() for one in crew.processes if not one.conversations]
                    if idle:
                        min(idle, key=lambda one: one.last_used).retire()
                        continue
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise Overloaded(f"all {self._sizes.processes} Node-style processes of this worker are busy") from None

    # --- leaving ------------------------------------------------------------------------------------------------------

    def _drained(self, process: Isolate) -> None:
        process.last_used = self._clock.monotonic()
        self._room.set()
        if process.retiring:
            process.end(RETIRED)

    def _leave(self, crew: Crew, process: Isolate, reason: str) -> None:
        if process in crew.processes:
            crew.processes.remove(process)
        self._forget(crew.deployment.name, process, reason)

    def _forget(self, name: DeploymentName, process: Isolate, reason: str) -> None:
        self._all.discard(process)
        self._room.set()
        self._keep(self._bury(name, process, reason))

    async def _bury(self, name: DeploymentName, process: Isolate, reason: str) -> None:
        status = await process.process.exit_status()
        words = _one_line(process.process.last_words()[-_WORDS:])
        process.process.close()
        if reason != RETIRED:
            self.on_lost(name, f"{reason} ({cause(process.process, status)})" + (f": {words}" if words else ""))

    def _keep(self, work: Coroutine[object, object, object]) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _watch_end(process: Isolate) -> None:
    # A child that it has left behind may hold its channel open.
    await process.process.exit_status()
    process.end("its process ended")


async def _close_with(process: Isolate, folders: Folders) -> None:
    await process.process.exit_status()
    folders.close()


async def _loaded(process: Isolate, load: Load) -> Declaration:
    try:
        async with asyncio.timeout(limits.NODE_LOAD_TIME / 1000):
            return await process.load(load)
    except TimeoutError:
        process.end("importing the bundle took too long")
        raise IsolateLost(f"importing the bundle took longer than {limits.NODE_LOAD_TIME} ms") from None


def _suits(crew: Crew, deployment: Deployment) -> bool:
    """Whether its processes see what the deployment is now."""
    of_crew = crew.deployment
    if of_crew is deployment:
        return True
    # Modules and packages have read the environment when they were imported, and a connection that stands was judged by
    # the policy of then.
    return of_crew.environment == deployment.environment and of_crew.egress == deployment.egress


def _load(process: Isolate) -> int:
    return len(process.conversations)


def _has_room(process: Isolate) -> bool:
    return _load(process) < limits.ISOLATE_CONVERSATIONS


def _is_stuck(process: Isolate, now: float) -> bool:
    return process.ping_pending and now - process.pinged_at > _STUCK


def _heard(starting: "asyncio.Future[Isolate]") -> None:
    # Whoever waited for it may have left; then nobody fetches the exception, and that is all right.
    if not starting.cancelled():
        starting.exception()


def _one_line(words: bytes) -> str:
    """A stranger's words, in one line that no terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in words.decode(errors="replace")).strip()


def cause(process: IsolateProcess, status: int) -> str:
    """How a process ended, in words."""
    if process.reason is not None:
        return process.reason
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
