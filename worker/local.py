"""What does a process need to do errands itself?

The launcher of lanes, the folders of packages, the crews of Node-style processes, and what analyses them, put together
for whoever composes a worker. Where the wall of a lane cannot stand there is none of it, and the log says why.

Rules
1. What is started is stopped in reverse. Processes end before the launcher, and their scratch folders after them.
2. A Node-style action that calls another one has it run here: through the queue it could wait for the place it holds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from runtime.egress.policy import EgressPolicy
from runtime.egress.rules import Rules
from runtime.errors import SandboxUnavailable, WarrenError
from runtime.invocation import Invocation, Outcome
from runtime.isolates.isolate import Isolate
from runtime.main import Router
from runtime.names import DeploymentName
from runtime.ports import LogEntry
from runtime.protocol.messages import Level
from runtime.settings import package_variables
from worker.analysis import Analysis, LocalErrands
from worker.lane.judging import Judge
from worker.lane.launcher import Launcher
from worker.node_style.confined import ConfinedLauncher, JudgeOf
from worker.node_style.crews import Crews, Sizes
from worker.node_style.egress import PolicyJudge
from worker.node_style.opening import Needs, open_node_style
from worker.node_style.scratch import ScratchFolders
from worker.packages.folders import PackageFolders
from worker.packages.shelf import Shelf
from worker.packages.tools import Tools

log = logging.getLogger("warren.worker")

_MIB = 1024 * 1024


@asynccontextmanager
async def open_local(router: Router) -> AsyncIterator[LocalErrands | None]:
    """Whoever does errands in this process, until the end of the context; ``None`` where no lane can be had."""
    async with AsyncExitStack() as stack:
        launcher = Launcher()
        stack.push_async_callback(launcher.stop)
        try:
            await launcher.start()
        except SandboxUnavailable as error:
            log.error("this worker runs no Node-style modules: %s", error)
            yield None
            return
        yield await _open(router, launcher, stack)


async def _open(router: Router, launcher: Launcher, stack: AsyncExitStack) -> LocalErrands:
    settings = router.settings
    data = settings.data.resolve()
    tools = Tools(package_variables())
    folders = PackageFolders(tools, Shelf(data / "packages", settings.package_space * _MIB))
    scratch = await asyncio.to_thread(ScratchFolders, data / "scratch")
    stack.callback(scratch.close)
    confined = ConfinedLauncher(launcher.launch, _judges(router), scratch, tools.node)
    stack.push_async_callback(confined.stop)

    async def converse(invocation: Invocation, process: Isolate, seconds: float) -> Outcome:
        return await conductor.converse(invocation, process, seconds)

    sizes = Sizes(settings.node_processes, settings.node_processes_per_version)
    needs = Needs(confined, folders.open, sizes, router.cellar.logs, router.clock)
    node_style = await stack.enter_async_context(open_node_style(needs, converse))
    local = LocalErrands(node_style.run, Analysis(folders, node_style.crews, router.directory.find))
    conductor = router.conductor_with(local)
    stack.callback(_follow(router, node_style.crews))
    return local


def _follow(router: Router, crews: Crews) -> Callable[[], None]:
    """End what a deployment does not run any more as soon as it is known; what is returned stops that."""
    looking: set[asyncio.Task[None]] = set()

    async def look(name: DeploymentName) -> None:
        # Else its next call finds out, or its processes are idle some day.
        with suppress(WarrenError):
            deployment = await router.directory.find(name)
            if deployment is None:
                crews.remove(name)
            else:
                crews.stand_down(deployment)

    def changed(name: DeploymentName | None) -> None:
        for each in crews.names() if name is None else crews.names() & {name}:
            task = asyncio.get_running_loop().create_task(look(each))
            looking.add(task)
            task.add_done_callback(looking.discard)

    router.directory.listeners.append(changed)
    return lambda: router.directory.listeners.remove(changed)


def _judges(router: Router) -> JudgeOf:
    rules = Rules(router.settings.egress_allow, own_ports=router.settings.own_ports())

    def judge_of(name: DeploymentName) -> Judge:
        def policy() -> EgressPolicy | None:
            deployment = router.directory.known(name)
            return None if deployment is None else deployment.egress

        def say(reason: str) -> None:
            router.cellar.logs.write(name, LogEntry(router.clock.now(), Level.WARN, reason))

        return PolicyJudge(rules, policy, say)

    return judge_of
