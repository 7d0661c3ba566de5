"""The guest in a process of its own (no lock-down), because only a process can be sent a signal."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Line, Ping, Pong, Reason
from tests.units.guests import Host

START = (
    "import sys; from runtime.sandbox import guest_main as guest; "
    "guest.prepare(); guest.CHANNEL = int(sys.argv[1]); guest.main(('none',))"
)


class Process(Host):
    """A guest that can be interrupted."""

    def start(self, guest_end: socket.socket) -> None:
        """Start it as a process."""
        channel = guest_end.fileno()
        self.process = subprocess.Popen([sys.executable, "-c", START, str(channel)], pass_fds=[channel])

    def close(self) -> None:
        """Hang up, and wait until it has ended by itself."""
        self.hang_up()
        assert self.process.wait(10) == 0

    def wait_until_busy(self) -> None:
        """Wait until it has begun to burn CPU."""
        clock = (~self.process.pid << 3) | 2  # the CPU clock of another process
        before = time.clock_gettime(clock)
        while time.clock_gettime(clock) < before + 0.02:
            assert self.process.poll() is None

    def interrupt(self) -> None:
        """Send what the watchdog sends."""
        os.kill(self.process.pid, signal.SIGUSR1)


@pytest.fixture
def host() -> Iterator[Process]:
    host = Process()
    yield host
    host.close()


def load(host: Process, code: str) -> None:
    host.load({"m.py": f"import asyncio\nfrom runtime import *\n{code}"})


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "while True:\n        try:\n            while True: pass\n        except Exception: pass",
        "while True: str(5).encode()",
        "while True: print('x')",
        "def g(n): return g(n - 1) if n else 0\n    while True: g(100)",
        "while True: asyncio.create_task(asyncio.sleep(0)).cancel()",
    ],
    ids=["loop", "except Exception", "calls", "the runtime's own frames", "recursion", "the loop's frames"],
)
def test_tenant_code_is_interrupted_wherever_it_is(host: Process, code: str) -> None:
    load(host, f"@action\nasync def a(ctx):\n    {code}\n@query\ndef fine(ctx):\n    return 1")
    host.call("m:a", Kind.ACTION)
    host.wait_until_busy()
    host.interrupt()
    while isinstance(message := host.next(), Line):
        pass
    failure = message.failure  # type: ignore[union-attr]  # it fails here when it is no failure
    assert (failure.reason, failure.exception) == (Reason.TIME, "TimeLimit")
    assert failure.frames[0].function == "a"
    host.call("m:fine")
    assert host.returned() == 1


def test_only_the_guilty_call_is_interrupted(host: Process) -> None:
    load(
        host,
        "@query\nasync def waits(ctx):\n    return await ctx.db.get('a')\n"
        "@query\nasync def burns(ctx):\n    await ctx.db.get('b')\n    while True: pass",
    )
    host.call("m:waits")
    waiting, _ = host.asked()
    host.call("m:burns")
    burning, _ = host.asked()
    host.answer(burning, None)
    host.wait_until_busy()
    host.interrupt()
    assert host.failed().reason is Reason.TIME
    host.answer(waiting, {"a": 1})
    assert host.returned() == {"a": 1}


def test_an_interruption_of_an_idle_guest_does_nothing(host: Process) -> None:
    host.interrupt()
    host.say(Ping(1))
    assert host.next() == Pong(1)


def test_an_import_that_does_not_end_is_refused_with_its_line(host: Process) -> None:
    host.say_load({"m.py": "x = 1\nwhile True: pass"})
    host.wait_until_busy()
    host.interrupt()
    (found,) = host.refused()
    assert (found.file, found.line) == ("m.py", 2)
    assert "took too long" in found.message
