"""Errands over a Redis that forgets to answer, or has no room."""

import asyncio
from pathlib import Path

import pytest

from runtime.adapters.queue.errands.calling import RedisErrands
from runtime.adapters.queue.knocking import Enqueuer
from runtime.errors import Overloaded
from runtime.invocation import Succeeded
from runtime.names import DeploymentName
from tests.contracts.test_errands import House, Local, echo, invocation
from tests.redis_servers import REAL, redis_server


class Forgetful:
    """Stands between a client and Redis, and loses every answer to a transaction."""

    def __init__(self, redis: str, here: Path) -> None:
        self._redis, self._here = redis.removeprefix("unix://"), str(here)
        self.url = f"unix://{here}"
        self.lost = 0

    async def start(self) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_unix_server(self._serve, self._here)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onwards = await asyncio.open_unix_connection(self._redis)
        try:
            while asked := await reader.read(65_536):
                onwards.write(asked)
                answer = await there.read(65_536)
                if b"EXEC" in asked:
                    self.lost += 1
                    return
                writer.write(answer)
        finally:
            for each in (writer, onwards):
                each.close()


@pytest.mark.parametrize("kind", REAL)
async def test_a_call_that_was_sent_and_not_acknowledged_may_be_running(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        house = House(server)
        between = Forgetful(server.url, tmp_path / "between.sock")
        listening = await between.start()
        enqueuer = Enqueuer(between.url)
        errands = RedisErrands(server.url, enqueuer, glance=0.1, patience=0.5)
        await errands.start()
        local = Local(echo)
        house.work(local)
        assert await errands.run(invocation()) == Succeeded(b"\x80", ("a line",))
        assert (len(local.calls), between.lost > 0) == (1, True)
        await errands.close()
        await enqueuer.close()
        listening.close()
        await house.close()


@pytest.mark.parametrize("kind", REAL)
async def test_calls_that_fill_the_queue_are_refused_at_once_and_keep_no_knock_away(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        house = House(server)
        await house.errands.start()
        asking = asyncio.create_task(house.errands.run(invocation()))
        desk = house.desk()
        taken = await desk.take(await house.queued())
        assert taken is not None and await desk.hold(taken)
        house.client.set("ballast", bytes(20_000_000))
        house.client.config_set("maxmemory", int(house.client.info("memory")["used_memory"]) * 5 // 4)
        with pytest.raises(Overloaded, match="is full"):
            await house.errands.run(invocation())
        await house.enqueuer.knock([DeploymentName("a")])
        house.client.config_set("maxmemory", 1)
        with pytest.raises(Overloaded, match="refuses"):
            await house.enqueuer.knock([DeploymentName("b")])
        assert await desk.hold(taken)
        await desk.answer(taken, Succeeded(b"\x01"))
        assert await asking == Succeeded(b"\x01")
        await house.close()
