"""Who may wait for time to pass?

The tenant's `asyncio` functions that make timers: theirs in actions, refused in queries, mutations and at import, where
the clock stands still and a run must be repeatable. Tasks, locks and queues need no timer and are the standard ones.

Rules
1. Refused means a RuntimeError that says which call has no timers and what to do.
2. ``sleep(0)`` and ``timeout=None`` set no timer and are allowed everywhere.
3. The work that was to be waited for is closed, not left to a warning about coroutines never awaited.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any

from runtime.protocol.declaration import Kind
from runtime.sdk.running import RUNNING


def _refuse_timer(what: str, *waiting: Any) -> None:
    running = RUNNING.get()
    if running is None or not running.deterministic:
        return
    for one in waiting:
        if asyncio.iscoroutine(one):
            one.close()
    raise RuntimeError(f"{what} is not available here: {_SUBJECTS[running.kind]} has no timers; use an action")


_SUBJECTS: Mapping[Kind | None, str] = {
    Kind.QUERY: "a query",
    Kind.MUTATION: "a mutation",
    Kind.ACTION: "an action",
    Kind.HTTP_ACTION: "an HTTP action",
    None: "the import of a module",
}


async def sleep(delay: float, result: Any = None) -> Any:
    """Wait so many seconds."""
    if delay > 0:
        _refuse_timer("asyncio.sleep")
    return await asyncio.sleep(delay, result)


async def wait_for(fut: Awaitable[Any], timeout: float | None) -> Any:
    """Wait for one thing, for so long at most."""
    if timeout is not None:
        _refuse_timer("asyncio.wait_for with a timeout", fut)
    return await asyncio.wait_for(fut, timeout)


async def wait(
    fs: Iterable[Any], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[Any], set[Any]]:
    """Wait for several things, for so long at most."""
    if timeout is not None:
        _refuse_timer("asyncio.wait with a timeout")
    done: tuple[set[Any], set[Any]] = await asyncio.wait(fs, timeout=timeout, return_when=return_when)
    return done


def timeout(delay: float | None) -> asyncio.Timeout:
    """Cancel the body of an ``async with`` after so many seconds."""
    if delay is not None:
        _refuse_timer("asyncio.timeout")
    return asyncio.timeout(delay)


def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Iterator[Any]:
    """Take results in the order in which they come."""
    things = list(fs)
    if timeout is not None:
        _refuse_timer("asyncio.as_completed with a timeout", *things)
    return iter(asyncio.as_completed(things, timeout=timeout))


ASYNCIO: Mapping[str, object] = {
    "sleep": sleep,
    "wait_for": wait_for,
    "wait": wait,
    "timeout": timeout,
    "as_completed": as_completed,
}
