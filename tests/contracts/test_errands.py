"""Errands over the queue: whoever asks, whoever works, and every way in which one of them may be gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from runtime.adapters.queue.connecting import ERRAND_QUEUE, errand_key, running_key, thread_client, unwanted_key
from runtime.adapters.queue.crew import Crew
from runtime.adapters.queue.embedding import EmbeddedRedis
from runtime.adapters.queue.errands.calling import RedisErrands
from runtime.adapters.queue.errands.taking import RedisErrandDesk
from runtime.adapters.queue.knocking import Enqueuer
from runtime.errors import IsolateLost, NotFound, Overloaded, PushRefused
from runtime.identity import BadToken, Claimed, Identity, KnownUser, Settled
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version
from runtime.names import DeploymentName, RequestId, VersionNumber, parse_function_path
from runtime.ports import Errands
from runtime.protocol.declaration import Declaration, Diagnostic, FunctionDeclaration, Kind, Visibility
from runtime.protocol.messages import Failure, Frame, Reason
from tests.redis_servers import SERVERS, redis_server, soon
from worker.errands import ErrandRunner

PATH = "mail:send"
Program = Callable[[Invocation], Awaitable[Outcome]]


def deployment(name: str = "happy-otter-123", function: str = PATH) -> Deployment:
    """A deployment that declares one Node-style action."""
    declared = FunctionDeclaration(function, Kind.ACTION, Visibility.PUBLIC, "mail.py", 1)
    version = Version(VersionNumber(1), "0" * 64, {}, Declaration(functions=(declared,)))
    return Deployment(DeploymentName(name), version, {})


def invocation(name: str = "happy-otter-123", identity: Identity | None = None, args: bytes = b"\x80") -> Invocation:
    """A call of it."""
    where = deployment(name)
    assert where.version is not None
    path = parse_function_path(PATH)
    call = Invocation(where, where.version, path, Kind.ACTION, args, RequestId("r1"), depth=3, job="j1")
    return call if identity is None else msgspec.structs.replace(call, identity=identity)


class Local:
    """What runs Node-style modules in the worker: a program of the test."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.calls: list[Invocation] = []

    async def run(self, invocation: Invocation) -> Outcome:
        """Run the program."""
        self.calls.append(invocation)
        return await self._program(invocation)

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Declare the bundle's files, or refuse it."""
        if "bad.py" in bundle:
            raise PushRefused([Diagnostic("bad.py", 7, f"no package {environment['WANTED']}")])
        return Declaration(node_style=tuple(sorted(bundle)))


class House:
    """A server's side and a worker's side of one queue."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.url = server.url
        self.enqueuer = Enqueuer(self.url)
        self.errands = RedisErrands(self.url, self.enqueuer, glance=0.1, patience=0.5)
        self.client = thread_client(self.url)
        self.known = {each.name: each for each in (deployment(), deployment("calm-fox-7"))}
        self._desks: list[RedisErrandDesk] = []
        self._crews: list[Crew] = []

    def desk(self, share: int = 4) -> RedisErrandDesk:
        """Where a worker takes errands."""
        desk = RedisErrandDesk(self.url, self.enqueuer, share)
        self._desks.append(desk)
        return desk

    def work(self, local: Errands, threads: int = 4, share: int = 4) -> None:
        """Begin to work."""

        async def find(name: DeploymentName) -> Deployment | None:
            return self.known.get(name)

        runner = ErrandRunner(self.desk(share), find, local, hold=0.05)
        crew = Crew(self.url, ERRAND_QUEUE, threads, runner.work)
        crew.start()
        self._crews.append(crew)

    async def queued(self) -> str:
        """The id of the errand that waits in the queue."""
        async with asyncio.timeout(20):
            while not (keys := self.client.keys(errand_key("*"))):
                await asyncio.sleep(0.005)
        key = keys[0]
        assert isinstance(key, bytes)
        return key.decode().rpartition(":")[2]

    async def close(self) -> None:
        """End both sides."""
        for crew in self._crews:
            await crew.stop(0)
        for desk in self._desks:
            await desk.close()
        await self.errands.close()
        await self.enqueuer.close()
        self.client.close()


@pytest.fixture(params=SERVERS)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A queue on each kind of server."""
    async with redis_server(request.param, tmp_path) as server:
        made = House(server)
        await made.errands.start()
        yield made
        await made.close()


