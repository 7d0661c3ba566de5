"""How do we speak to Redis, and what stands there under which name?

Clients for a loop and clients for a thread, with the same manners: short waits, one try more on a connection that was
lost, no exception of the library outside this room.

Rules
1. An address holds a password: it is never logged and never in a message. `where` is what may be said of it.
2. Two installations that share a Redis server have a database number each (``redis://host/1``).
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry
from redis.exceptions import RedisError

from runtime.errors import Overloaded

log = logging.getLogger("warren.queue")

AGENDA = "warren:agenda"  # sorted set: deployment → the next moment to look at it
CLAIMS = "warren:claims"  # sorted set: deployment → when the claim of a worker ends
AGAIN = "warren:again"  # set: who became due while claimed
WAKE = "warren:wake"  # list of one: something is due before everything else
MARK = "warren:mark"  # there as long as this Redis remembers
SWEEP = "warren:sweep"  # there while nobody has to sweep
KNOCK_QUEUE = "warren-knocks"
ERRAND_QUEUE = "warren-errands"

_CONNECT = 2.0  # seconds
_ANSWER = 5.0
_AGAIN = 0.1


def errand_key(id: str) -> str:
    """A hash: what is to be done, until somebody takes it."""
    return f"warren:errand:{id}"


def running_key(name: str) -> str:
    """A sorted set: the errands of a deployment under way → when their lease ends."""
    return f"warren:running:{name}"


def parked_key(name: str) -> str:
    """A list: the errands of a deployment that has enough under way."""
    return f"warren:parked:{name}"


def unwanted_key(id: str) -> str:
    """There when nobody waits for an errand any more that was begun."""
    return f"warren:unwanted:{id}"


def where(url: str) -> str:
    """What may be said of an address: no user, no password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix:{parts.path}"
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path if len(parts.path) > 1 else ''}"


def loop_client(url: str, answer: float = _ANSWER) -> "redis.asyncio.Redis":
    """A client for coroutines; an answer may take ``answer`` seconds, the time of a blocking command included."""
    retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 1)
    return redis.asyncio.Redis.from_url(
        url, socket_connect_timeout=_CONNECT, socket_timeout=answer, retry=retry, **_manners()
    )


def thread_client(url: str, *, tries: int = 1, answer: float = _ANSWER) -> "redis.Redis":
    """A client for threads; ``tries`` more on a connection that was lost."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), tries)
    return redis.Redis.from_url(url, socket_connect_timeout=_CONNECT, socket_timeout=answer, retry=retry, **_manners())


def _manners() -> dict[str, Any]:
    # RESP2: what every server speaks, also the stand-in. No name and version sent with every connection.
    return {"protocol": 2, "driver_info": None}


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task that speaks to Redis, and wait for its end. The library may swallow a first cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN)


@contextmanager
def reaching() -> Iterator[None]:
    """What the library says about a Redis that does not answer, in words of this house."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise Overloaded(f"the queue cannot be reached ({type(error).__name__}); try again") from error
    except RedisError as error:
        # It answers and refuses: its memory is full, it is a replica, or we are wrong.
        log.error("the queue refuses: %s", error)
        raise Overloaded("the queue refuses what it is told; try again") from error
