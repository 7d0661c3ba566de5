"""Which layers of the lane's wall hold on this machine?

A program: ``python -m worker.lane.doctor`` prints as JSON what was found, for ``warren doctor``, which does not know
the worker. A worker itself asks its `Launcher` when it starts.
"""

import asyncio

import msgspec

from runtime.errors import OurMistake
from runtime.protocol.forking import Layer, Requirement
from worker.lane.launcher import Launcher


async def examine() -> tuple[Layer, ...]:
    """Try every layer of the lane's wall on this machine."""
    launcher = Launcher()
    try:
        await launcher.start()
        return launcher.report()
    except OurMistake as error:
        return launcher.report() or (Layer("lane", Requirement.MANDATORY, False, str(error)),)
    finally:
        await launcher.stop()


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(asyncio.run(examine()))).decode())