async def echo(call: Invocation) -> Outcome:
    """Answer with the arguments."""
    return Succeeded(call.args, ("a line",))


async def test_a_call_is_run_by_a_worker_as_it_was_made(house: House) -> None:
    local = Local(echo)
    house.work(local)
    assert await house.errands.run(invocation(args=b"\x81\xa1a\x01")) == Succeeded(b"\x81\xa1a\x01", ("a line",))
    (call,) = local.calls
    assert call.deployment is house.known[DeploymentName("happy-otter-123")]
    assert (str(call.path), call.kind, call.request_id, call.depth, call.job) == (PATH, Kind.ACTION, "r1", 3, "j1")


async def test_how_a_function_failed_comes_back_whole(house: House) -> None:
    failure = Failure(Reason.RAISED, "ApplicationError", "no", (Frame("mail.py", 3, "send", "raise"),), b"\xa4data")

    async def fail(call: Invocation) -> Outcome:
        return Failed(failure, ("before",))

    house.work(Local(fail))
    assert await house.errands.run(invocation()) == Failed(failure, ("before",))


@pytest.mark.parametrize("who", [KnownUser(b"\x80", "issuer|7", 1.5), BadToken("Expired", "it has expired")])
async def test_who_calls_is_found_out_before_and_known_to_the_worker(house: House, who: Settled) -> None:
    async def look() -> Settled:
        return who

    local = Local(echo)
    house.work(local)
    await house.errands.run(invocation(identity=Claimed(look)))
    assert local.calls[0].identity == who


async def test_a_function_that_the_newest_version_does_not_have_is_not_found(house: House) -> None:
    house.known[DeploymentName("happy-otter-123")] = deployment(function="mail:receive")
    house.work(Local(echo))
    with pytest.raises(NotFound, match="mail:send is not a function"):
        await house.errands.run(invocation())


async def test_what_the_worker_refuses_is_refused_here(house: House) -> None:
    async def refuse(call: Invocation) -> Outcome:
        raise Overloaded("too many processes")

    house.work(Local(refuse))
    with pytest.raises(Overloaded, match="too many processes"):
        await house.errands.run(invocation())


async def test_a_large_bundle_is_analysed_and_a_bad_one_refused_with_its_reasons(house: House) -> None:
    house.work(Local(echo))
    large = {"mail.py": b"x" * (32 * 1024 * 1024)}
    assert (await house.errands.analyse(DeploymentName("a"), large, {})).node_style == ("mail.py",)
    with pytest.raises(PushRefused) as refused:
        await house.errands.analyse(DeploymentName("a"), {"bad.py": b""}, {"WANTED": "left-pad"})
    assert refused.value.diagnostics == (Diagnostic("bad.py", 7, "no package left-pad"),)


async def test_an_errand_is_taken_once(house: House) -> None:
    asking = asyncio.create_task(house.errands.run(invocation()))
    id = await house.queued()
    first, second = house.desk(), house.desk()
    taken = await first.take(id)
    assert taken is not None and await second.take(id) is None
    await first.answer(taken, Succeeded(b"\x01"))
    assert await asking == Succeeded(b"\x01")


async def test_whoever_waits_for_a_worker_that_died_is_told(house: House) -> None:
    asking = asyncio.create_task(house.errands.run(invocation()))
    taken = await house.desk().take(await house.queued())
    assert taken is not None
    house.client.delete(running_key(taken.name))  # its lease is over
    with pytest.raises(IsolateLost, match="is gone"):
        await asking


async def test_whoever_waits_for_what_an_emptied_redis_has_lost_is_told(house: House) -> None:
    asking = asyncio.create_task(house.errands.run(invocation()))
    await house.queued()
    house.client.flushall()
    with pytest.raises(IsolateLost, match="lost"):
        await asking


