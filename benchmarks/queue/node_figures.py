"""The figures of Node-style actions: what a warm one costs an HTTP action that waits for it."""

import shutil
import sys
from collections.abc import Callable, Iterator

from benchmarks.load import Line
from benchmarks.measuring import Bench, Figure, quantile, running
from benchmarks.servers import HERE, Warren

NODE = HERE / "bundles" / "node"
NAME = "node"
_BOUNDS = {"Python": ("/python", 15, 5), "Node.js": ("/node", 20, 8)}


def node(bench: Bench) -> Iterator[Figure]:
    """HTTP actions, one after the other, that call an action of each language; through the queue and back."""
    count = 50 if bench.small else 300
    if shutil.which("node") is None:
        print("there is no node on this machine, and no figure of Node-style actions", file=sys.stderr)
        return
    medians: dict[str, list[float]] = {language: [] for language in _BOUNDS}
    with running(lambda: Warren(bench.scratch / NAME)) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, NODE)
        line = Line(warren.port)
        for _ in range(bench.rounds):
            for language, (path, _, _) in _BOUNDS.items():
                _times(line, path, warren.host(NAME), 20)  # warm
                times = _times(line, path, warren.host(NAME), count)
                medians[language].append(bench.keep(f"Node-style action, {language}: p50 ms", quantile(times, 0.5)))
                bench.keep(f"Node-style action, {language}: p99 ms", quantile(times, 0.99))
        line.close()
    for language, (_, must, aim) in _BOUNDS.items():
        yield Figure(f"warm Node-style action from an HTTP action, {language}, p50", "ms", medians[language], must, aim)


def _times(line: Line, path: str, host: str, count: int) -> list[float]:
    times = []
    for _ in range(count):
        status, body, took = line.get(path, host)
        assert (status, body) == (200, b"Hello, world!"), (status, body)
        times.append(took)
    return times


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {"node": node}
