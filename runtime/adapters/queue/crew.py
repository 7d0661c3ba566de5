"""Who does the work of a queue? Threads, each with a worker of RQ's own that neither forks nor listens to signals.

A job carries an id. Its function hands the id to the process's event loop, where the work is done, and the thread
waits: a thread is a permit. RQ keeps its registries, its heartbeats and its queues; what it does for jobs in processes
of their own (commands, time-outs, a row of states) is left out, because every step is a round trip.

Rules
1. What is done here never raises: whoever does it has said in the log what went wrong.
2. A job that runs is marked for eight seconds at a time, so that of a worker that died nothing is met after a claim
   has ended. What remains of it in RQ's registries is swept away.
3. ``finish`` is called when RQ has forgotten the job: then the same id may be enqueued again.
4. Redis may be away, slow or empty at any moment: a thread begins anew, ever more seldom, and says so once.
5. `stop` takes nothing new and wakes who waits. Who still works after its time is cancelled.
6. Whoever can write to Redis can have deployments looked at, and nothing else: of a job two names of functions and one
   id mean something here. RQ itself would import and call whatever a job names.
"""

import asyncio
import concurrent.futures
import itertools
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any

import redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker_registration import clean_worker_registry

from runtime.adapters.queue.connecting import thread_client
from runtime.adapters.queue.knocking import ERRAND, SHIFT, rq_queue

log = logging.getLogger("warren.queue")

Work = Callable[[str], Coroutine[Any, Any, None]]

_LEASE = 8  # seconds that a running job is believed to run; less than a claim, so that a dead one is not met again
_RENEW = 2.0
_SEEN = 1_000  # seconds that RQ's registries show a running job; as long as anything may take
_HEARTBEAT = 30.0
_WORKER_LASTS = 90  # seconds that RQ shows a worker without a heartbeat
_WAIT = 20  # seconds for one blocking look at the queue
_MAINTENANCE = 60  # seconds
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 5.0
_WENT_WELL = 30.0  # seconds after which a failure is the first one again
_WAKE_EVERY = 0.05
_CANCELLED = 5.0

# What is read of a job. Not: callbacks, web hooks, repetitions, retries, who depends on it.
_FIELDS = frozenset(
    {
        *(b"data", b"origin", b"description", b"status", b"worker_name", b"timeout", b"ttl", b"result_ttl"),
        *(b"failure_ttl", b"created_at", b"enqueued_at", b"started_at", b"last_heartbeat"),
    }
)
_LONGEST = 4_096

_bridge: ContextVar[Callable[[str], None]] = ContextVar("bridge")


def shift(name: str) -> None:
    """The job of a knock."""
    _bridge.get()(name)


def errand(id: str) -> None:
    """The job of an errand."""
    _bridge.get()(id)


class _Asked(Job):
    """A job as it may be asked for here."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Read what Redis has of it, as far as it means anything; what is packed there unfolds to a few MiB at most."""
        if len(raw_data.get(b"data", b"")) > _LONGEST:
            raise NotOurs(f"it carries more than {_LONGEST} bytes")
        super().restore({field: content for field, content in raw_data.items() if field in _FIELDS})

    def perform(self) -> Any:
        """Do it, if it is one of ours."""
        id = self.args[0] if len(self.args) == 1 else None
        if self.func_name not in (SHIFT, ERRAND) or type(id) is not str or self.instance or self.kwargs:
            raise NotOurs(f"it asks for {str(self.func_name)[:80]!r}")
        return super().perform()


class NotOurs(Exception):
    """A job that nobody here has enqueued."""


