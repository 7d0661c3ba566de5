"""The figures of a million scheduled functions: what they weigh in the server, how long what is due is looked for."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.measuring import Bench, Figure, quantile, running
from benchmarks.queue.figures import BATCH, QUEUE, until_newest
from benchmarks.servers import Warren, pss

NAME = "scheduled"
_A_YEAR = 365 * 24 * 3600.0
_DUE = 256  # due when it is looked: what one shift takes


def scheduled(bench: Bench) -> Iterator[Figure]:
    """A server that has about a million scheduled for next year, beside one that has nothing scheduled."""
    # A million is what one deployment may have outstanding; a few more are scheduled below.
    count = 10_000 if bench.small else 998_000
    full, empty = bench.scratch / "full", bench.scratch / "empty"
    for data, most in ((full, count), (empty, 0)):
        with running(partial(Warren, data)) as (warren,):
            assert isinstance(warren, Warren)
            _fill(bench, warren, most)
    sizes: dict[Path, list[float]] = {full: [], empty: []}
    for _ in range(bench.rounds):
        for data, measured in sizes.items():
            measured.append(_size(data))
    for data, label in ((full, f"{count:,} scheduled"), (empty, "none scheduled")):
        for size in sizes[data]:
            bench.keep(f"the server's process with {label}: PSS MiB", size)
    times = _look(bench, full)
    yield Figure(
        f"memory of the server with {count:,} scheduled ÷ with none",
        "times",
        [full_size / empty_size for full_size, empty_size in zip(sizes[full], sizes[empty], strict=True)],
        1.25,
        1.05,
        note="the process that schedules, started anew, after its sweep and a scheduled function; flat is 1",
    )
    yield Figure(
        f"{count:,} scheduled, time to find what is due, p50",
        "ms",
        [quantile(times[1:], 0.5)],
        20,
        2,
        note=f"when to look next and {_DUE} that are due, in a process of its own; the first time: {times[0]:.3g} ms",
    )


def _fill(bench: Bench, warren: Warren, count: int) -> None:
    """Schedule so many for next year, by mutations of a thousand."""
    warren.deploy(NAME, QUEUE)
    began = time.perf_counter()
    for begin in range(0, count, BATCH):
        warren.call(NAME, "mutation", "queue:schedule_far", {"seconds": _A_YEAR + begin, "count": BATCH})
    if count:
        bench.keep("scheduled a second, by mutations of a thousand", count / (time.perf_counter() - began))


def _size(data: Path) -> float:
    """Mebibytes of a server's process that has looked at everything and run what was due."""
    with running(lambda: Warren(data)) as (warren,):
        assert isinstance(warren, Warren)
        warren.call(NAME, "mutation", "queue:schedule", {"at": time.time(), "count": 100})
        until_newest(warren, NAME)
        return pss([warren.process.pid])[warren.process.pid]


def _look(bench: Bench, data: Path) -> list[float]:
    """Milliseconds of each look at what is due, with the server's own code, while nobody does it."""
    with running(lambda: Warren(data)) as (warren,):
        assert isinstance(warren, Warren)
        due = time.time() + 2
        warren.call(NAME, "mutation", "queue:schedule", {"at": due, "count": _DUE})
    assert time.time() < due, "ending the server took longer than was thought"
    time.sleep(due - time.time())
    command = [sys.executable, "-m", "benchmarks.queue.due", str(data), NAME, str(20 if bench.small else 200)]
    return list(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {"scheduled": scheduled}
