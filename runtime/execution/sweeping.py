"""What is forgotten by and by?

The outcomes of sync clients' mutations are kept for two weeks (`syscalls/settling/tickets.py`). Every hour those that
are older are removed, in the deployments that somebody attends; the others gain none.

Rules
1. A sweep that meets a conflict, or a database that is busy, is over for this hour.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from runtime.errors import WarrenError
from runtime.names import DeploymentName
from runtime.syscalls.settling.tickets import sweep
from runtime.syscalls.transaction import Transactions

log = logging.getLogger("warren")

_EVERY = 3_600.0  # seconds


async def forget_old_tickets(transactions: Transactions, names: Callable[[], Iterable[DeploymentName]]) -> None:
    """Sweep every hour, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY)
        for name in tuple(names()):
            try:
                while await sweep(transactions, name):
                    pass
            except WarrenError as error:
                log.info("old tickets of %s stay for an hour more: %s", name, error)
