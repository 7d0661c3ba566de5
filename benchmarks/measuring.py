"""What a figure is, and how rounds of load become one."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Sample
from benchmarks.peers_installed import Peers
from benchmarks.servers import Server


@dataclass(frozen=True)
class Figure:
    """One measured thing. ``values`` are the rounds; ``must`` and ``aim`` are bounds on their median."""

    name: str
    unit: str
    values: list[float]
    must: float
    aim: float
    higher_is_better: bool = False
    note: str = ""

    @property
    def median(self) -> float:
        """What is quoted."""
        return statistics.median(self.values)

    def reaches(self, bound: float) -> bool:
        """Whether the median is on the right side of ``bound``."""
        return self.median >= bound if self.higher_is_better else self.median <= bound


@dataclass
class Bench:
    """Where and how much: a directory for this run, the peers, rounds and seconds of each load.

    ``small`` tries whether everything runs, with a hundredth of the documents and a tenth of the clients; what it
    prints says nothing.
    """

    scratch: Path
    peers: Peers
    rounds: int = 5
    seconds: float = 3.0
    small: bool = False
    raw: dict[str, list[float]] = field(default_factory=dict)

    def keep(self, name: str, value: float) -> float:
        """Keep an absolute figure for the report's appendix."""
        self.raw.setdefault(name, []).append(value)
        return value


@contextmanager
def running(*servers: Callable[[], Server]) -> Iterator[list[Server]]:
    """Servers for as long as they are measured."""
    with ExitStack() as stack:
        started = []
        for start in servers:
            server = start()
            stack.callback(server.stop)
            started.append(server)
        yield started


def measure(bench: Bench, label: str, load: Callable[[], Sample]) -> Sample:
    """Load once, and keep what came out."""
    sample = load()
    bench.keep(f"{label}: requests/s", sample.rate)
    bench.keep(f"{label}: p50 ms", sample.p50)
    bench.keep(f"{label}: p99 ms", sample.p99)
    if sample.errors:
        bench.keep(f"{label}: errors", sample.errors)
    return sample


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
