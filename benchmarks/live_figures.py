"""The figures of live queries: how fast a commit reaches a crowd, whom it wakes, and what holding one costs."""

import time
from collections.abc import Callable, Iterator

from benchmarks.data_figures import DATA, NAME
from benchmarks.measuring import Bench, Figure, quantile, running
from benchmarks.servers import Warren, pss
from benchmarks.subscribers import Crowd, Subscriber

_GIBIBYTE = 1024.0  # MiB


def subscribers(bench: Bench) -> Iterator[Figure]:
    """A thousand clients watch one query: from the call that commits to the last delivery, and a commit elsewhere."""
    count, commits = (100, 20) if bench.small else (1_000, 200)
    times, woken = [], []
    with running(lambda: Warren(bench.scratch / "subscribers")) as (warren,), Crowd() as crowd:
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)
        for number in range(count):
            crowd.join(Subscriber(warren.port, warren.cloud(NAME), number, "data:room", {"room": "lobby"}))
        for number in range(commits):
            began = time.perf_counter()
            warren.call(NAME, "mutation", "data:say", {"room": "lobby", "body": str(number)})
            times.append((crowd.hear(count) - began) * 1000)
        for _ in range(bench.rounds):
            before = crowd.transitions
            for number in range(20):
                warren.call(NAME, "mutation", "data:say", {"room": "elsewhere", "body": str(number)})
            # What comes after a commit that they all hear of was not said because of those before it.
            warren.call(NAME, "mutation", "data:say", {"room": "lobby", "body": "now"})
            crowd.hear(count)
            woken.append(float(crowd.transitions - before - count))
    bench.keep(f"{count} subscribers, commit to last delivery: p50 ms", quantile(times, 0.5))
    yield Figure(
        f"{count:,} subscribers of one query, commit to last delivery, p99",
        "ms",
        [quantile(times, 0.99)],
        250,
        100,
        note=f"{commits} commits, from the call of the mutation on; the clients share the machine",
    )
    yield Figure(f"{count:,} subscribers, woken by 20 commits elsewhere", "transitions", woken, 0, 0)


def held(bench: Bench) -> Iterator[Figure]:
    """Subscriptions in a gibibyte: each a connection and a query of its own, by how memory grows."""
    first, then = (50, 250) if bench.small else (1_000, 5_000)
    with running(lambda: Warren(bench.scratch / "held")) as (warren,), Crowd() as crowd:
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)

        def grow(end: int) -> float:
            for number in range(len(crowd), end):
                arguments = {"room": f"room {number}"}
                crowd.join(Subscriber(warren.port, warren.cloud(NAME), number, "data:room", arguments))
            return sum(pss(warren.pids()).values())

        before = grow(first)
        each = (grow(then) - before) / (then - first)
    bench.keep("one subscription: KiB", each * 1024)
    yield Figure(
        "subscriptions held in 1 GiB",
        "subscriptions",
        [_GIBIBYTE / each],
        20_000,
        50_000,
        higher_is_better=True,
        note=f"extrapolated from what {then - first:,} more of them added to the {first:,} that were there",
    )


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {"subscribers": subscribers, "held": held}
