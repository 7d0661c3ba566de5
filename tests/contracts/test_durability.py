"""What was acknowledged is on the disk, whole, whatever happens to the process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.names import DeploymentName
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.transaction import Transactions

ROOT = Path(__file__).parents[2]
NAME = DeploymentName("happy-otter-123")

BEGINNING = """
import asyncio, resource, sys
from pathlib import Path
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.errors import CommitConflict, OurMistake
from runtime.names import DeploymentName
from runtime.syscalls.transaction import Transactions

class StoppedClock:
    def now(self): return 1_700_000_000_000.0
    def monotonic(self): return 0.0

store = SqliteDocuments(Path(sys.argv[1]), log_bytes=200_000)
transactions = Transactions(store, StoppedClock())

async def write_pair(number, size):
    while True:
        transaction = await transactions.begin(DeploymentName("happy-otter-123"))
        for half in "ab":
            await transaction.insert("halves", {"pair": number, "half": half, "ballast": "x" * size})
        try:
            return await transaction.commit()
        except CommitConflict:
            # All of them create the table at first.
            continue
"""

WRITES_FOR_EVER = """
async def work(worker):
    for step in range(1_000_000):
        number = int(sys.argv[2]) * 10_000_000 + worker * 1_000_000 + step
        await write_pair(number, 300)
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(work(worker) for worker in range(8)))

asyncio.run(main())
"""

CONVOYS_FOR_EVER = """
from functools import partial
from runtime.syscalls.convoys.convoy import Convoy

async def main():
    name = DeploymentName("happy-otter-123")
    await write_pair(int(sys.argv[2]) * 10_000_000 + 9_999_999, 10)
    for step in range(1_000_000):
        convoy = Convoy(partial(store.snapshot, name))

        async def write(number, place):
            transaction = transactions.at(name, place)
            for half in "ab":
                await transaction.insert("halves", {"pair": number, "half": half, "ballast": "x" * 300})
            await transaction.commit()
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()

        first = int(sys.argv[2]) * 10_000_000 + step * 10
        writes = [asyncio.create_task(write(number, convoy.place())) for number in range(first, first + 5)]
        await asyncio.gather(*writes)

asyncio.run(main())
"""

DISK_FULL = """
async def main():
    await write_pair(1, 10)
    log = Path(sys.argv[1]) / "happy-otter-123" / "documents.sqlite3-wal"
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 10_000, resource.RLIM_INFINITY))
    outcomes = await asyncio.gather(*(write_pair(number, 2_000) for number in range(2, 12)), return_exceptions=True)
    assert all(isinstance(outcome, OurMistake) for outcome in outcomes), outcomes
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await write_pair(12, 10)
    await store.close()

asyncio.run(main())
"""


class StoppedClock:
    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


def start(program: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def pairs_in(folder: Path) -> dict[int, list[str]]:
    """Every pair that can be read, and its halves."""
    store = SqliteDocuments(folder)
    transaction = await Transactions(store, StoppedClock()).begin(NAME)
    found: dict[int, list[str]] = {}
    cursor: bytes | None = None
    while True:
        page = await transaction.scan(
            "halves", "by_creation_time", Bounds([], True, [], True), Order.ASCENDING, cursor, 1_000
        )
        for document in map(values.decode, page.documents):
            found.setdefault(document["pair"], []).append(document["half"])
        cursor = page.cursor
        if cursor is None:
            break
    transaction.abandon()
    await store.close()
    return found


@pytest.mark.parametrize("program", [WRITES_FOR_EVER, CONVOYS_FOR_EVER], ids=["each by itself", "in convoys"])
@pytest.mark.parametrize("acknowledged_before", [1, 50, 400])
def test_what_a_killed_process_had_acknowledged_is_there_and_nothing_is_half_written(
    tmp_path: Path, program: str, acknowledged_before: int
) -> None:
    acknowledged: list[int] = []
    for life in range(2):
        with start(program, str(tmp_path), str(life)) as child:
            assert child.stdout is not None
            acknowledged += [int(child.stdout.readline()) for _ in range(acknowledged_before)]
            child.kill()
            # What was still in the pipe had been acknowledged too; the last line may be cut.
            acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
        found = asyncio.run(pairs_in(tmp_path))
        assert set(acknowledged) <= set(found)
        assert all(sorted(halves) == ["a", "b"] for halves in found.values())


def test_when_the_disk_is_full_everybody_hears_it_and_nothing_is_there(tmp_path: Path) -> None:
    with start(DISK_FULL, str(tmp_path)) as child:
        assert child.wait() == 0
    assert sorted(asyncio.run(pairs_in(tmp_path))) == [1, 12]


def test_several_processes_on_one_file_lose_nothing(tmp_path: Path) -> None:
    children = [start(WRITES_FOR_EVER, str(tmp_path), str(life)) for life in range(2)]
    acknowledged: list[int] = []
    for child in children:
        with child:
            assert child.stdout is not None
            acknowledged += [int(child.stdout.readline()) for _ in range(100)]
            child.kill()
            acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    found = asyncio.run(pairs_in(tmp_path))
    assert set(acknowledged) <= set(found)
    assert all(sorted(halves) == ["a", "b"] for halves in found.values())
