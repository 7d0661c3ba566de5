"""Does a lane stay within its limits, and is nothing left of it in the end?

Seen from outside: which limit a greedy program is told of, and which processes live when somebody has ended.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.limits import LANE_DESCRIPTORS, LANE_FILE, LANE_TASKS
from tests.escapes.kernel.lab import ended
from tests.escapes.lane.lab import NODE, PYTHON, Lab, in_node, in_python, members_of

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")

HOST = """
import asyncio, json, os, sys, tempfile
from pathlib import Path
from worker.lane.launcher import Launcher
from worker.lane.launching import Launch

async def main():
    launcher = Launcher()
    await launcher.start()
    folder = tempfile.mkdtemp()
    program = "import subprocess, os, time; subprocess.Popen(['sleep', '1000']); os.write(3, b'!'); time.sleep(1000)"
    python = os.path.realpath(sys.executable)
    lane = await launcher.launch(
        Launch((python, "-I", "-S", "-c", program), {}, (Path(sys.base_prefix),), Path(folder), 2**28)
    )
    await asyncio.get_running_loop().sock_recv(lane.socket, 1)
    def parent(pid):
        return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    keeper = parent(lane.pid)
    print(json.dumps([lane.pid, keeper, parent(keeper), folder]), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


FORK_BOMB = """
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
THREAD_BOMB = """
held = []
while True:
    try:
        threading.Thread(target=time.sleep, args=(1000,)).start()
    except RuntimeError:
        time.sleep(0.01)
"""
MANY_FILES = """
number = 0
while True:
    open(f'file{number}', 'w').close()
    number += 1
"""
BIG_FILES = """
piece = bytes(2**24)
number = 0
while True:
    with open(f'file{number}', 'wb') as file:
        for _ in range(8):
            file.write(piece)
    number += 1
"""
DELETED_FILES = """
piece = bytes(2**24)
held = []
while True:
    held.append(open('file', 'wb', buffering=0))
    os.unlink('file')
    for _ in range(8):
        held[-1].write(piece)
"""
DELETED_AND_MAPPED_FILES = """
import mmap
held = []
while True:
    with open('file', 'w+b') as file:
        os.unlink('file')
        file.truncate(2**27)
        held.append(mmap.mmap(file.fileno(), 2**27))
        held[-1].write(bytes(2**27))
"""
DEEP_FOLDERS = """
while True:
    os.mkdir('a')
    os.chdir('a')
"""
A_FOLDER_THAT_CANNOT_BE_LISTED = """
os.umask(0)
os.mkdir('hidden', 0o300)
while True:
    pass
"""
MEMORY_OF_MANY = """
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(60 * 2**20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        while True:
            pass
while True:
    pass
"""


@pytest.mark.parametrize(
    ("program", "limits"),
    [
        (FORK_BOMB, ("LANE_TASKS", "memory")),
        (MANY_FILES, ("LANE_SCRATCH_FILES",)),
        (BIG_FILES, ("LANE_SCRATCH:",)),
        (DELETED_FILES, ("LANE_SCRATCH:",)),
        (DELETED_AND_MAPPED_FILES, ("LANE_SCRATCH:", "memory")),
        (DEEP_FOLDERS, ("scratch: folders are nested",)),
        (MEMORY_OF_MANY, ("memory",)),
        # Root lists every folder.
        *([(A_FOLDER_THAT_CANNOT_BE_LISTED, ("scratch: a folder",))] if os.getuid() else []),
    ],
    ids=lambda value: str(value[0]).split()[0] if isinstance(value, tuple) else "",
)
def test_a_greedy_program_ends_and_is_told_of_its_limit(program: str, limits: tuple[str, ...], lab: Lab) -> None:
    ran = lab.run(in_python(program, {}))
    assert ran.end.status == -signal.SIGKILL, ran
    assert ran.end.reason is not None and ran.end.reason.startswith(limits), ran
    assert ran.left == []


def test_processes_under_a_uid_of_their_own_are_counted_by_the_kernel(lab: Lab) -> None:
    if not any(layer.name == "lane_other_uid" and layer.holds for layer in lab.launcher.report()):
        pytest.skip("this server may not change its uid")
    command = ["/bin/sh", "-c", "ulimit -p; id -u; i=0; while :; do sleep 1000 & i=$((i + 1)); done"]
    ran = lab.run(command)
    limit, uid = ran.said.split()[:2]
    assert (limit, uid != "0") == (str(int(LANE_TASKS)), True), ran
    assert "fork" in ran.said.lower()
    assert ran.left == []


def test_threads_are_counted_as_processes_are(lab: Lab) -> None:
    ran = lab.run(in_python(THREAD_BOMB.replace("held = []", "threading.stack_size(2**16)"), {}))
    assert ran.left == []
    assert ran.end.reason is not None and ran.end.reason.startswith("LANE_TASKS"), ran


def test_python_meets_its_memory_limit_as_a_memory_error(lab: Lab) -> None:
    body = """
try:
    held = bytearray(2**30)
except MemoryError:
    return 'MemoryError'
"""
    assert lab.run(in_python(body, {})).word == "MemoryError"


@needs_node
def test_a_memory_bomb_in_node_ends_its_lane_alone(lab: Lab) -> None:
    program = "const held = []; for (;;) held.push(Buffer.alloc(2 ** 24, 1));"
    ran = lab.run(in_node(program, {}))
    assert ran.end.status != 0
    assert ran.end.reason is None or ran.end.reason.startswith("memory"), ran
    assert ran.left == []


def test_files_and_descriptors_are_bounded_by_the_kernel(lab: Lab) -> None:
    body = """
import resource
return json.dumps([resource.getrlimit(which) for which in (
    resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_MSGQUEUE)])
"""
    bounds = [LANE_FILE, LANE_DESCRIPTORS, 0, 0]
    assert json.loads(lab.run(in_python(body, {})).word) == [[bound, bound] for bound in bounds]


def test_a_lane_that_ignores_sigterm_and_never_reads_is_killed(lab: Lab) -> None:
    lane = lab.open(in_python("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(3, b'!')\nsignal.pause()", {}))
    lab.do(lab.hear(lane))
    os.kill(lane.pid, signal.SIGTERM)
    lane.kill()
    assert lab.do(lane.ended()).status == -signal.SIGKILL
    lab.do(lane.close())
    assert members_of(lane.pid) == []


@pytest.mark.parametrize("session", ["", ", start_new_session=True"], ids=["of the group", "of its own session"])
def test_a_daemon_does_not_outlive_its_lane(session: str, lab: Lab, tmp_path: Path) -> None:
    body = f"""
try:
    child = subprocess.Popen(['sleep', '1000']{session})
except PermissionError:
    return 'refused'
if os.fork() == 0:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        while True:
            time.sleep(1)
    os._exit(0)
os.wait()
return str(child.pid)
"""
    ran = lab.run(in_python(body, {}))
    assert (ran.word == "refused") is bool(session), ran
    assert ran.left == []
    if not session:
        assert not Path(f"/proc/{ran.word}").exists()


@needs_node
def test_a_daemon_of_node_does_not_outlive_its_lane(lab: Lab) -> None:
    program = (
        "const child = require('child_process').spawn('sleep', ['1000'], {detached: true, stdio: 'ignore'});"
        "child.on('error', say).on('spawn', () => say(child.pid));"
    )
    ran = lab.run(in_node(program, {}))
    assert ran.word.isdigit(), ran
    assert not Path(f"/proc/{ran.word}").exists()
    assert ran.left == []


@pytest.mark.parametrize("whom", ["host", "keeper", "launcher"])
def test_nothing_is_left_when_somebody_above_is_killed(whom: str) -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE)
    assert host.stdout is not None
    first, keeper, launcher, folder = json.loads(host.stdout.readline())
    members = members_of(first)
    assert len(members) == 2
    pidfds = [os.pidfd_open(pid) for pid in members]
    os.kill({"host": host.pid, "keeper": keeper, "launcher": launcher}[whom], signal.SIGKILL)
    assert all(ended(pidfd) for pidfd in pidfds)
    host.kill()
    host.wait()
    host.stdout.close()
    for pidfd in pidfds:
        os.close(pidfd)
    os.rmdir(folder)


def test_a_launcher_that_was_killed_is_started_again(lab: Lab) -> None:
    lane = lab.open([PYTHON, "-I", "-S", "-c", "import time; time.sleep(1000)"])
    keeper = int(Path(f"/proc/{lane.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    launcher = int(Path(f"/proc/{keeper}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(launcher, signal.SIGKILL)
    assert lab.do(lane.ended()).status == -signal.SIGKILL
    lab.do(lane.close())
    assert lab.run(in_python("pass", {})).word == "done"


def test_words_are_read_as_they_come_and_a_flood_of_them_waits(lab: Lab) -> None:
    ran = lab.run(in_python("for _ in range(2000):\n    print('x' * 999)", {}))
    assert len(ran.said) == 2_000_000 + len("done\n")
