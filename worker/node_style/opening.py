"""What do Node-style actions need to run in this process?

Puts crews, keeper and runner together for whoever composes a worker, and sends what processes say of themselves to the
logs of their deployments.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runtime.names import DeploymentName
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.messages import Level, Line
from worker.node_style.crews import Crews, Sizes
from worker.node_style.keeping import Keeper
from worker.node_style.node_style import Converse, NodeStyle
from worker.node_style.programs import Launcher, OpenFolders

log = logging.getLogger("warren.worker")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker gives: who starts processes, where packages are, how many processes, the logs and the time."""

    launcher: Launcher
    open_folders: OpenFolders
    sizes: Sizes
    logs: Logs
    clock: Clock


@asynccontextmanager
async def open_node_style(needs: Needs, converse: Converse) -> AsyncIterator[NodeStyle]:
    """Node-style actions, until the end of the context: then every process of theirs is ended."""
    logs, clock = needs.logs, needs.clock

    def on_line(name: DeploymentName, line: Line) -> None:
        logs.write(name, LogEntry(clock.now(), line.level, line.text))

    def on_lost(name: DeploymentName, reason: str) -> None:
        log.warning("a Node-style process of %s ended: %s", name, reason)
        logs.write(
            name, LogEntry(clock.now(), Level.ERROR, f"the process that ran your Node-style code ended: {reason}")
        )

    crews = Crews(needs.launcher, needs.open_folders, needs.sizes, clock)
    crews.on_line, crews.on_lost = on_line, on_lost
    keeping = asyncio.get_running_loop().create_task(Keeper(crews, clock).run())
    try:
        yield NodeStyle(crews, converse)
    finally:
        keeping.cancel()
        await crews.stop()
