"""What is forgotten by and by?

The outcomes of sync clients' mutations are kept for two weeks (`syscalls/settling/tickets.py`). Every hour those that
are older are removed, in the deployments that somebody attends; the others gain none. So are contents of files that
nobody can find (`syscalls/storage/shelf.py`).

Rules
1. A sweep that meets a conflict, or a database that is busy, is over for this hour.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from runtime.errors import WarrenError
from runtime.names import DeploymentName
from runtime.ports import FilesUnavailable
from runtime.syscalls.settling.tickets import sweep
from runtime.syscalls.storage.shelf import Shelf
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


async def remove_lost_contents(shelf: Shelf, exists: Callable[[DeploymentName], Awaitable[bool]]) -> None:
    """Sweep now and every hour, until cancelled."""
    while True:
        await sweep_contents(shelf, exists)
        await asyncio.sleep(_EVERY)


async def sweep_contents(shelf: Shelf, exists: Callable[[DeploymentName], Awaitable[bool]]) -> None:
    """Remove the contents that no metadata name, of every deployment."""
    try:
        for name in await shelf.names():
            removed = await shelf.sweep(name, await exists(name))
            if removed:
                log.info("%d contents of %s had no metadata and were removed", removed, name)
    except (WarrenError, FilesUnavailable) as error:
        log.warning("contents without metadata stay for an hour more: %s", error)
