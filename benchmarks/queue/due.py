"""``python -m benchmarks.queue.due DATA NAME ROUNDS``: how long does the scheduler take to find what is due?

A process of its own on the files of a server that has ended, with the server's own code. Prints the milliseconds of
each round as JSON, the first one with nothing read from the disk before.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from runtime import limits
from runtime.adapters.queue.memory_agenda import MemoryAgenda
from runtime.execution.jobs.jobs import Jobs
from runtime.invocation import Invocation, Outcome
from runtime.main import SystemClock, open_cellar
from runtime.names import DeploymentName
from runtime.settings import read_settings
from runtime.syscalls.scheduling.duties import Pile, due
from runtime.syscalls.settling.settlement import Settlement
from runtime.syscalls.transaction import Transactions


class _Nobody:
    """Whoever looks for what is due, and runs nothing."""

    async def settle(self, invocation: Invocation, settlement: Settlement | None) -> Outcome:
        raise AssertionError("nothing is run by who only looks")


async def look(data: Path, name: DeploymentName, rounds: int) -> list[float]:
    """Milliseconds to find when to look next, and what a shift would begin."""
    clock = SystemClock()
    times = []
    settings = read_settings(None, {"WARREN_ADMIN_KEY": "k" * 32, "WARREN_DATA": str(data)})
    async with open_cellar(settings, clock) as cellar:
        transactions = Transactions(cellar.documents, clock)
        jobs = Jobs(cellar.registry.deployments.load, _Nobody(), transactions, MemoryAgenda(), cellar.logs, clock)
        await cellar.registry.deployments.load(name)
        for _ in range(rounds):
            began = time.perf_counter()
            assert await jobs.next(name) is not None
            transaction = await transactions.begin(name)
            for pile in Pile:
                await transaction.records(due(pile, clock.now()), int(limits.SHIFT_FUNCTIONS))
            transaction.abandon()
            times.append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    print(json.dumps(asyncio.run(look(Path(sys.argv[1]), DeploymentName(sys.argv[2]), int(sys.argv[3])))))
