"""Does an isolate stay behind its wall for its whole life, and end when its host does?

Seen from outside: what the kernel says of a locked process, and what is left when somebody is killed.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.isolates.zygote import Zygote
from runtime.limits import GUEST_MEMORY, GUEST_STDERR, MIB
from tests.escapes.kernel.lab import GUEST, Lab, World, ended

CAP_SYS_PTRACE = 19

HOST = """
import asyncio, json, os, signal, sys, uvloop
from runtime.isolates.zygote import Zygote

async def main():
    zygote = Zygote(guest=sys.argv[1])
    await zygote.start()
    isolates = [await zygote.fork() for _ in range(3)]
    loop = asyncio.get_running_loop()
    for isolate in isolates:
        assert await loop.sock_recv(isolate.socket, 4096)
    # The channels stay open in a copy: the isolates must end although they see no end of file.
    keeper = os.fork()
    if keeper == 0:
        signal.pause()
    parent = int(open(f"/proc/{isolates[0].pid}/stat").read().rsplit(")", 1)[1].split()[1])
    print(json.dumps([keeper, parent, *(isolate.pid for isolate in isolates)]), flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_kernel_itself_says_that_an_isolate_is_locked(lab: Lab) -> None:
    isolate = lab.isolate()
    status = _status(isolate.pid)
    assert (status["Seccomp"], status["NoNewPrivs"], status["Threads"]) == ("2", "1", "1")
    assert int(status["Seccomp_filters"]) == int(_status(os.getpid())["Seccomp_filters"]) + 1
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert isolate.rss_bytes() > MIB
    isolate.close()


def test_an_isolate_of_a_root_server_is_nobody_and_no_two_are_the_same(lab: Lab) -> None:
    if not any(layer.name == "other_uid" and layer.holds for layer in lab.zygote.report()):
        pytest.skip("this server may not change its uid")
    first, second = lab.isolate(), lab.isolate()
    uids = {_status(isolate.pid)["Uid"] for isolate in (first, second)}
    assert len(uids) == 2
    assert not any("\t0" in f"\t{uid}" for uid in uids)
    first.close()
    second.close()


def test_an_isolate_holds_two_descriptors_and_its_zygote_one_that_matters(lab: Lab) -> None:
    if not int(_status(os.getpid())["CapEff"], 16) & 1 << CAP_SYS_PTRACE:
        pytest.skip("only a privileged user may look at another process's descriptors")
    isolate = lab.isolate()
    zygote = int(_status(isolate.pid)["PPid"])
    assert sorted(path.name for path in Path(f"/proc/{isolate.pid}/fd").iterdir()) == ["2", "3"]
    held = {path.name: os.readlink(path) for path in Path(f"/proc/{zygote}/fd").iterdir()}
    assert held.pop("3").startswith("socket:")
    assert set(held.values()) == {"/dev/null"}
    isolate.close()


def test_a_zygote_knows_nothing_but_language_time_zone_and_hash_seed(lab: Lab) -> None:
    isolate = lab.isolate()
    environment = Path(f"/proc/{_status(isolate.pid)['PPid']}/environ").read_bytes()
    assert {line.partition(b"=")[0] for line in environment.strip(b"\0").split(b"\0")} == {
        b"LANG",
        b"TZ",
        b"PYTHONHASHSEED",
    }
    isolate.close()


def test_an_isolate_ends_when_its_channel_does(lab: Lab) -> None:
    isolate = lab.isolate()
    isolate.socket.close()
    assert lab.do(isolate.exit_status()) == 0
    isolate.close()


def test_an_isolate_that_never_listens_is_killed_and_its_cpu_was_seen(lab: Lab, tmp_path: Path) -> None:
    world, isolate = World(tmp_path, 0), lab.isolate()
    lab.order(isolate, "burn_without_end", world.target)
    while isolate.cpu_seconds() < 0.05:
        os.sched_yield()
    isolate.interrupt()
    isolate.kill()
    assert lab.do(isolate.exit_status()) in (-signal.SIGKILL, -signal.SIGUSR1)
    assert isolate.cpu_seconds() >= 0.05
    isolate.close()
    isolate.kill()
    world.close()


def test_a_flood_on_standard_error_neither_blocks_nor_fills_the_host(lab: Lab, tmp_path: Path) -> None:
    world, isolate = World(tmp_path, 0), lab.isolate()
    lab.order(isolate, "a_flood_on_standard_error", world.target)
    assert lab.line(isolate) == "EPERM"
    assert len(isolate.last_words()) <= GUEST_STDERR
    assert isolate.last_words()[:3] == b"xxx"
    isolate.close()
    world.close()


def test_memory_is_bounded_by_the_kernel(lab: Lab) -> None:
    isolate = lab.isolate()
    limits = Path(f"/proc/{isolate.pid}/limits").read_text().splitlines()
    soft, hard = next(line.split()[3:5] for line in limits if line.startswith("Max address space"))
    assert soft == hard
    assert GUEST_MEMORY < int(soft) < GUEST_MEMORY + 256 * MIB
    isolate.close()


def test_two_isolates_do_not_draw_the_same_random_numbers(lab: Lab, tmp_path: Path) -> None:
    world, isolates = World(tmp_path, 0), [lab.isolate(), lab.isolate()]
    for isolate in isolates:
        lab.order(isolate, "say_a_random_number", world.target)
    first, second = (lab.line(isolate) for isolate in isolates)
    assert first != second
    for isolate in isolates:
        isolate.close()
    world.close()


def test_nothing_is_left_of_a_host_that_is_killed() -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST, str(GUEST)], stdout=subprocess.PIPE)
    assert host.stdout is not None
    keeper, *left = json.loads(host.stdout.readline())
    assert len(left) == 4
    pidfds = [os.pidfd_open(pid) for pid in left]
    host.kill()
    host.wait()
    assert all(ended(pidfd) for pidfd in pidfds)
    os.kill(keeper, signal.SIGKILL)
    host.stdout.close()
    for pidfd in pidfds:
        os.close(pidfd)


async def test_nothing_is_left_of_a_zygote_that_is_killed() -> None:
    zygote = Zygote(guest=str(GUEST))
    await zygote.start()
    isolate = await zygote.fork()
    assert await asyncio.get_running_loop().sock_recv(isolate.socket, 4096)
    os.kill(int(_status(isolate.pid)["PPid"]), signal.SIGKILL)
    assert await isolate.exit_status() == -signal.SIGKILL
    assert ended(isolate.pidfd)
    isolate.close()
    await zygote.stop()
