"""Who waits while something large is converted?

Whoever sent or gets it, and nobody else: what takes as long as its size is done in a thread.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from runtime.invocation import Outcome, Succeeded
from runtime.protocol.weighing import SHORT

T = TypeVar("T")


async def aside(size: int, work: Callable[[], T]) -> T:
    """Do what takes as long as its ``size`` in bytes: at once when it is small, else where the loop need not wait."""
    return work() if size < SHORT else await asyncio.to_thread(work)


def weight(outcome: Outcome) -> int:
    """How many bytes of values an outcome holds."""
    return len(outcome.value if isinstance(outcome, Succeeded) else outcome.failure.data or b"")