async def test_a_call_that_runs_while_redis_is_emptied_is_answered(house: House) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(call: Invocation) -> Outcome:
        begun.set()
        await go_on.wait()
        return Succeeded(b"\x01")

    house.work(Local(wait))
    asking = asyncio.create_task(house.errands.run(invocation()))
    await soon(begun)
    house.client.flushall()
    async with asyncio.timeout(20):
        while not house.client.exists(running_key("happy-otter-123")):
            await asyncio.sleep(0.005)
    go_on.set()
    assert await asking == Succeeded(b"\x01")


async def test_a_call_whose_caller_left_before_it_began_never_begins(house: House) -> None:
    asking = asyncio.create_task(house.errands.run(invocation()))
    id = await house.queued()
    asking.cancel()
    async with asyncio.timeout(20):
        while house.client.exists(errand_key(id)):
            await asyncio.sleep(0.005)
    local = Local(echo)
    house.work(local)
    assert await house.errands.run(invocation("calm-fox-7")) == Succeeded(b"\x80", ("a line",))
    assert [call.deployment.name for call in local.calls] == ["calm-fox-7"]


async def test_a_call_that_comes_after_its_caller_has_left_never_begins(house: House) -> None:
    asking = asyncio.create_task(house.errands.run(invocation()))
    id = await house.queued()
    house.client.rename(errand_key(id), "on its way")
    asking.cancel()
    async with asyncio.timeout(20):
        while not house.client.exists(unwanted_key(id)):
            await asyncio.sleep(0.005)
    house.client.rename("on its way", errand_key(id))
    assert await house.desk().take(id) is None
    assert not house.client.exists(errand_key(id))


async def test_a_call_whose_caller_left_is_cancelled(house: House) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(call: Invocation) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("it waits for ever")

    house.work(Local(wait))
    asking = asyncio.create_task(house.errands.run(invocation()))
    await soon(begun)
    asking.cancel()
    await soon(cancelled)


async def test_an_answer_that_cannot_be_read_keeps_nobody_from_the_next(house: House) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def program(call: Invocation) -> Outcome:
        begun.set()
        await go_on.wait()
        return Succeeded(call.args)

    house.work(Local(program))
    calling = asyncio.create_task(house.errands.run(invocation(args=b"\x80")))
    await soon(begun)
    # An array in an array in an array … is no answer either.
    for answer in (b"", b"\xc1", msgspec.msgpack.encode(["id", 7]), b"\x91" * 100_000 + b"\xc0"):
        house.client.rpush(house.errands.reply_to, answer)
    go_on.set()
    assert await calling == Succeeded(b"\x80")


@pytest.mark.parametrize("order", [b"", b"\xc1", msgspec.msgpack.encode({"reply_to": "x", "order": {"type": "call"}})])
async def test_an_errand_that_cannot_be_read_is_not_run_and_the_next_one_is(house: House, order: bytes) -> None:
    local = Local(echo)
    house.work(local, threads=1)
    await house.enqueuer.errand("strange", {"name": "happy-otter-123", "order": order}, 30)
    await house.enqueuer.errand("nameless", {"order": order}, 30)
    await house.enqueuer.errand("empty", {"name": b"\xff\xfe"}, 30)
    assert await house.errands.run(invocation()) == Succeeded(b"\x80", ("a line",))
    assert len(local.calls) == 1


async def test_one_deployment_cannot_have_every_thread(house: House) -> None:
    running, most, go_on = 0, 0, asyncio.Event()

    async def wait(call: Invocation) -> Outcome:
        nonlocal running, most
        if call.deployment.name == "calm-fox-7":
            return await echo(call)
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        return await echo(call)

    house.work(Local(wait), threads=4, share=2)
    greedy = [asyncio.create_task(house.errands.run(invocation())) for _ in range(20)]
    await house.queued()
    assert await house.errands.run(invocation("calm-fox-7")) == Succeeded(b"\x80", ("a line",))
    go_on.set()
    async with asyncio.timeout(20):
        assert len(await asyncio.gather(*greedy)) == 20
    assert most == 2


async def test_a_queue_that_is_away_is_said_at_once(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    enqueuer = Enqueuer(url)
    errands = RedisErrands(url, enqueuer)
    with pytest.raises(Overloaded, match="the queue cannot be reached"):
        await errands.run(invocation())
    await errands.close()
    await enqueuer.close()
