"""Threads that answer knocks, on every Redis server that there may be."""

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rq import Callback, Repeat, Retry

from runtime.adapters.queue.connecting import KNOCK_QUEUE, thread_client
from runtime.adapters.queue.crew import Crew, Work
from runtime.adapters.queue.embedding import EmbeddedRedis
from runtime.adapters.queue.knocking import SHIFT, Enqueuer, rq_queue
from runtime.names import DeploymentName
from tests.redis_servers import REAL, SERVERS, redis_server, soon


class House:
    """A Redis server, and whoever knocks."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server
        self.enqueuer = Enqueuer(server.url)
        self.client = thread_client(server.url)

    async def knock(self, *names: str) -> None:
        """Knock for each of them."""
        await self.enqueuer.knock([DeploymentName(name) for name in names])

    def crew(self, work: Work, finish: Work | None = None, threads: int = 2) -> Crew:
        """Threads that have begun."""
        crew = Crew(self.server.url, KNOCK_QUEUE, threads, work, finish)
        crew.start()
        return crew

    def left(self) -> list[str]:
        """What RQ has not forgotten, its list of queues and workers' last words apart."""
        keys = [key.decode() for key in self.client.scan_iter()]
        return [key for key in keys if key != "rq:queues" and not key.startswith("rq:worker:")]

    async def close(self) -> None:
        """Let go."""
        await self.enqueuer.close()
        self.client.close()


