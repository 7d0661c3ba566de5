"""How does whoever cannot run something itself have a worker run it, and not wait in vain?

Rules
1. An errand is taken by one worker, and by none when its caller took it back: both remove the same key.
2. Nobody waits for what cannot come: an errand that lies nowhere and is held by nobody is lost, and its caller is told.
   A worker that lives puts its lease back within three seconds when Redis came back empty, so that much is waited.
3. One connection hears the answers of a whole process; one glance every two seconds looks after all that wait.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress

from runtime.adapters.queue.connecting import end, errand_key, loop_client, reaching, running_key, unwanted_key
from runtime.adapters.queue.errands.wire import Reply, pack_order, read_reply, result_of
from runtime.adapters.queue.knocking import Enqueuer, Unsure
from runtime.errors import IsolateLost, OurMistake, Overloaded
from runtime.identity import settled
from runtime.invocation import Failed, Invocation, Outcome, Succeeded
from runtime.limits import ERRAND_TIME, ERRAND_WAIT
from runtime.names import DeploymentName
from runtime.ports import Analysis, Call
from runtime.protocol.declaration import Declaration

log = logging.getLogger("warren.queue")

_GLANCE = 2.0  # seconds
_LISTEN = 5.0
_LOST = 5.0  # a worker that lives renews its lease more often than that
_RESCUE = 10.0
_LASTS = 30  # seconds that an errand lies there without its caller
_DELAY = 0.5

# KEYS: errand, running. ARGV: how long it lies there, id. 1: it lies there; 2: a worker holds it; 0: neither.
_LOOK = """
if redis.call('EXPIRE', KEYS[1], ARGV[1]) == 1 then return 1 end
local ends = redis.call('ZSCORE', KEYS[2], ARGV[2])
local now = redis.call('TIME')
if ends and tonumber(ends) > now[1] * 1000 + now[2] / 1000 then return 2 end
return 0
"""
_LIES, _HELD = 1, 2

# KEYS: errand, unwanted. ARGV: seconds. Says whether nobody had begun it.
_TAKE_BACK = """
if redis.call('DEL', KEYS[1]) == 1 then return 1 end
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 0
"""


class _Waiting:
    """One errand whose caller waits."""

    __slots__ = ("answer", "asked", "begun", "lost_since", "name", "rescued", "sent")

    def __init__(self, name: DeploymentName, now: float) -> None:
        self.name = name
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.asked = self.rescued = now
        self.begun = False
        self.sent = False  # before that it lies nowhere, and may be large
        self.lost_since: float | None = None


class RedisErrands:
    """Errands that workers run, wherever they are."""

    def __init__(self, url: str, enqueuer: Enqueuer, glance: float = _GLANCE, patience: float = _LOST) -> None:
        self._every, self._patience = glance, patience
        self._enqueuer = enqueuer
        self._redis = loop_client(url, _LISTEN + 5)
        self._look = self._redis.register_script(_LOOK)
        self._take_back = self._redis.register_script(_TAKE_BACK)
        self.reply_to = f"warren:replies:{secrets.token_hex(12)}"
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to hear answers."""
        self._begin(self._listen())
        self._begin(self._look_after())

    async def close(self) -> None:
        """Hear no more; whoever still waits is told."""
        for waiting in self._waiting.values():
            _fail(waiting, IsolateLost("this server is stopping"))
        await asyncio.gather(*(end(task) for task in tuple(self._tasks)))
        await self._redis.aclose()

    async def run(self, invocation: Invocation) -> Outcome:
        """Have a Node-style action run, once at most, and wait for how it ends."""
        call = Call(
            str(invocation.path),
            invocation.kind,
            invocation.args,
            invocation.request_id,
            invocation.depth,
            await settled(invocation.identity),
            invocation.job,
        )
        result = await self._send(invocation.deployment.name, call)
        if isinstance(result, Succeeded | Failed):
            return result
        raise OurMistake("a call was answered with a declaration")

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Install what the bundle's Node-style modules need and learn what they declare."""
        result = await self._send(name, Analysis(bundle, environment))
        if isinstance(result, Declaration):
            return result
        raise OurMistake("a bundle was answered with an outcome")

    async def _send(self, name: DeploymentName, order: Call | Analysis) -> Outcome | Declaration:
        id = secrets.token_hex(16)
        waiting = self._waiting[id] = _Waiting(name, asyncio.get_running_loop().time())
        fields: dict[str, str | bytes] = {"name": name, "order": pack_order(order, self.reply_to)}
        try:
            with suppress(Unsure):  # who looks after it finds out
                await self._enqueuer.errand(id, fields, _LASTS)
            waiting.sent = True
            async with asyncio.timeout(ERRAND_TIME / 1000):
                reply = await waiting.answer
        except TimeoutError:
            self._begin(self._forsake(id))
            raise IsolateLost(f"no answer from a worker within {ERRAND_TIME / 1000:.0f} s") from None
        except asyncio.CancelledError:
            self._begin(self._forsake(id))
            raise
        finally:
            del self._waiting[id]
        return result_of(reply)

    async def _forsake(self, id: str) -> bool:
        """Nobody waits any more. Says whether nobody had begun it, and now nobody will."""
        with reaching():
            return bool(await self._take_back(keys=[errand_key(id), unwanted_key(id)], args=[_LASTS * 2]))

    async def _listen(self) -> None:
        while True:
            try:
                with reaching():
                    found = await self._redis.blpop([self.reply_to], timeout=_LISTEN)
            except Overloaded:
                await asyncio.sleep(_DELAY)
                continue
            if found is not None:
                packed = found[1]
                assert isinstance(packed, bytes)  # nothing here asks the client for text
                self._hear(packed)

    def _hear(self, packed: bytes) -> None:
        try:
            reply = read_reply(packed)
        except OurMistake as mistake:
            # Whoever waits for it is told by its lease; the others' answers come behind it.
            log.error("an answer to an errand is left unread: %s", mistake)
            return
        waiting = self._waiting.get(reply.id)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(reply)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._glance(tuple(self._waiting.items()))
            except Overloaded as error:
                # Nothing can be said about anybody now; each has its own end.
                log.debug("errands are not looked after: %s", error)

    async def _glance(self, waiting: Iterable[tuple[str, _Waiting]]) -> None:
        for id, one in waiting:
            with reaching():
                state = await self._look(keys=[errand_key(id), running_key(one.name)], args=[_LASTS, id])
            now = asyncio.get_running_loop().time()
            one.begun = one.begun or state == _HELD
            if state == _LIES:
                await self._hurry(id, one, now)
            elif state == _HELD:
                one.lost_since = None
            elif not one.sent:
                continue
            elif one.lost_since is None:
                one.lost_since = now
            elif now - one.lost_since > self._patience:
                ran = "was running it" if one.begun else "was to run it"
                _fail(one, IsolateLost(f"the worker that {ran} is gone, or the queue has lost it"))

    async def _hurry(self, id: str, one: _Waiting, now: float) -> None:
        """It lies there still: give up, or put it into the queue again, whoever lost it there."""
        one.lost_since = None
        if (now - one.asked) * 1000 > ERRAND_WAIT:
            if await self._forsake(id):
                _fail(one, Overloaded(f"no worker was free within {ERRAND_WAIT / 1000:.0f} s"))
        elif now - one.rescued > _RESCUE:
            one.rescued = now
            await self._enqueuer.errand(id, {}, _LASTS)

    def _begin(self, work: Coroutine[None, None, object]) -> None:
        async def quietly() -> None:
            with suppress(Overloaded):
                await work

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
