"""What is a process's end of the queue made of? For the composition roots."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from runtime.adapters.queue.agenda import RedisAgenda
from runtime.adapters.queue.connecting import loop_client, reaching, where
from runtime.adapters.queue.embedding import EmbeddedRedis, log
from runtime.adapters.queue.errands.calling import RedisErrands
from runtime.adapters.queue.knocking import Enqueuer
from runtime.errors import Overloaded


@dataclass(frozen=True, slots=True)
class Queue:
    """What notes, asks and enqueues. ``url`` is the Redis, for whoever works for it too."""

    url: str
    agenda: RedisAgenda
    errands: RedisErrands
    enqueuer: Enqueuer
    probe: "redis.asyncio.Redis"

    async def trouble(self) -> str | None:
        """Why the queue cannot be reached at this moment, or ``None``."""
        try:
            with reaching():
                await self.probe.ping()
        except Overloaded as error:
            return str(error)
        return None


@asynccontextmanager
async def open_queue(url: str | None, data: Path) -> AsyncIterator[Queue]:
    """The queue at ``url``, reachable or not; without one an embedded one, kept under ``data``."""
    async with AsyncExitStack() as stack:
        if url is None:
            embedded = EmbeddedRedis(data)
            stack.push_async_callback(embedded.stop)
            await embedded.start()
            url = embedded.url
        else:
            log.info("the queue is the Redis at %s", where(url))
        enqueuer = Enqueuer(url)
        stack.push_async_callback(enqueuer.close)
        agenda = RedisAgenda(url)
        stack.push_async_callback(agenda.close)
        await agenda.start()
        errands = RedisErrands(url, enqueuer)
        stack.push_async_callback(errands.close)
        await errands.start()
        probe = loop_client(url, 2.0)
        stack.push_async_callback(probe.aclose)
        yield Queue(url, agenda, errands, enqueuer, probe)
