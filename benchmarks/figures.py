"""The figures of the foundation: what each is, how it is measured, and what it must and should be.

Every figure that is a ratio is measured in rounds: each round loads everybody once, one after the other, and gives one
ratio; the report quotes the median of the rounds and their spread. Nothing is asserted here: a person reads the report.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.load import Line, Sample, wrk
from benchmarks.measuring import Bench, Figure, measure, quantile, running
from benchmarks.servers import HERE, Server, Warren, archive, functions_framework_peer, pss, uvicorn_peer, workerd_peer

HELLO = HERE / "bundles" / "hello"
MESSAGES = HERE / "bundles" / "messages"
RUNAWAY = HERE / "bundles" / "runaway"


def hello(bench: Bench) -> Iterator[Figure]:
    """Hello through router and sandbox at 32 connections, beside bare FastAPI, functions-framework and workerd."""
    peers: dict[str, Callable[[], Server]] = {}
    if python := bench.peers.fastapi:
        peers["bare FastAPI"] = lambda: uvicorn_peer(python, "fastapi_hello", {}, bench.scratch)
    if functions := bench.peers.functions_framework:
        peers["functions-framework"] = lambda: functions_framework_peer(functions, bench.scratch)
    if binary := bench.peers.workerd:
        peers["workerd"] = lambda: workerd_peer(binary, bench.scratch)
    bounds = {"bare FastAPI": (1.5, 2.0), "functions-framework": (6.0, 10.0), "workerd": (1.0, 1.5)}
    ratios: dict[str, list[float]] = {name: [] for name in peers}
    latency: dict[str, list[float]] = {"p50": [], "p99": []}
    with running(lambda: Warren(bench.scratch / "hello"), *peers.values()) as (warren, *others):
        assert isinstance(warren, Warren)
        warren.deploy("hello", HELLO)
        host = warren.host("hello")
        warm = [(warren, host), *((other, None) for other in others)]
        for server, name in warm:
            wrk(f"http://127.0.0.1:{server.port}/hello", 32, 1, host=name)
        for _ in range(bench.rounds):
            ours = measure(bench, "hello c32, warren", lambda: _hello(bench, warren, 32, host))
            for name, other in zip(peers, others, strict=True):
                theirs = measure(bench, f"hello c32, {name}", partial(_hello, bench, other, 32))
                ratios[name].append(ours.rate / theirs.rate)
            if "bare FastAPI" in peers:
                alone = measure(bench, "hello c1, warren", lambda: _hello(bench, warren, 1, host))
                peer = measure(bench, "hello c1, bare FastAPI", lambda: _hello(bench, others[0], 1))
                latency["p50"].append(alone.p50 / peer.p50)
                latency["p99"].append(alone.p99 / peer.p99)
    for name, values in ratios.items():
        yield Figure(
            f"hello, 32 connections, requests/s ÷ {name}", "times", values, *bounds[name], higher_is_better=True
        )
    if latency["p50"]:
        yield Figure("hello, 1 connection, p50 ÷ bare FastAPI", "times", latency["p50"], 1.5, 1.0)
        yield Figure("hello, 1 connection, p99 ÷ bare FastAPI", "times", latency["p99"], 2.0, 1.2)


def _hello(bench: Bench, server: Server, connections: int, host: str | None = None) -> Sample:
    return wrk(f"http://127.0.0.1:{server.port}/hello", connections, bench.seconds, host=host)


def post_message(bench: Bench) -> Iterator[Figure]:
    """JSON in, a mutation, a durable commit, beside the same by hand in FastAPI and sqlite3."""
    python = bench.peers.fastapi
    if python is None:
        return
    script = HERE / "peers" / "post_message.lua"
    database = {"PEER_DATABASE": str(bench.scratch / "peer.sqlite3")}
    ratios = []
    with running(
        lambda: Warren(bench.scratch / "messages"),
        lambda: uvicorn_peer(python, "fastapi_sqlite", database, bench.scratch),
    ) as (warren, peer):
        assert isinstance(warren, Warren)
        warren.deploy("messages", MESSAGES)
        host = warren.host("messages")

        def load(server: Server, name: str | None, seconds: float) -> Sample:
            return wrk(f"http://127.0.0.1:{server.port}/postMessage", 32, seconds, script, name)

        load(warren, host, 1)
        load(peer, None, 1)
        for _ in range(bench.rounds):
            ours = measure(bench, "postMessage, warren", lambda: load(warren, host, bench.seconds))
            theirs = measure(bench, "postMessage, FastAPI + sqlite3", lambda: load(peer, None, bench.seconds))
            ratios.append(ours.rate / theirs.rate)
    yield Figure("POST /postMessage, requests/s ÷ FastAPI + sqlite3", "times", ratios, 0.4, 1.0, higher_is_better=True)


def cold(bench: Bench) -> Iterator[Figure]:
    """The first request to deployments that have never run on this server process, and what an idle one weighs."""
    data = bench.scratch / "cold"
    count = 100
    with running(lambda: Warren(data)) as (warren,):
        assert isinstance(warren, Warren)
        for number in range(count):
            warren.deploy(f"cold-{number}", HELLO, {"number.py": f"NUMBER = {number}\n".encode()})
    with running(lambda: Warren(data)) as (warren,):
        assert isinstance(warren, Warren)
        times = []
        for number in range(count):
            line = Line(warren.port)
            status, body, took = line.get("/hello", warren.host(f"cold-{number}"))
            assert (status, body) == (200, b"Hello, world!"), (status, body)
            times.append(took)
            line.close()
            time.sleep(0.02)
        sizes = pss(warren.pids())
        isolates = [size for pid, size in sizes.items() if _is_isolate(pid, warren)]
    yield Figure(
        "first request to a deployment, p50", "ms", [quantile(times, 0.50)], 20, 8, note=f"{count} deployments"
    )
    yield Figure(
        "first request to a deployment, p99", "ms", [quantile(times, 0.99)], 50, 20, note=f"{count} deployments"
    )
    yield Figure("an idle warm isolate, PSS", "MiB", isolates, 4, 2.5, note=f"{len(isolates)} isolates")


def _is_isolate(pid: int, server: Server) -> bool:
    # The server's children are zygotes; their children are isolates.
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid != server.process.pid and parent != server.process.pid


def density(bench: Bench) -> Iterator[Figure]:
    """A thousand deployments, each called once: everything together."""
    with running(lambda: Warren(bench.scratch / "density", {"WARREN_ISOLATES": "1100"})) as (warren,):
        assert isinstance(warren, Warren)
        for number in range(1000):
            warren.deploy(f"many-{number}", HELLO, {"number.py": f"NUMBER = {number}\n".encode()})
            line = Line(warren.port)
            status, _, _ = line.get("/hello", warren.host(f"many-{number}"))
            assert status == 200, status
            line.close()
        sizes = pss(warren.pids())
    total = sum(sizes.values()) / 1024
    yield Figure("1,000 deployments, each called once", "GiB", [total], 4, 2.5, note=f"{len(sizes)} processes")


def deploys(bench: Bench) -> Iterator[Figure]:
    """From the push of the example to the first answer of the new version, and the same for a rollback."""
    bundle = HERE.parent / "examples" / "messages" / "functions"
    pushes, rollbacks = [], []
    with running(lambda: Warren(bench.scratch / "deploys")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy("deploys", bundle, {"stamp.py": _stamp(0)})
        for number in range(1, 2 * bench.rounds + 1):
            packed = archive(bundle, {"stamp.py": _stamp(number)})
            began = time.perf_counter()
            version = warren.push("deploys", packed)["version"]
            assert _answers(warren)
            pushes.append(time.perf_counter() - began)
            began = time.perf_counter()
            warren.ask("POST", "/v1/deployments/deploys/rollback", b'{"version": %d}' % (version - 1))
            assert _answers(warren)
            rollbacks.append(time.perf_counter() - began)
            warren.ask("POST", "/v1/deployments/deploys/rollback", b'{"version": %d}' % version)
    yield Figure("push of the example to its first answer", "s", pushes, 1, 0.3)
    yield Figure("rollback to its first answer", "s", rollbacks, 0.2, 0.05)


def _stamp(number: int) -> bytes:
    return f'"""Changes with every push."""\nNUMBER = {number}\n'.encode()


def _answers(warren: Warren) -> bool:
    line = Line(warren.port)
    status, _, _ = line.get("/", warren.host("deploys"))
    line.close()
    return status == 200


def runaway(bench: Bench) -> Iterator[Figure]:
    """How long after its deadline a call ends that does not want to, and what its neighbour feels meanwhile."""
    overtime: dict[str, list[float]] = {}
    effect = []
    with running(lambda: Warren(bench.scratch / "runaway")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy("guilty", RUNAWAY)
        warren.deploy("victim", HELLO)
        host = warren.host("victim")
        _hello(bench, warren, 1, host)
        for _ in range(bench.rounds):
            quiet = measure(bench, "victim, quiet", lambda: _hello(bench, warren, 1, host))
            burning = threading.Event()
            burners = [threading.Thread(target=_burn, args=(warren, path, overtime, burning)) for path in ("/loop",)]
            for burner in burners:
                burner.start()
            noisy = measure(bench, "victim, beside a runaway", lambda: _hello(bench, warren, 1, host))
            burning.set()
            for burner in burners:
                burner.join()
            effect.append(noisy.p99 / quiet.p99)
            for path in ("/c-loop", "/power", "/list"):
                _burn_once(warren, path, overtime)
    for path, values in overtime.items():
        yield Figure(f"a runaway call ({path[1:]}) ended after its deadline", "s", values, 0.2, 0.1)
    yield Figure("another tenant's p99 beside a runaway call ÷ quiet", "times", effect, 3, 1.5)


def _burn(warren: Warren, path: str, overtime: dict[str, list[float]], enough: threading.Event) -> None:
    while not enough.is_set():
        _burn_once(warren, path, overtime)


def _burn_once(warren: Warren, path: str, overtime: dict[str, list[float]]) -> None:
    line = Line(warren.port)
    status, body, took = line.get(path, warren.host("guilty"))
    line.close()
    assert status >= 500, (status, body)
    # The deadline is TURN_CPU (1 s) of CPU for what burns; a list that does not fit has none to wait for.
    overtime.setdefault(path, []).append(max(0.0, took / 1000 - (0.0 if path == "/list" else 1.0)))


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "hello": hello,
    "post": post_message,
    "cold": cold,
    "density": density,
    "deploys": deploys,
    "runaway": runaway,
}
