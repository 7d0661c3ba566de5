"""What does every log promise? One suite, run on each adapter; and what only files can lose."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime import limits
from runtime.adapters.logs.files import FileLogs, Writers
from runtime.adapters.logs.memory import MemoryLogs
from runtime.names import DeploymentName, RequestId
from runtime.ports import LogEntry, LogQuery
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level

Logs = MemoryLogs | FileLogs

ONE, TWO = DeploymentName("happy-otter-1"), DeploymentName("happy-otter-2")
EVERYTHING = LogQuery()


class StandingClock:
    """A clock that stands."""

    def now(self) -> float:
        """Always the same."""
        return 1_000.0

    def monotonic(self) -> float:
        """Always the same."""
        return 0.0


@pytest.fixture(params=["memory", "files", "shared files"])
async def logs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Logs]:
    """An empty log."""
    if request.param == "memory":
        memory = MemoryLogs()
        yield memory
        await memory.close()
    else:
        writers = Writers.SEVERAL if request.param == "shared files" else Writers.ONE
        files = FileLogs(tmp_path / "logs", StandingClock(), writers=writers)
        await files.start()
        yield files
        await files.close()


def line(text: str, at: float = 1.0, level: Level = Level.INFO, request_id: str = "") -> LogEntry:
    """A line."""
    return LogEntry(at=at, level=level, text=text, request_id=RequestId(request_id))


async def texts(logs: Logs, query: LogQuery = EVERYTHING, name: DeploymentName = ONE) -> list[str]:
    """What was said."""
    return [entry.text for entry in await logs.read(name, query)]


async def test_what_was_just_written_can_be_read(logs: Logs) -> None:
    for text in ("first", "second"):
        logs.write(ONE, line(text))
    logs.write(TWO, line("another's"))
    assert await texts(logs) == ["first", "second"]
    assert await texts(logs, name=TWO) == ["another's"]
    assert await texts(logs, name=DeploymentName("nobody")) == []


async def test_a_line_comes_back_whole(logs: Logs) -> None:
    whole = LogEntry(
        at=1234.5678,
        level=Level.ERROR,
        text="a\nb \u2603 \x1b[31m \u2028 \U0001f98a",
        kind="request",
        request_id=RequestId("0123456789abcdef"),
        function="m:f",
        function_kind=Kind.HTTP_ACTION,
        status=500,
        duration=1.25,
    )
    logs.write(ONE, whole)
    assert list(await logs.read(ONE, EVERYTHING)) == [whole]


async def test_the_newest_lines_are_read_oldest_first(logs: Logs) -> None:
    for number in range(500):
        logs.write(ONE, line(str(number)))
    assert await texts(logs, LogQuery(limit=3)) == ["497", "498", "499"]
    assert await texts(logs, LogQuery(limit=0)) == []


async def test_lines_are_chosen_by_moment_request_and_level(logs: Logs) -> None:
    logs.write(ONE, line("old", at=10))
    logs.write(ONE, line("debug", at=20, level=Level.DEBUG, request_id="r1"))
    logs.write(ONE, line("warn", at=30, level=Level.WARN, request_id="r1"))
    logs.write(ONE, line("error", at=40, level=Level.ERROR, request_id="r2"))
    assert await texts(logs, LogQuery(since=20)) == ["debug", "warn", "error"]
    assert await texts(logs, LogQuery(request_id=RequestId("r1"))) == ["debug", "warn"]
    assert await texts(logs, LogQuery(level=Level.WARN)) == ["warn", "error"]
    assert await texts(logs, LogQuery(since=25, request_id=RequestId("r1"), level=Level.INFO)) == ["warn"]


async def test_a_follower_gets_what_comes_and_only_what_it_asked_for(logs: Logs) -> None:
    logs.write(ONE, line("before"))
    follower = logs.follow(ONE, LogQuery(level=Level.WARN))
    logs.write(ONE, line("too quiet"))
    logs.write(TWO, line("another's", level=Level.ERROR))
    for text in ("first", "second"):
        logs.write(ONE, line(text, level=Level.ERROR))
    assert [(await anext(follower)).text for _ in range(2)] == ["first", "second"]
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    logs.write(ONE, line("third", level=Level.WARN))
    assert (await waiting).text == "third"
    await follower.aclose()


async def test_a_slow_follower_is_told_how_many_lines_it_missed(logs: Logs) -> None:
    follower = logs.follow(ONE, EVERYTHING)
    for number in range(limits.LOG_FOLLOWER + 5):
        logs.write(ONE, line(str(number)))
    got = [await anext(follower) for _ in range(limits.LOG_FOLLOWER + 1)]
    assert got[-2].text == str(limits.LOG_FOLLOWER - 1)
    assert got[-1].level is Level.WARN
    assert "5 lines" in got[-1].text
    logs.write(ONE, line("again"))
    assert (await anext(follower)).text == "again"
    await follower.aclose()


async def test_a_closed_follower_ends_and_others_go_on(logs: Logs) -> None:
    closed, other = logs.follow(ONE, EVERYTHING), logs.follow(ONE, EVERYTHING)
    waiting = asyncio.ensure_future(anext(closed))
    await asyncio.sleep(0)
    await closed.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    logs.write(ONE, line("still"))
    assert (await anext(other)).text == "still"
    await other.aclose()


async def test_a_follower_that_nobody_holds_is_forgotten(logs: Logs) -> None:
    logs.follow(ONE, EVERYTHING)
    logs.write(ONE, line("x"))
    assert await texts(logs) == ["x"]


async def test_forgetting_removes_the_lines_and_ends_the_readers(logs: Logs) -> None:
    logs.write(ONE, line("secret"))
    logs.write(TWO, line("stays"))
    follower = logs.follow(ONE, EVERYTHING)
    await logs.forget(ONE)
    assert await texts(logs) == []
    assert await texts(logs, name=TWO) == ["stays"]
    with pytest.raises(StopAsyncIteration):
        await anext(follower)
    logs.write(ONE, line("a new life"))
    assert await texts(logs) == ["a new life"]


async def test_closing_ends_the_readers_and_those_who_come_after(logs: Logs) -> None:
    follower = logs.follow(ONE, EVERYTHING)
    await logs.close()
    with pytest.raises(StopAsyncIteration):
        await anext(follower)
    with pytest.raises(StopAsyncIteration):
        await anext(logs.follow(ONE, EVERYTHING))


async def test_memory_keeps_the_newest() -> None:
    logs = MemoryLogs(kept=3)
    for number in range(10):
        logs.write(ONE, line(str(number)))
    assert await texts(logs) == ["7", "8", "9"]


# --- what only files can lose -----------------------------------------------------------------------------------------


async def test_lines_are_there_after_a_restart(tmp_path: Path) -> None:
    for text in ("first", "second"):
        logs = FileLogs(tmp_path, StandingClock())
        await logs.start()
        logs.write(ONE, line(text))
        await logs.close()
    again = FileLogs(tmp_path, StandingClock())
    assert await texts(again) == ["first", "second"]


async def test_a_log_stays_under_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path, StandingClock(), limit=64 * limits.KIB)
    await logs.start()
    for number in range(3_000):
        logs.write(ONE, line(f"{number} " + "x" * 100))
        if number % 50 == 0:
            await logs.read(ONE, LogQuery(limit=0))
    kept = await texts(logs, LogQuery(limit=10_000))
    await logs.close()
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.ndjson")) <= 64 * limits.KIB
    numbers = [int(text.split()[0]) for text in kept]
    assert numbers == list(range(numbers[0], 3_000))
    assert len(numbers) > 200


async def test_a_torn_line_is_passed_over_and_what_follows_is_whole(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path, StandingClock())
    await logs.start()
    logs.write(ONE, line("whole"))
    await logs.close()
    (file,) = (tmp_path / ONE).iterdir()
    file.write_bytes(file.read_bytes() + b'{"at":1.0,"level":"info","te')
    again = FileLogs(tmp_path, StandingClock())
    await again.start()
    assert await texts(again) == ["whole"]
    again.write(ONE, line("next"))
    assert await texts(again) == ["whole", "next"]
    await again.close()


async def test_a_disk_that_refuses_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ONE).write_text("in the way of the folder")
    logs = FileLogs(tmp_path, StandingClock())
    await logs.start()
    logs.write(ONE, line("lost"))
    logs.write(TWO, line("kept"))
    assert await texts(logs, name=TWO) == ["kept"]
    (tmp_path / ONE).unlink()
    logs.write(ONE, line("after"))
    found = await texts(logs)
    await logs.close()
    assert found[0] == "after"
    assert "1 log lines were lost" in found[1]


async def test_lines_that_come_faster_than_the_disk_are_dropped_and_counted(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path, StandingClock())
    text = "x" * limits.MIB
    for _ in range(70):  # not started: nothing is written meanwhile
        logs.write(ONE, line(text))
    await logs.start()
    (last,) = await texts(logs, LogQuery(limit=1))
    await logs.close()
    assert "6 log lines were lost" in last


WRITER = """
import asyncio, sys
from pathlib import Path
from runtime.adapters.logs.files import FileLogs
from runtime.names import DeploymentName
from runtime.ports import LogEntry, LogQuery
from runtime.protocol.messages import Level

