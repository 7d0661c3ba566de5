"""A server on a port of its own, in the loop of the test that asks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[int]:
    """Serve what is configured at its port, which is told (0 means any), and end when the test does."""
    server = uvicorn.Server(config)
    done = asyncio.create_task(server._serve())  # `serve` would take the signals, which are the test runner's
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await done
