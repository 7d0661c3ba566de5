"""The figures of what runs later: how fast it is drained, how punctual it is, who delays whom.

When something was run is what the server's own clock said as its transaction began: the creation time of a document
that it wrote, or the completion time of its record.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measuring import Bench, Figure, quantile, running
from benchmarks.queue.rq_peer import FORKS, SIMPLE, Redis, ends
from benchmarks.servers import HERE, Warren

QUEUE = HERE / "bundles" / "queue"
BATCH = 1_000  # what one mutation may schedule
_PAGE = 1_000


def drain(bench: Bench) -> Iterator[Figure]:
    """Scheduled mutations that do nothing, all due at once, beside jobs of RQ's that do nothing."""
    count, forks, simple = (2_000, 60, 600) if bench.small else (20_000, 1_000, 10_000)
    ratios: dict[str, list[float]] = {FORKS: [], SIMPLE: []}
    with running(lambda: Warren(bench.scratch / "drain")) as (warren,), Redis(bench.scratch) as redis:
        assert isinstance(warren, Warren)
        for number in range(bench.rounds):
            ours = bench.keep("drained, warren: functions/s", _drain(warren, f"drain-{number}", count))
            for worker, most in {FORKS: forks, SIMPLE: simple}.items():
                theirs = bench.keep(f"drained, {worker}: jobs/s", _rate(ends(redis, worker, most)))
                ratios[worker].append(ours / theirs)
    yield Figure("scheduled mutations drained/s ÷ RQ's worker (forks)", "times", ratios[FORKS], 8, 20, True)
    yield Figure("scheduled mutations drained/s ÷ RQ's SimpleWorker", "times", ratios[SIMPLE], 1.5, 4, True)


def _drain(warren: Warren, name: str, count: int) -> float:
    """Functions a second of a deployment that was never used before."""
    begun = _crowd(warren, name, count)
    until_done(warren, name)
    times = pages(warren, name, "queue:ended")
    assert len(times) == count + BATCH and None not in times, "each has ended, and ended well"
    return _rate([at / 1000 for at in times if at >= begun * 1000])


def _crowd(warren: Warren, name: str, count: int) -> float:
    """A new deployment, warm, with so many functions due at one moment; when all are scheduled and it has come."""
    warren.deploy(name, QUEUE)
    began = time.time()
    warren.call(name, "mutation", "queue:schedule", {"at": began, "count": BATCH})
    until_done(warren, name)
    # The first thousand says how long it takes to schedule the others.
    due = time.time() + 2 * (time.time() - began) * count / BATCH
    for _ in range(0, count, BATCH):
        warren.call(name, "mutation", "queue:schedule", {"at": due, "count": BATCH})
    time.sleep(max(0.0, due - time.time()))
    return time.time()


def _rate(times: list[float]) -> float:
    """How many a second ended, the first tenth aside: a start is not what is measured."""
    ordered = sorted(times)[len(times) // 10 :]
    return (len(ordered) - 1) / (ordered[-1] - ordered[0])


def punctual(bench: Bench) -> Iterator[Figure]:
    """Two hundred due every second for a minute."""
    rate, seconds = (50, 5) if bench.small else (200, 60)
    name = "punctual"
    with running(lambda: Warren(bench.scratch / name)) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy(name, QUEUE)
        first = time.time() + (5 if bench.small else 30)
        for begin in range(0, rate * seconds, BATCH):
            count = min(BATCH, rate * seconds - begin)
            arguments = {"first": first + begin / rate, "apart": 1 / rate, "count": count}
            warren.call(name, "mutation", "queue:schedule_stamps", arguments)
        assert time.time() < first, "scheduling took longer than was thought"
        time.sleep(first + seconds - time.time())
        until_done(warren, name)
        late = [ran - due for due, ran in pages(warren, name, "queue:stamps")]
    assert len(late) == rate * seconds, f"{len(late)} of {rate * seconds} were run"
    for share in (0.5, 0.9, 0.99):
        bench.keep(f"{rate} due per second, late p{share * 100:g}: ms", quantile(late, share))
    bench.keep(f"{rate} due per second, least late: ms", min(late))
    early = float(sum(each < 0 for each in late))
    yield Figure(f"{rate} due per second for {seconds} s, early", "functions", [early], 0, 0)
    yield Figure(f"{rate} due per second for {seconds} s, late p99", "ms", [quantile(late, 0.99)], 500, 100)


def neighbour(bench: Bench) -> Iterator[Figure]:
    """One tenant has a great many due, another one now and then."""
    count, singles = (10_000, 2) if bench.small else (100_000, 20)
    with running(lambda: Warren(bench.scratch / "neighbour")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy("quiet", QUEUE)
        warren.call("quiet", "mutation", "queue:schedule_stamps", {"first": time.time(), "apart": 0, "count": 10})
        until_done(warren, "quiet")
        _crowd(warren, "busy", count)
        late: list[float] = []
        while len(late) < singles and warren.call("busy", "query", "queue:newest", {}) == "pending":
            late.append(_single(warren))
    for value in late:
        bench.keep("a single function beside a busy tenant, late: ms", value)
    yield Figure(
        f"one tenant has {count:,} due: another's single one late, the worst of {len(late)}",
        "ms",
        [max(late)],
        1_000,
        200,
    )


def _single(warren: Warren) -> float:
    """How late one function of the quiet tenant is, in milliseconds."""
    seen = len(pages(warren, "quiet", "queue:stamps"))
    due = time.time() + 0.5
    warren.call("quiet", "mutation", "queue:schedule_stamps", {"first": due, "apart": 0, "count": 1})
    time.sleep(0.5)
    while len(found := pages(warren, "quiet", "queue:stamps")) == seen:
        time.sleep(0.1)
    when, ran = found[-1]
    return float(ran - when)


def until_newest(warren: Warren, name: str) -> None:
    """Wait until what was scheduled last is done, asking seldom: who asks takes time from who works."""
    while warren.call(name, "query", "queue:newest", {}) != "success":
        time.sleep(0.25)


def until_done(warren: Warren, name: str) -> None:
    """Wait until all that is scheduled is done."""
    until_newest(warren, name)
    while None in pages(warren, name, "queue:ended"):
        time.sleep(0.25)


def pages(warren: Warren, name: str, path: str) -> list[Any]:
    """All that a paginated query returns."""
    found: list[Any] = []
    page: dict[str, Any] = {"isDone": False, "continueCursor": None}
    while not page["isDone"]:
        options = {"numItems": _PAGE, "cursor": page["continueCursor"]}
        page = warren.call(name, "query", path, {"paginationOpts": options})
        found += page["page"]
    return found


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {"drain": drain, "punctual": punctual, "neighbour": neighbour}
