"""When has somebody to look at which deployment, in Redis?

Two sorted sets and a set. The *agenda* holds when each deployment is next to be looked at, the *claims* who is being
looked at and until when that is believed. What becomes due while it is claimed is put aside (*again*) and comes back
when the claim is settled. Every step is one script, so that no order of two workers loses a note.

Rules
1. A note only ever makes a moment earlier. Taking removes it: what is noted after that is new.
2. A claim that has ended is due, and is claimed anew by whoever sees it.
3. `RedisAgenda` keeps the earliest moment of each deployment until Redis has taken it: one entry each, however long
   Redis is away.
4. No claim lasts longer than ten seconds by the clock of whoever reads it: a clock may have been set back, or be ahead.
5. A sleeper is woken by one token; a token that got lost costs a second, because nobody sleeps longer.
"""

import asyncio
import logging
from contextlib import suppress

from runtime.adapters.queue.connecting import AGAIN, AGENDA, CLAIMS, MARK, SWEEP, WAKE, end, loop_client, reaching
from runtime.errors import Overloaded
from runtime.names import DeploymentName
from runtime.ports import Clock, Taken

log = logging.getLogger("warren.queue")

CLAIM = 10_000.0  # ms
_NAP = 1.0  # seconds
# 0 is for ever. So is what Redis rounds to 0, and to one of version 6 that is even 0.001.
_SHORTEST = 0.002
_SWEEP_EVERY = 55_000  # ms; a little less than the minute of the sweepers
_FIRST_DELAY = 0.1  # seconds
_LONGEST_DELAY = 2.0
_LAST_WORDS = 1.0

# KEYS: agenda, wake. ARGV: name, moment, name, moment … A script that has removed something goes on also where memory
# is full: what is due is noted whatever else lies there.
_NOTE = """
redis.call('ZREM', KEYS[1], '')
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local earliest = tonumber(first[2])
local wake = false
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'LT', ARGV[i + 1], ARGV[i])
  if not earliest or tonumber(ARGV[i + 1]) < earliest then wake = true end
end
if wake and redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], '1') end
return 0
"""

# KEYS: agenda, claims, again, mark. ARGV: now, end of the claims, most
_TAKE = """
redis.call('ZREM', KEYS[1], '')
local fresh = redis.call('SETNX', KEYS[4], '1')
local names = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  redis.call('ZADD', KEYS[2], ARGV[2], name)
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZADD', KEYS[2], ARGV[2], name)
  names[#names + 1] = name
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[1], name)
  if redis.call('ZSCORE', KEYS[2], name) then
    redis.call('SADD', KEYS[3], name)
  else
    redis.call('ZADD', KEYS[2], ARGV[2], name)
    names[#names + 1] = name
  end
end
local due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
local ended = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
return {fresh, due or '', ended or '', names}
"""

# KEYS: agenda, claims, again, wake. ARGV: name, now, moment or nothing
_SETTLE = """
redis.call('ZREM', KEYS[2], ARGV[1])
local at = ARGV[3]
if redis.call('SREM', KEYS[3], ARGV[1]) == 1 and (at == '' or tonumber(at) > tonumber(ARGV[2])) then at = ARGV[2] end
if at == '' then return 0 end
local earliest = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
redis.call('ZADD', KEYS[1], 'LT', at, ARGV[1])
if (not earliest or tonumber(at) < earliest) and redis.call('LLEN', KEYS[4]) == 0 then
  redis.call('RPUSH', KEYS[4], '1')
end
return 0
"""


class RedisAgenda:
    """Notes what is due, in the background. Made and used on one loop."""

    def __init__(self, url: str) -> None:
        self._redis = loop_client(url)
        self._note = self._redis.register_script(_NOTE)
        self._waiting: dict[DeploymentName, float] = {}
        self._noted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to tell Redis what is noted."""
        self._task = asyncio.create_task(self._keep_telling(), name="tell Redis what is due")

    def note(self, name: DeploymentName, at: float) -> None:
        """Something of this deployment is due at ``at``. Never waits, never raises."""
        before = self._waiting.get(name)
        if before is None or at < before:
            self._waiting[name] = at
            self._noted.set()

    async def close(self) -> None:
        """Tell what is left, if Redis hears it at once."""
        if self._task is not None:
            await end(self._task)
        with suppress(Overloaded, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self.told()
        await self._redis.aclose()

    async def _keep_telling(self) -> None:
        delay = _FIRST_DELAY
        while True:
            await self._noted.wait()
            try:
                await self.told()
            except Overloaded as error:
                if delay == _FIRST_DELAY:
                    log.warning("what is due is noted later: %s", error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
            else:
                delay = _FIRST_DELAY

    async def told(self) -> None:
        """Tell what is noted, now; what Redis does not hear stays noted."""
        told, self._waiting = self._waiting, {}
        self._noted.clear()
        if not told:
            return
        try:
            with reaching():
                await self._note(keys=[AGENDA, WAKE], args=[part for entry in told.items() for part in entry])
        except BaseException:
            for name, at in told.items():
                self.note(name, at)
            raise


class RedisDueBook:
    """The agenda, as one worker reads it."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._redis = loop_client(url)
        self._take = self._redis.register_script(_TAKE)
        self._settle = self._redis.register_script(_SETTLE)

    async def take(self, now: float, most: int) -> Taken:
        """Claim who is due, for ten seconds."""
        with reaching():
            fresh, due, ended, names = await self._take(
                keys=[AGENDA, CLAIMS, AGAIN, MARK], args=[now, now + CLAIM, most]
            )
        moments = [float(moment) for moment in (due, ended) if moment]
        known = [name for name in map(_deployment, names) if name is not None]
        if len(known) < len(names):
            await self._forget([name for name in names if _deployment(name) is None])
        return Taken(tuple(known), min(moments) if moments else None, bool(fresh))

    async def _forget(self, names: list[bytes]) -> None:
        log.error("%d names in the agenda are none of deployments, and are forgotten", len(names))
        with reaching():
            await self._redis.zrem(CLAIMS, *names)

    async def settle(self, name: DeploymentName, again: float | None) -> None:
        """The shift of a claimed deployment is over; see when to come again."""
        moment = "" if again is None else again
        with reaching():
            await self._settle(keys=[AGENDA, CLAIMS, AGAIN, WAKE], args=[name, self._clock.now(), moment])

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until something is noted that is due before everything else."""
        with reaching():
            await self._redis.blpop([WAKE], timeout=max(_SHORTEST, min(seconds, _NAP)))

    async def may_sweep(self) -> bool:
        """Whether it is this worker's turn to ask every deployment."""
        with reaching():
            return bool(await self._redis.set(SWEEP, "1", nx=True, px=_SWEEP_EVERY))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()


def _deployment(name: bytes) -> DeploymentName | None:
    try:
        return DeploymentName(name.decode())
    except UnicodeDecodeError:
        return None
