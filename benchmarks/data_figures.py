"""The figures of the data half: writes, contention, reads by index, and what an identity costs."""

import base64
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from benchmarks.calls import calls
from benchmarks.load import Sample, wrk
from benchmarks.measuring import Bench, Figure, measure, running
from benchmarks.servers import HERE, Warren, uvicorn_peer

DATA = HERE / "bundles" / "data"
NAME = "data"
GROUP = 20  # documents of one group, and how many a query by index takes
_ACCOUNTS = 1_000
_ISSUER = "https://id.example.org"


def _load(bench: Bench, warren: Warren, script: Path, seconds: float | None = None, connections: int = 32) -> Sample:
    url = f"http://127.0.0.1:{warren.port}/"
    return wrk(url, connections, seconds or bench.seconds, script, warren.cloud(NAME))


def insert(bench: Bench) -> Iterator[Figure]:
    """One durable document a call, at 32 connections, beside the same by hand in FastAPI and sqlite3."""
    python = bench.peers.fastapi
    if python is None:
        return
    ours_says = '[[{"author":"User 123","body":"Hello world"}]]'
    script = calls(bench.scratch / "insert.lua", "mutation", "data:insert", ours_says)
    database = {"PEER_DATABASE": str(bench.scratch / "inserts.sqlite3")}
    ratios = []
    with running(
        lambda: Warren(bench.scratch / "insert"),
        lambda: uvicorn_peer(python, "fastapi_sqlite", database, bench.scratch),
    ) as (warren, peer):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)
        warren.call(NAME, "mutation", "data:insert", {"author": "a", "body": "b"})
        peer_url, peer_script = f"http://127.0.0.1:{peer.port}/postMessage", HERE / "peers" / "post_message.lua"
        _load(bench, warren, script, 1)
        wrk(peer_url, 32, 1, peer_script)
        for _ in range(bench.rounds):
            ours = measure(bench, "insert, warren", lambda: _load(bench, warren, script))
            theirs = measure(bench, "insert, FastAPI + sqlite3", lambda: wrk(peer_url, 32, bench.seconds, peer_script))
            ratios.append(ours.rate / theirs.rate)
    yield Figure("one durable document a mutation, requests/s ÷ FastAPI + sqlite3", "times", ratios, 0.5, 1.0, True)


def transfers(bench: Bench) -> Iterator[Figure]:
    """Two reads and two writes between random accounts, and the same when four of five touch one account."""
    target = f"math.random(1, {_ACCOUNTS - 1})"
    scripts = {
        name: calls(bench.scratch / f"{name}.lua", "mutation", "data:transfer", _pair(source, target))
        for name, source in {
            "random": f"math.random(0, {_ACCOUNTS - 1})",
            "crowded": f"(math.random() < 0.8 and 0 or math.random(1, {_ACCOUNTS - 1}))",
        }.items()
    }
    ratios = []
    with running(lambda: Warren(bench.scratch / "transfers")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)
        warren.call(NAME, "mutation", "data:open_accounts", {"count": _ACCOUNTS})
        _load(bench, warren, scripts["random"], 1)
        for _ in range(bench.rounds):
            rates = {
                name: measure(bench, f"transfers, {name}", partial(_load, bench, warren, script)).rate
                for name, script in scripts.items()
            }
            ratios.append(rates["crowded"] / rates["random"])
    yield Figure("transfers, 80 % on one account ÷ between random ones", "times", ratios, 0.7, 0.95, True)


def _pair(source: str, target: str) -> str:
    return f"""string.format('{{"source":%d,"target":%d}}', {source}, {target})"""


def queries(bench: Bench) -> Iterator[Figure]:
    """Twenty documents of a million, by index, beside the same by hand in FastAPI and sqlite3."""
    python = bench.peers.fastapi
    if python is None:
        return
    total = 10_000 if bench.small else 1_000_000
    group = f"math.random(0, {total // GROUP - 1})"
    script = calls(bench.scratch / "by_group.lua", "query", "data:by_group", f"""'{{"group":' .. {group} .. '}}'""")
    peer_script = bench.scratch / "items.lua"
    peer_script.write_text(f'request = function() return wrk.format("GET", "/items?group=" .. {group}) end\n')
    database = bench.scratch / "items.sqlite3"
    _fill_peer(database, total)
    ratios = []
    with running(
        lambda: Warren(bench.scratch / "queries"),
        lambda: uvicorn_peer(python, "fastapi_items", {"PEER_DATABASE": str(database)}, bench.scratch),
    ) as (warren, peer):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)
        _fill(warren, 0, total)
        assert len(warren.call(NAME, "query", "data:by_group", {"group": 7})) == GROUP
        peer_url = f"http://127.0.0.1:{peer.port}/items?group=7"
        _load(bench, warren, script, 1)
        wrk(peer_url, 32, 1, peer_script)
        for _ in range(bench.rounds):
            ours = measure(bench, "20 by index, warren", lambda: _load(bench, warren, script))
            theirs = measure(
                bench, "20 by index, FastAPI + sqlite3", lambda: wrk(peer_url, 32, bench.seconds, peer_script)
            )
            ratios.append(ours.rate / theirs.rate)
    yield Figure(
        f"{GROUP} documents of {total:,} by index, requests/s ÷ FastAPI + sqlite3", "times", ratios, 0.5, 1.0, True
    )


