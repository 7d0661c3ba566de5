"""How does a worker get an errand that nobody else gets, and not more of one deployment than its share?

Rules
1. Taking is one script: it removes the errand and writes the lease, or parks the errand because its deployment has
   enough under way. An errand is therefore begun once at most.
2. Time is Redis's: the leases of several machines are compared with one clock.
3. Whoever answers lets the next parked one of the same deployment into the queue, behind everybody else's.
4. What nobody waits for any more is not begun, also when it comes after its caller has left.
5. The scripts name keys that they read from others: this does not run on a Redis cluster.
"""

from runtime.adapters.queue.connecting import errand_key, loop_client, parked_key, reaching, running_key, unwanted_key
from runtime.adapters.queue.errands.wire import pack_reply, unpack_order
from runtime.adapters.queue.knocking import Enqueuer
from runtime.invocation import Outcome
from runtime.limits import ERRAND_LEASE
from runtime.names import DeploymentName
from runtime.ports import Errand
from runtime.protocol.declaration import Declaration

_LASTS = 30  # seconds
_REPLY_LASTS = 60
_SET_LASTS = 120

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS: errand, unwanted. ARGV: id, lease, share, prefix of running, prefix of parked, how long a set lasts
_TAKE = (
    _NOW
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[1]) return {} end
local name = redis.call('HGET', KEYS[1], 'name')
if not name then return {} end
local running, parked = ARGV[4] .. name, ARGV[5] .. name
redis.call('ZREMRANGEBYSCORE', running, '-inf', now)
if redis.call('ZCARD', running) >= tonumber(ARGV[3]) then
  redis.call('ZADD', parked, 'NX', now, ARGV[1])
  redis.call('EXPIRE', parked, ARGV[6])
  return {}
end
local order = redis.call('HGET', KEYS[1], 'order')
redis.call('DEL', KEYS[1])
redis.call('ZREM', parked, ARGV[1])
redis.call('ZADD', running, now + ARGV[2], ARGV[1])
redis.call('EXPIRE', running, ARGV[6])
return {name, order}
"""
)
# KEYS: running, unwanted. ARGV: id, lease, how long a set lasts. Says whether somebody still waits. A script that has
# removed something goes on also where memory is full.
_HOLD = (
    _NOW
    + """
redis.call('ZREM', KEYS[1], '')
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1 - redis.call('EXISTS', KEYS[2])
"""
)
# KEYS: running, parked, where the answer is waited for. ARGV: id, answer, how long it lasts, prefix of errands.
# Says which parked errand may come next.
_ANSWER = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[3])
while true do
  local next = redis.call('ZPOPMIN', KEYS[2])[1]
  if not next then return '' end
  if redis.call('EXISTS', ARGV[4] .. next) == 1 then return next end
end
"""


class RedisErrandDesk:
    """Where one worker takes errands; at most ``share`` of one deployment are under way at once, on all workers."""

    def __init__(self, url: str, enqueuer: Enqueuer, share: int) -> None:
        self._share = share
        self._enqueuer = enqueuer
        self._redis = loop_client(url)
        self._take = self._redis.register_script(_TAKE)
        self._hold = self._redis.register_script(_HOLD)
        self._answer = self._redis.register_script(_ANSWER)

    async def take(self, id: str) -> Errand | None:
        """The errand, for this worker alone; raises `OurMistake` for one that cannot be read."""
        prefixes = [running_key(""), parked_key("")]
        with reaching():
            found = await self._take(
                keys=[errand_key(id), unwanted_key(id)],
                args=[id, int(ERRAND_LEASE), self._share, *prefixes, _SET_LASTS],
            )
        if not found:
            return None
        order, reply_to = unpack_order(found[1])
        return Errand(id, DeploymentName(found[0].decode(errors="replace")), order, reply_to)

    async def hold(self, errand: Errand) -> bool:
        """It is still being worked on; whether somebody still waits for it."""
        with reaching():
            return bool(
                await self._hold(
                    keys=[running_key(errand.name), unwanted_key(errand.id)],
                    args=[errand.id, int(ERRAND_LEASE), _SET_LASTS],
                )
            )

    async def answer(self, errand: Errand, result: Outcome | Declaration | Exception) -> None:
        """Tell whoever waits how it ended, and let the next one of this deployment come."""
        with reaching():
            following = await self._answer(
                keys=[running_key(errand.name), parked_key(errand.name), errand.reply_to],
                args=[errand.id, pack_reply(errand.id, result), _REPLY_LASTS, errand_key("")],
            )
        if following:
            await self._enqueuer.errand(following.decode(), {}, _LASTS)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()
