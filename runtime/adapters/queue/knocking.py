"""How is a worker's thread woken? By RQ jobs that carry one id and nothing else.

RQ finds a job's function by its name; the names of ours stand in `crew.py`, which runs them.

Rules
1. Nothing of a tenant is in an RQ job, and nothing is left of one that is over: no result, no retry, no schedule.
2. The id of a knock is its deployment's name, so that RQ itself refuses a second one while the first waits or runs. One
   that is refused may be a dead worker's, popped and never begun: then it is put back.
3. RQ's calls wait for Redis, so they are made in a thread of this page.
4. An errand that was sent and not acknowledged may be run by now: that is `Unsure`, and never the same as not sent.
5. Arguments that wait for a worker never fill Redis: everybody's knocks have to fit.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import redis
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from runtime.adapters.queue.connecting import ERRAND_QUEUE, KNOCK_QUEUE, errand_key, reaching, thread_client
from runtime.errors import Overloaded
from runtime.names import DeploymentName

T = TypeVar("T")

SHIFT = "runtime.adapters.queue.crew.shift"
ERRAND = "runtime.adapters.queue.crew.errand"
# A knock that has waited longer than this is forgotten with its place, and knocked anew when its claim ends.
_KNOCK_LASTS = 3_600  # seconds
_KEPT: dict[str, Any] = {"result_ttl": 0, "failure_ttl": 60, "timeout": -1}


class Unsure(Overloaded):
    """The queue may have heard it or not."""


class Enqueuer:
    """RQ's queues, as whoever enqueues sees them."""

    def __init__(self, url: str) -> None:
        self._client = thread_client(url)
        self._knocks = rq_queue(KNOCK_QUEUE, self._client)
        self._errands = rq_queue(ERRAND_QUEUE, self._client)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="enqueue")

    async def knock(self, names: Sequence[DeploymentName]) -> None:
        """Have a shift done for each, behind everybody who waits already."""

        def enqueue() -> None:
            for name in names:
                self._knock(name)

        await self._do(enqueue)

    async def errand(self, id: str, fields: Mapping[str, str | bytes], lasts: int) -> None:
        """Have an errand done; its ``fields``, where it does not lie yet, are written in the same step as its job.

        Raises `Unsure` when it was sent and nobody said that it has come.
        """

        def enqueue() -> None:
            self._insist_on_room()  # what fails here was not sent
            try:
                with self._client.pipeline() as pipe:
                    # A name of its own: RQ forgets a job only when it is over, and an errand may be put back before.
                    self._errands.enqueue_call(ERRAND, (id,), description=id, ttl=lasts, pipeline=pipe, **_KEPT)
                    if fields:
                        for field, content in fields.items():
                            pipe.hset(errand_key(id), field, content)
                        pipe.expire(errand_key(id), lasts)
                    pipe.execute()
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                raise Unsure(f"the queue has not acknowledged a call ({type(error).__name__})") from error

        await self._do(enqueue)

    async def close(self) -> None:
        """Let go of the threads and the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    def _insist_on_room(self) -> None:
        """Leave the last quarter of Redis's memory to knocks, leases and answers."""
        try:
            memory = self._client.info("memory")
        except redis.ResponseError:
            return  # one that does not tell
        if int(memory.get("used_memory", 0)) > int(memory.get("maxmemory", 0)) * 3 // 4 > 0:
            raise Overloaded("the queue is full: too many calls of Node-style actions wait; try again")

    def _knock(self, name: DeploymentName) -> None:
        for _ in range(2):
            try:
                self._knocks.enqueue_call(
                    SHIFT, (name,), job_id=name, description=name, ttl=_KNOCK_LASTS, unique=True, **_KEPT
                )
            except DuplicateJobError:
                if not self._is_stranded(name):
                    return
                Job(name, connection=self._client, serializer=JSONSerializer).delete()
            else:
                return

    def _is_stranded(self, name: DeploymentName) -> bool:
        """Whether a knock is said to wait and does not: its worker died between taking it and beginning."""
        status = self._client.hget(Job.key_for(name), "status")
        return status == b"queued" and self._client.lpos(self._knocks.key, name) is None

    async def _do(self, work: Callable[[], T]) -> T:
        with reaching():
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def rq_queue(name: str, client: "redis.Redis") -> Queue:
    """One of our queues."""
    return Queue(name, connection=client, serializer=JSONSerializer, default_timeout=-1)