class Clock:
    def now(self): return 1.0
    def monotonic(self): return 1.0

async def main():
    logs = FileLogs(Path(sys.argv[1]), Clock())
    await logs.start()
    name, number = DeploymentName("happy-otter-1"), 0
    while True:
        for _ in range(50):
            logs.write(name, LogEntry(at=1.0, level=Level.INFO, text=str(number)))
            number += 1
        await logs.read(name, LogQuery(limit=1))
        print(number - 1, flush=True)

asyncio.run(main())
"""


async def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as writer:
        assert writer.stdout is not None
        for _ in range(10):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    found = [int(text) for text in await texts(FileLogs(tmp_path, StandingClock()), LogQuery(limit=10_000))]
    assert found[: last + 1] == list(range(last + 1))


async def test_who_follows_hears_every_process_that_writes_the_same_folder(tmp_path: Path) -> None:
    mine, other = (FileLogs(tmp_path, StandingClock(), writers=Writers.SEVERAL) for _ in range(2))
    await mine.start()
    await other.start()
    other.write(ONE, line("before"))
    await other.read(ONE, EVERYTHING)
    following = mine.follow(ONE, EVERYTHING)
    mine.write(ONE, line("mine"))
    other.write(ONE, line("another's"))
    async with asyncio.timeout(10):
        heard = {(await anext(following)).text for _ in range(2)}
    assert heard == {"mine", "another's"}
    await mine.close()
    await other.close()


async def test_two_processes_that_fill_a_log_keep_it_within_its_limit_and_its_newest_lines(tmp_path: Path) -> None:
    limit = 64 * limits.KIB
    writers = [FileLogs(tmp_path, StandingClock(), limit, Writers.SEVERAL) for _ in range(2)]
    for logs in writers:
        await logs.start()
    for number in range(200):
        logs = writers[number % 2]
        logs.write(ONE, line(f"{number:04}" + "x" * 1_000))
        await logs.read(ONE, LogQuery(limit=1))
    kept = [text[:4] for text in await texts(writers[0], LogQuery(limit=1_000))]
    assert kept == [f"{number:04}" for number in range(200 - len(kept), 200)] and len(kept) > 20
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.ndjson")) <= limit + 2 * 1_100
    for logs in writers:
        await logs.close()