def growth(bench: Bench) -> Iterator[Figure]:
    """What one more read by index costs inside a query, as the table grows from a thousand documents to a million."""
    sizes = [1_000, 10_000] if bench.small else [1_000, 10_000, 100_000, 1_000_000]
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    with running(lambda: Warren(bench.scratch / "growth")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA)
        filled = 0
        for size in sizes:
            _fill(warren, filled, size)
            filled = size
            for _ in range(bench.rounds):
                costs[size].append(_cost_of_a_read(warren, size))
                bench.keep(f"one read by index of {size:,} documents: µs", costs[size][-1] * 1e6)
    ratios = [large / small for small, large in zip(costs[sizes[0]], costs[sizes[-1]], strict=True)]
    yield Figure(f"one read by index, {sizes[-1]:,} documents ÷ {sizes[0]:,}", "times", ratios, 2, 1.3)


def _cost_of_a_read(warren: Warren, size: int) -> float:
    """Seconds of one read: a query with many of them less one with few, the best of several."""
    few, many = 10, 1_010

    def took(count: int) -> float:
        groups = [random.randrange(size // GROUP) for _ in range(count)]
        began = time.perf_counter()
        assert warren.call(NAME, "query", "data:reads", {"groups": groups}) == count
        return time.perf_counter() - began

    return (min(took(many) for _ in range(7)) - min(took(few) for _ in range(7))) / (many - few)


def identity(bench: Bench) -> Iterator[Figure]:
    """An action called with a token whose key is known, and without one."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = {**json.loads(ECAlgorithm.to_jwk(private.public_key())), "kid": "one", "alg": "ES256", "use": "sig"}
    set_of_keys = base64.b64encode(json.dumps({"keys": [key]}).encode()).decode()
    claims = {"iss": _ISSUER, "sub": "ann", "iat": int(time.time()), "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, private, "ES256", headers={"kid": "one"})
    config = (
        "from runtime import AuthConfig, JwtProvider\n"
        f'auth_config = AuthConfig(providers=[JwtProvider(issuer="{_ISSUER}", algorithm="ES256",\n'
        f'    jwks="data:application/json;base64,{set_of_keys}")])\n'
    )
    plain = calls(bench.scratch / "plain.lua", "action", "data:nothing", "'{}'")
    known = calls(bench.scratch / "known.lua", "action", "data:nothing", "'{}'", {"Authorization": f"Bearer {token}"})
    ratios = []
    with running(lambda: Warren(bench.scratch / "identity")) as (warren,):
        assert isinstance(warren, Warren)
        warren.deploy(NAME, DATA, {"auth_config.py": config.encode()})
        _load(bench, warren, plain, 1)
        _load(bench, warren, known, 1)
        for _ in range(bench.rounds):
            without = measure(bench, "action, no token", lambda: _load(bench, warren, plain))
            with_one = measure(bench, "action, token", lambda: _load(bench, warren, known))
            ratios.append(with_one.rate / without.rate)
    yield Figure("an action with a token ÷ without, requests/s", "times", ratios, 0.7, 0.95, True)


def _fill(warren: Warren, first: int, end: int) -> None:
    """Documents ``first`` to ``end``, imported by the tens of thousands."""
    step = 50_000
    for begin in range(first, end, step):
        lines = "".join(
            json.dumps({"group": number // GROUP, "text": f"This is document {number}"}) + "\n"
            for number in range(begin, min(begin + step, end))
        )
        path = f"/v1/deployments/{NAME}/data/import?format=jsonl&table=items&mode=append"
        warren.ask("POST", path, lines.encode())


def _fill_peer(database: Path, total: int) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute('CREATE TABLE items (id TEXT PRIMARY KEY, created REAL, "group" INTEGER, text TEXT)')
        rows = (
            (f"{number:032x}", float(number), number // GROUP, f"This is document {number}") for number in range(total)
        )
        connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)
        connection.execute('CREATE INDEX by_group ON items ("group", created)')


ALL: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "insert": insert,
    "transfers": transfers,
    "queries": queries,
    "growth": growth,
    "identity": identity,
}
