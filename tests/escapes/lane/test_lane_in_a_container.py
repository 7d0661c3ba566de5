"""Has a lane its network where the host may not duplicate descriptors of its children, as in a container of Docker?"""

import subprocess
import sys
from pathlib import Path

# What Docker's usual filter does to pidfd_getfd(2): EPERM. One load, one comparison, two answers.
REFUSING = """
import ctypes, struct, sys
import pytest

program = b"".join(
    struct.pack("=HBBI", *step)
    for step in ((0x20, 0, 0, 0), (0x15, 0, 1, 438), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000))
)
buffer = ctypes.create_string_buffer(program, len(program))
head = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(head), 0, 0) == 0
pidfd = libc.syscall(434, __import__("os").getpid(), 0)
assert libc.syscall(438, pidfd, 0, 0) == -1 and ctypes.get_errno() == 1
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_the_network_of_a_lane_is_the_same_without_pidfd_getfd() -> None:
    suite = Path(__file__).with_name("test_lane_network.py")
    done = subprocess.run(
        # What was set on a socket before it connects cannot be read there, and is forgotten.
        [sys.executable, "-c", REFUSING, str(suite), "-k", "not options"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
