import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runtime.sandbox.guest.loop import GuestLoop
from runtime.sdk.running import RUNNING


class Channel:
    """A loop in a thread whose host echoes nothing: what it is told is run in the loop's own turn."""

    def __init__(self) -> None:
        self.host, self.guest = socket.socketpair()
        self.host.settimeout(10)
        self.complaints: list[str] = []
        self.results: list[Any] = []
        self._todo: list[Callable[[GuestLoop], Any]] = []
        self.loop = GuestLoop(self.guest.fileno(), self._receive, lambda task, context: None, self._complain)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def _receive(self, data: bytes) -> None:
        while self._todo:
            self._todo.pop(0)(self.loop)

    def _complain(self, what: str, error: BaseException | None) -> None:
        self.complaints.append(f"{what}: {type(error).__name__}")
        self.loop.send(b"!")

    def run(self, work: Callable[[GuestLoop], Any]) -> None:
        """Let the loop do this in its next turn."""
        self._todo.append(work)
        if not self._thread.is_alive():
            self._thread.start()
        self.host.send(b".")

    def await_(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop to its end and return its result."""

        async def run() -> None:
            try:
                self.results.append(await coroutine)
            except BaseException as error:
                self.results.append(error)
            self.loop.send(b"!")

        self.run(lambda loop: loop.start(run()))
        assert self.host.recv(1) == b"!"
        return self.results.pop()

    def close(self) -> None:
        """Hang up and wait for the loop to end."""
        self.host.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.guest.close()


@pytest.fixture
def channel() -> Any:
    channel = Channel()
    yield channel
    channel.close()


def test_the_tools_of_asyncio_work(channel: Channel) -> None:
    async def work() -> list[Any]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put(1))
            first = group.create_task(queue.get())
        await asyncio.sleep(0.001)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            timed_out = True
        waited = await asyncio.wait_for(asyncio.sleep(0, "soon"), 10)
        return [first.result(), timed_out, waited, *await asyncio.gather(*(asyncio.sleep(0, n) for n in range(3)))]

    assert channel.await_(work()) == [1, True, "soon", 0, 1, 2]


def test_what_a_turn_says_leaves_with_one_write(channel: Channel) -> None:
    def work(loop: GuestLoop) -> None:
        for _ in range(100):
            loop.call_soon(loop.send, b"ab")

    channel.run(work)
    assert len(channel.host.recv(1000)) == 200


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_loses_nothing(channel: Channel, blocking: bool) -> None:
    channel.guest.setblocking(blocking)
    size = 20_000_000
    channel.run(lambda loop: loop.send(b"x" * size))
    received = 0
    while received < size:
        received += len(channel.host.recv(1 << 20))
    assert received == size


def test_a_channel_that_does_not_block_works_as_well(channel: Channel) -> None:
    channel.guest.setblocking(False)
    assert channel.await_(asyncio.sleep(0.001, 5)) == 5


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError, BaseException])
def test_nothing_that_a_callback_raises_ends_the_loop(channel: Channel, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    channel.run(lambda loop: loop.call_soon(fail))
    assert channel.host.recv(1) == b"!"
    assert channel.complaints == [f"a callback failed: {error.__name__}"]
    assert channel.await_(asyncio.sleep(0, 1)) == 1


def test_cancelled_timers_are_forgotten(channel: Channel) -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            loop.call_later(1000, print).cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return len(channel.loop._timers)

    assert channel.await_(work()) < 200


def test_a_forgotten_generator_is_closed(channel: Channel) -> None:
    closed: list[bool] = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async def work() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    channel.await_(work())
    assert closed == [True]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda loop: loop.run_in_executor(None, print), "threads cannot be used here"),
        (lambda loop: loop.call_soon_threadsafe(print), "threads cannot be used here"),
        (lambda loop: loop.create_connection(None, "a", 1), "sockets cannot be used here"),
        (lambda loop: loop.sock_recv(None, 1), "sockets cannot be used here"),
        (lambda loop: loop.add_signal_handler(1, print), "signals cannot be used here"),
        (lambda loop: loop.subprocess_exec(None, "a"), "child processes cannot be used here"),
        (lambda loop: loop.stop(), "cannot be stopped"),
        (lambda loop: loop.run_until_complete(None), "write 'await' instead"),
    ],
)
def test_what_needs_more_of_the_kernel_is_refused_with_a_sentence(channel: Channel, call: Any, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        call(channel.loop)
    channel.run(lambda loop: None)


def test_the_loop_ends_with_its_channel() -> None:
    channel = Channel()
    channel.run(lambda loop: None)
    channel.close()


def test_the_running_call_is_none_outside_of_any_call(channel: Channel) -> None:
    async def work() -> Any:
        return RUNNING.get()

    assert channel.await_(work()) is None
