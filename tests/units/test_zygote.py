"""Does a zygote give isolates, survive its own death, and make room for a fresh one?"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.errors import IsolateLost, SandboxUnavailable
from runtime.isolates.process import IsolateProcess
from runtime.isolates.zygote import Zygote, examine
from runtime.protocol.forking import Requirement

ECHO = """
import os

def prepare():
    pass

def main(layers):
    os.write(3, " ".join(layers).encode())
    while said := os.read(3, 4096):
        if said == b"go":
            os._exit(7)
        os.write(3, said)
    os._exit(0)
"""

FAILING = "def prepare():\n    raise ValueError('not today')\n\ndef main(layers):\n    pass\n"


@pytest.fixture
def guest(tmp_path: Path) -> str:
    path = tmp_path / "guest.py"
    path.write_text(ECHO)
    return str(path)


@pytest.fixture
async def zygote(guest: str) -> AsyncIterator[Zygote]:
    zygote = Zygote(guest=guest)
    await zygote.start()
    yield zygote
    await zygote.stop()


async def say(isolate: IsolateProcess, word: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(isolate.socket, word)
    return await loop.sock_recv(isolate.socket, 4096)


async def hear(isolate: IsolateProcess) -> bytes:
    return await asyncio.get_running_loop().sock_recv(isolate.socket, 4096)


async def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def parent_of(isolate: IsolateProcess) -> int:
    status = Path(f"/proc/{isolate.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))


async def other_zygote(zygote: Zygote, than: int) -> IsolateProcess:
    """Fork until another zygote does it; the isolate that it made."""
    while True:
        isolate = await zygote.fork()
        await hear(isolate)
        if parent_of(isolate) != than:
            return isolate
        isolate.close()


async def end_of(pidfd: int) -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, gone.set)
    await asyncio.wait_for(gone.wait(), 30)
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


async def test_a_fork_is_an_isolate_that_names_its_layers_and_answers(zygote: Zygote) -> None:
    isolate = await zygote.fork()
    assert set((await hear(isolate)).decode().split()) == {layer.name for layer in zygote.report() if layer.holds}
    assert await say(isolate, b"hello") == b"hello"
    isolate.close()
    assert await isolate.exit_status() == 0


async def test_many_forks_at_once_are_as_many_isolates(zygote: Zygote) -> None:
    isolates = await asyncio.gather(*(zygote.fork() for _ in range(40)))
    assert len({isolate.pid for isolate in isolates}) == 40
    for number, isolate in enumerate(isolates):
        await hear(isolate)
        assert await say(isolate, b"%d" % number) == b"%d" % number
        isolate.close()


async def test_the_exit_status_is_the_code_or_the_negative_signal(zygote: Zygote) -> None:
    leaving, killed = await zygote.fork(), await zygote.fork()
    await hear(leaving)
    await hear(killed)
    assert await say(leaving, b"go") == b""
    killed.kill()
    assert [await leaving.exit_status(), await killed.exit_status()] == [7, -signal.SIGKILL]
    for isolate in (leaving, killed):
        assert isolate.gone
        assert isolate.rss_bytes() == 0
        isolate.kill()
        isolate.close()
        isolate.close()


async def test_a_fork_that_nobody_waits_for_any_more_is_ended(guest: str) -> None:
    zygote = Zygote(guest=guest, forks=2)
    await zygote.start()
    isolate = await zygote.fork()
    await hear(isolate)
    old = os.pidfd_open(parent_of(isolate))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await zygote.fork()
    fresh = await other_zygote(zygote, parent_of(isolate))
    isolate.close()
    # The old zygote ends when it has no isolate left: the abandoned one would keep it.
    await end_of(old)
    fresh.close()
    await zygote.stop()


async def test_a_dead_zygote_is_replaced(zygote: Zygote) -> None:
    isolate = await zygote.fork()
    await hear(isolate)
    before = parent_of(isolate)
    os.kill(before, signal.SIGKILL)
    assert await isolate.exit_status() == -signal.SIGKILL
    fresh = await zygote.fork()
    await hear(fresh)
    assert parent_of(fresh) != before
    isolate.close()
    fresh.close()


async def test_forks_under_way_when_the_zygote_dies_are_made_by_its_successor(zygote: Zygote) -> None:
    isolate = await zygote.fork()
    await hear(isolate)
    os.kill(parent_of(isolate), signal.SIGSTOP)
    asking = asyncio.gather(*(zygote.fork() for _ in range(5)))
    # The forks start before this does: tasks run in the order in which they were made.
    await asyncio.create_task(kill(parent_of(isolate)))
    for fresh in await asking:
        assert await hear(fresh)
        fresh.close()
    isolate.close()


async def test_after_its_forks_a_zygote_is_replaced_and_its_isolates_live_on(guest: str) -> None:
    zygote = Zygote(guest=guest, forks=2)
    await zygote.start()
    first = await zygote.fork()
    await hear(first)
    old = os.pidfd_open(parent_of(first))
    fresh = await other_zygote(zygote, parent_of(first))
    assert await say(first, b"still here") == b"still here"
    first.close()
    await end_of(old)
    assert await say(fresh, b"and here") == b"and here"
    fresh.close()
    await zygote.stop()


async def test_no_isolate_outlives_the_stop(guest: str) -> None:
    zygote = Zygote(guest=guest)
    await zygote.start()
    isolate = await zygote.fork()
    await hear(isolate)
    await zygote.stop()
    assert await isolate.exit_status() == -signal.SIGKILL
    assert await hear(isolate) == b""
    isolate.close()


async def test_a_guest_that_cannot_be_prepared_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "guest.py"
    path.write_text(FAILING)
    zygote = Zygote(guest=str(path))
    await zygote.start()
    isolate = await zygote.fork()
    assert await isolate.exit_status() == 97
    assert b"not today" in isolate.last_words()
    isolate.close()
    await zygote.stop()


async def test_a_guest_that_cannot_be_imported_is_no_sandbox(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SandboxUnavailable, match="before it was ready"):
        await Zygote(guest="there.is.no.such.guest").start()
    assert "No module named 'there'" in capfd.readouterr().err


async def test_a_missing_mandatory_layer_is_named_and_nothing_starts(
    guest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.isolates.zygote._environment", lambda seed: {"LANG": "C.UTF-8", "SECRET": "x"})
    zygote = Zygote(guest=guest)
    with pytest.raises(SandboxUnavailable, match=r"empty_environment.*SECRET"):
        await zygote.start()
    await zygote.stop()


async def test_a_set_has_the_same_order_under_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "guest.py"
    path.write_text(ECHO.replace('" ".join(layers)', "repr({str(n) for n in range(50)})"))
    orders = []
    for seed in (7, 7, 8):
        zygote = Zygote(hash_seed=seed, guest=str(path))
        await zygote.start()
        isolate = await zygote.fork()
        orders.append(await hear(isolate))
        isolate.close()
        await zygote.stop()
    assert orders[0] == orders[1] != orders[2]


def test_every_mandatory_layer_holds_where_the_tests_run() -> None:
    layers = examine()
    assert [layer for layer in layers if layer.requirement is Requirement.MANDATORY and not layer.holds] == []
    assert all(layer.detail for layer in layers)


async def test_after_the_end_there_are_no_forks(guest: str) -> None:
    zygote = Zygote(guest=guest)
    await zygote.start()
    generation = zygote._current
    assert generation is not None
    await zygote.stop()
    with pytest.raises(IsolateLost):
        await generation.fork()
