"""Which connections wait to be used again?

Rules
1. A connection waits under the name of the deployment and the destination it was made for, and under no other.
2. It waits for a few seconds: longer than that, servers begin to close what we would send into.
3. There are `_WAITING` at most; the one that waited longest is closed for another.
"""

import asyncio
from collections import OrderedDict

import httpcore

from runtime.adapters.outbound.guard import Guard
from runtime.names import DeploymentName

Key = tuple[DeploymentName, str, str, int]

_WAITING = 64
_SECONDS = 4.0


class Line:
    """One connection, and the guard that made it."""

    def __init__(self, connection: httpcore.AsyncHTTPConnection, guard: Guard) -> None:
        self.connection = connection
        self.meter = guard.meter
        self._guard = guard

    async def close(self) -> None:
        """Close it, however far it had come."""
        await self.connection.aclose()
        await self._guard.close()


class Idle:
    """Connections that nobody uses at the moment."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Line, tuple[Key, asyncio.TimerHandle]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, key: Key) -> Line | None:
        """One that was made for this, if there is one that still stands."""
        for line, (made_for, timer) in reversed(self._waiting.items()):
            if made_for == key:
                timer.cancel()
                del self._waiting[line]
                if not line.connection.has_expired():
                    return line
                self._close_aside(line)
                break
        return None

    def give(self, key: Key, line: Line) -> None:
        """Keep it for a moment, if another request can be sent over it."""
        if not line.connection.is_idle():
            return
        if len(self._waiting) >= _WAITING:
            oldest, (_, timer) = self._waiting.popitem(last=False)
            timer.cancel()
            self._close_aside(oldest)
        self._waiting[line] = (key, asyncio.get_running_loop().call_later(_SECONDS, self._too_old, line))

    async def close_unless_kept(self, line: Line) -> None:
        """Close it, if it was not given."""
        if line not in self._waiting:
            await line.close()

    async def close(self) -> None:
        """Close all of them."""
        while self._waiting:
            line, (_, timer) = self._waiting.popitem()
            timer.cancel()
            await line.close()
        await asyncio.gather(*self._closing)

    def _too_old(self, line: Line) -> None:
        del self._waiting[line]
        self._close_aside(line)

    def _close_aside(self, line: Line) -> None:
        task = asyncio.get_running_loop().create_task(line.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