class _NoPenalty(BaseDeathPenalty):
    """Time is enforced where the work is done; signals belong to the process."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class Crew:
    """Threads for one queue. Made, started and stopped on the loop that does their ``work``."""

    def __init__(self, url: str, queue: str, threads: int, work: Work, finish: Work | None = None) -> None:
        self._url, self._queue, self._work, self._finish = url, queue, work, finish
        self._loop = asyncio.get_running_loop()
        self._numbers = range(threads)
        self._leaving = threading.Event()
        self._at_work: dict[int, concurrent.futures.Future[None]] = {}
        self._hands: dict[int, _Hand] = {}
        self._threads: list[threading.Thread] = []
        self._in_trouble = False  # one word for all threads: said when it changes
        _quieten()

    def start(self) -> None:
        """Begin to take jobs."""
        self._threads = [
            threading.Thread(target=self._live, args=(number,), name=f"{self._queue}-{number}", daemon=True)
            for number in self._numbers
        ]
        for thread in self._threads:
            thread.start()

    async def stop(self, seconds: float) -> None:
        """Take nothing new; return when everybody is done, or was cancelled after ``seconds``."""
        self._leaving.set()
        client = thread_client(self._url, tries=0, answer=1.0)
        try:
            if await self._all_left(client, seconds):
                return
            log.warning("%s: what still runs is cancelled, the time to finish is over", self._queue)
            if not await self._all_left(client, _CANCELLED, cancel=True):
                log.warning("%s: a thread does not end; it is left behind", self._queue)
        finally:
            client.close()

    async def _all_left(self, client: "redis.Redis", seconds: float, cancel: bool = False) -> bool:
        end = self._loop.time() + seconds
        while any(thread.is_alive() for thread in self._threads):
            if self._loop.time() >= end:
                return False
            if cancel:
                for future in list(self._at_work.values()):
                    future.cancel()
            await asyncio.to_thread(_wake, list(self._hands.values()), client)
            await asyncio.sleep(_WAKE_EVERY)
        return True

    def _live(self, number: int) -> None:
        """What a thread does until it is told to leave."""
        _bridge.set(lambda id: self._do(number, id))
        delay = _FIRST_DELAY
        while not self._leaving.is_set():
            client, born = thread_client(self._url, tries=0, answer=_WAIT + 10), time.monotonic()
            try:
                hand = self._hands[number] = _Hand(rq_queue(self._queue, client), client, self._leaving, self._after)
                hand.serve(self._all_is_well)
            except (RedisError, OSError) as error:
                if not self._in_trouble:
                    self._in_trouble = True
                    log.warning("%s: Redis cannot be reached (%s), trying again", self._queue, type(error).__name__)
            except Exception:
                log.exception("%s: a worker failed and begins anew", self._queue)
            finally:
                self._hands.pop(number, None)
                client.close()
            if time.monotonic() - born > _WENT_WELL:
                delay = _FIRST_DELAY
            self._leaving.wait(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    def _all_is_well(self) -> None:
        if self._in_trouble:
            self._in_trouble = False
            log.warning("%s: Redis answers again", self._queue)

    def _do(self, number: int, id: str) -> None:
        """Have the loop do the work of one id, and wait."""
        future = asyncio.run_coroutine_threadsafe(self._work(id), self._loop)
        self._at_work[number] = future
        hand = self._hands[number]
        try:
            while True:
                try:
                    future.result(_RENEW)
                    return
                except concurrent.futures.CancelledError:
                    return
                except TimeoutError:
                    if future.done():
                        raise
                    hand.still_at_it()
        finally:
            self._at_work.pop(number, None)

    def _after(self, id: str) -> None:
        if self._finish is not None:
            asyncio.run_coroutine_threadsafe(self._finish(id), self._loop).result()


_births = itertools.count(1)


class _Hand(SimpleWorker):
    """One registration of one thread with RQ."""

    death_penalty_class = _NoPenalty

    def __init__(
        self, queue: Queue, client: "redis.Redis", leaving: threading.Event, after: Callable[[str], None]
    ) -> None:
        name = f"warren-{socket.gethostname()}-{os.getpid()}-{next(_births)}-{secrets.token_hex(4)}"
        super().__init__(
            [queue],
            name=name,
            connection=client,
            worker_ttl=_WORKER_LASTS - 60,  # RQ adds a minute
            serializer=JSONSerializer,
        )
        self._leaving, self._after = leaving, after
        self._beaten = self._tidied = -math.inf
        self._job_key = ""
        self.connection_id = 0
        self.waits = False

    def serve(self, all_is_well: Callable[[], None]) -> None:
        """Take jobs and do them until it is time to leave, or Redis is."""
        registered: Any = self  # RQ's own methods say no types
        self.connection_id = self.connection.client_id()
        registered.register_birth()
        all_is_well()
        try:
            while not self._leaving.is_set():
                if time.monotonic() - self._tidied > _MAINTENANCE:
                    self._tidy()
                self.heartbeat()
                job = self._next()
                if job is not None:
                    self.execute_job(job, self.queues[0])
        finally:
            registered.register_death()

    def _tidy(self) -> None:
        """Forget what workers left that died: their registrations, what they ran, what they had just taken."""
        queue: Any = self.queues[0]  # RQ's own methods say no types
        if queue.acquire_maintenance_lock():
            # Not by RQ's own hand: it would take the next knock of a deployment for the one that died, and fail it.
            self.connection.zremrangebyscore(queue.started_job_registry.key, "-inf", time.time())
            self.connection.delete(queue.intermediate_queue_key)
            queue.failed_job_registry.cleanup()
            clean_worker_registry(queue)
            queue.release_maintenance_lock()
        self._tidied = time.monotonic()

    def _next(self) -> Job | None:
        self.waits = True
        try:
            found = Queue.dequeue_any(
                self.queues, _WAIT, connection=self.connection, job_class=_Asked, serializer=self.serializer
            )
        except DequeueTimeout:
            return None
        finally:
            self.waits = False
        if found is None:
            return None
        job: Job = found[0]
        return job

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Do one job, and tell when RQ has forgotten it."""
        try:
            super().execute_job(job, queue)
        finally:
            self._after(job.id)

    def still_at_it(self) -> None:
        """The job runs on: keep its mark, and ours."""
        try:
            self.heartbeat(_WORKER_LASTS)
            self.connection.expire(self._job_key, _LEASE)
        except (RedisError, OSError):
            log.info("a job runs on while Redis cannot be reached")

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """Mark the job as running, for as long as a worker that lives renews it."""
        self._job_key = job.key
        with self.connection.pipeline() as pipe:
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.expire(job.key, _LEASE)
            pipe.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            pipe.execute()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Be seen by RQ, seldom."""
        now = time.monotonic()
        if timeout is not None or now - self._beaten >= _HEARTBEAT:
            self._beaten = now
            super().heartbeat(timeout, pipeline)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Remember the state, and tell nobody: it would be two round trips a job."""
        self._state = state

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """How long RQ's registries show a running job."""
        return _SEEN

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Something went wrong around a job; its work itself never raises."""
        if not isinstance(exc_info[1], (RedisError, OSError)):
            log.error("the job %r failed", job.id, exc_info=exc_info)


def _wake(hands: "list[_Hand]", client: "redis.Redis") -> None:
    try:
        for hand in hands:
            if hand.waits:
                client.client_unblock(hand.connection_id)
    except (RedisError, OSError):
        # Nobody waits for a Redis that is away for longer than it takes to notice.
        return


def _quieten() -> None:
    """RQ tells of every job. What matters is said here."""
    for name in ("rq.worker", "rq.queue", "rq.job", "rq.registry", "rq.scripts", "rq.executions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