@pytest.fixture(params=SERVERS)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A queue on each kind of server."""
    async with redis_server(request.param, tmp_path) as server:
        made = House(server)
        yield made
        await made.close()


class Done:
    """Work that writes down what it did, and an event for when it was enough."""

    def __init__(self, enough: int) -> None:
        self.ids: list[str] = []
        self.finished: list[str] = []
        self.enough, self._enough = asyncio.Event(), enough

    async def work(self, id: str) -> None:
        """Do it."""
        self.ids.append(id)

    async def finish(self, id: str) -> None:
        """It is forgotten by the queue."""
        self.finished.append(id)
        if len(self.finished) >= self._enough:
            self.enough.set()


async def test_every_knock_is_answered_and_nothing_of_it_is_left(house: House) -> None:
    done = Done(20)
    crew = house.crew(done.work, done.finish)
    names = [f"tenant-{number}" for number in range(20)]
    await house.knock(*names)
    await soon(done.enough)
    await crew.stop(5)
    assert sorted(done.ids) == sorted(done.finished) == sorted(names)
    assert house.left() == []


async def test_a_second_knock_while_the_first_waits_is_none(house: House) -> None:
    await house.knock("a", "b")
    await house.knock("a")
    done = Done(2)
    crew = house.crew(done.work, done.finish, threads=1)
    await soon(done.enough)
    await crew.stop(5)
    assert done.ids == ["a", "b"]


async def test_who_knocks_again_when_it_is_over_comes_behind_the_others(house: House) -> None:
    done = Done(4)

    async def finish(id: str) -> None:
        if id == "a" and done.ids.count("a") < 3:
            await house.knock("a")
        await done.finish(id)

    await house.knock("a", "b")
    crew = house.crew(done.work, finish, threads=1)
    await soon(done.enough)
    await crew.stop(5)
    assert done.ids == ["a", "b", "a", "a"]


async def test_who_leaves_finishes_what_runs_and_takes_nothing_new(house: House) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), Done(1)

    async def work(id: str) -> None:
        begun.set()
        await go_on.wait()
        await done.work(id)

    await house.knock("a", "b")
    crew = house.crew(work, done.finish, threads=1)
    await soon(begun)
    stopping = asyncio.create_task(crew.stop(20))
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert done.ids == done.finished == ["a"]
    assert house.client.llen(f"rq:queue:{KNOCK_QUEUE}") == 1


async def test_who_has_not_finished_in_time_is_cancelled(house: House) -> None:
    begun, cancelled, done = asyncio.Event(), [], Done(1)

    async def work(id: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(id)
            raise

    await house.knock("a")
    crew = house.crew(work, done.finish)
    await soon(begun)
    await crew.stop(0)
    assert cancelled == done.finished == ["a"]
    assert house.left() == []


async def test_a_knock_that_died_with_its_worker_before_it_began_is_put_back(house: House) -> None:
    await house.knock("a")
    house.client.delete(f"rq:queue:{KNOCK_QUEUE}")  # taken, and never heard of again
    await house.knock("a")
    done = Done(1)
    crew = house.crew(done.work, done.finish)
    await soon(done.enough)
    await crew.stop(5)
    assert done.ids == ["a"]


async def test_no_thread_is_left_of_a_crew_that_has_stopped(house: House) -> None:
    crew = house.crew(Done(1).work, threads=4)
    await crew.stop(5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(KNOCK_QUEUE)]


called: list[object] = []


def somebody_elses(*what: object, **more: object) -> None:
    """What no job may call."""
    called.append(what or more)


STRANGE = {
    "another function": (f"{__name__}.somebody_elses", ("a",), {}),
    "a function of the system": ("os.getenv", ("PATH",), {}),
    "no id": (SHIFT, (), {}),
    "two ids": (SHIFT, ("a", "b"), {}),
    "an id that is none": (SHIFT, ({"a": 1},), {}),
    "an id by name": (SHIFT, (), {"name": "a"}),
}


@pytest.mark.parametrize("strange", STRANGE)
async def test_what_stands_in_redis_has_nothing_called_but_ours(house: House, strange: str) -> None:
    called.clear()
    function, args, more = STRANGE[strange]
    rq_queue(KNOCK_QUEUE, house.client).enqueue_call(function, args, more, job_id="strange", failure_ttl=60)
    done = Done(2)
    crew = house.crew(done.work, done.finish, threads=1)
    await house.knock("mine")
    await soon(done.enough)
    await crew.stop(5)
    assert (done.ids, called) == (["mine"], [])


async def test_a_job_has_no_callbacks_repetitions_or_retries(house: House) -> None:
    called.clear()
    callback = Callback(somebody_elses)
    for name, args in (("good", ("good",)), ("bad", ())):
        rq_queue(KNOCK_QUEUE, house.client).enqueue_call(
            SHIFT, args, job_id=name, on_success=callback, on_failure=callback, repeat=Repeat(3), retry=Retry(3)
        )
    done = Done(3)
    crew = house.crew(done.work, done.finish, threads=1)
    await house.knock("mine")
    await soon(done.enough)
    await crew.stop(5)
    assert (done.ids, called) == (["good", "mine"], [])


async def test_a_job_that_cannot_be_read_is_left_behind(house: House) -> None:
    house.client.hset("rq:job:broken", mapping={"data": b"\xff\xfe", "created_at": "never", "timeout": "x"})
    house.client.hset("rq:job:unread", mapping={"data": b"\xff\xfe", "status": "queued"})
    house.client.hset("rq:job:bomb", mapping={"data": zlib.compress(bytes(100_000_000))})
    house.client.rpush(f"rq:queue:{KNOCK_QUEUE}", "bomb", "broken", b"\xff\xfe", "nothing", "unread")
    done = Done(1)
    crew = house.crew(done.work, done.finish, threads=1)
    await house.knock("mine")
    async with asyncio.timeout(20):
        while "mine" not in done.finished:
            await done.enough.wait()
            done.enough.clear()
    await crew.stop(5)
    assert done.ids == ["mine"]


@pytest.mark.parametrize("kind", REAL)
async def test_a_crew_survives_a_redis_that_dies_and_comes_back_empty(kind: str, tmp_path: Path) -> None:
    async with redis_server(kind, tmp_path) as server:
        house, done = House(server), Done(1)
        crew = house.crew(done.work, done.finish)
        await house.knock("a")
        await soon(done.enough)
        house.client.shutdown(nosave=True)
        done.enough.clear()
        async with asyncio.timeout(20):
            while not done.enough.is_set():
                try:
                    await house.knock("b")
                except Exception:  # away for a moment
                    await asyncio.sleep(0.02)
                else:
                    await soon(done.enough)
        await crew.stop(5)
        assert done.ids == ["a", "b"]
        await house.close()


async def test_a_crew_whose_redis_is_away_leaves_when_it_is_told(tmp_path: Path) -> None:
    crew = Crew(f"unix://{tmp_path}/nobody.sock", KNOCK_QUEUE, 2, Done(1).work)
    crew.start()
    async with asyncio.timeout(20):
        await crew.stop(5)
