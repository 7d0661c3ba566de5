"""What does every registry promise? One suite, run on each adapter; and what only a file can lose."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime import limits
from runtime.adapters.memory_registry import MemoryRegistry
from runtime.adapters.sqlite_registry import SqliteRegistry
from runtime.egress.policy import CLOSED, OPEN, parse_policy
from runtime.errors import Conflict, NotFound, OurMistake
from runtime.names import DeploymentName, VersionNumber
from runtime.ports import DeploymentSummary, KeySummary
from runtime.protocol.declaration import (
    Cors,
    Declaration,
    Diagnostic,
    FunctionDeclaration,
    IndexDeclaration,
    Kind,
    RouteDeclaration,
    SchemaDeclaration,
    Shape,
    TableDeclaration,
    Visibility,
)
from tests.postgres_server import OwnRegistry, PostgresServer

Registry = MemoryRegistry | SqliteRegistry | OwnRegistry

ONE, TWO = DeploymentName("happy-otter-1"), DeploymentName("happy-otter-2")
NOBODY = DeploymentName("nobody")
BUNDLE = {"http.py": b"http = None\n", "lib/\u00e9.bin": bytes(range(256))}
DECLARED = Declaration(
    functions=(
        FunctionDeclaration(
            "m:f", Kind.QUERY, Visibility.PUBLIC, "m.py", 3, {"type": "object", "value": {}}, {"type": "null"}
        ),
    ),
    routes=(RouteDeclaration("GET /", "GET", "/", Shape.EXACT, "http:f", "http.py", 1, Cors(allow_origins=("*",))),),
    cors=Cors(max_age=5),
    warnings=(Diagnostic("m.py", 1, "look"),),
    schema=SchemaDeclaration((TableDeclaration("t", {"type": "any"}, (IndexDeclaration("by_a", ("a", "b.c")),)),)),
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[Registry]:
    """An empty registry."""
    if request.param == "memory":
        memory = MemoryRegistry()
        yield memory
        await memory.close()
        return
    path = tmp_path / "data" / "registry.sqlite3"
    kept = SqliteRegistry(path) if request.param == "sqlite" else OwnRegistry(postgres.fresh())
    await kept.open()
    yield kept
    await kept.close()


async def push(registry: Registry, name: DeploymentName = ONE, sha256: str = "a" * 64) -> VersionNumber:
    """Keep a bundle."""
    return await registry.versions.add(name, sha256, BUNDLE, DECLARED, 5.5)


async def test_a_new_deployment_is_empty(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1234.5)
    assert await registry.deployments.summary(ONE) == DeploymentSummary(ONE, 1234.5, False, None, (), None)
    loaded = await registry.deployments.load(ONE)
    assert loaded is not None
    assert (loaded.name, loaded.version, loaded.environment, loaded.paused) == (ONE, None, {}, False)


async def test_a_name_is_given_once(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    with pytest.raises(Conflict, match="happy-otter-1"):
        await registry.deployments.create(ONE, 2)
    summary = await registry.deployments.summary(ONE)
    assert summary is not None
    assert summary.created_at == 1


async def test_of_many_who_ask_for_a_name_one_gets_it(registry: Registry) -> None:
    asked = await asyncio.gather(*(registry.deployments.create(ONE, n) for n in range(20)), return_exceptions=True)
    assert sum(answer is None for answer in asked) == 1


async def test_deployments_are_listed_by_name(registry: Registry) -> None:
    for name in (TWO, ONE):
        await registry.deployments.create(name, 1)
    assert [summary.name for summary in await registry.deployments.summaries()] == [ONE, TWO]


async def test_what_nobody_has_is_not_there(registry: Registry) -> None:
    assert await registry.deployments.load(NOBODY) is None
    assert await registry.deployments.summary(NOBODY) is None
    assert await registry.deployments.by_domain("example.com") is None
    assert list(await registry.versions.summaries(NOBODY)) == []
    assert dict(await registry.variables.all(NOBODY)) == {}
    assert list(await registry.keys.all(NOBODY)) == []
    assert await registry.keys.find(NOBODY, b"h") is None


async def test_nothing_can_be_added_to_what_nobody_has(registry: Registry) -> None:
    for attempt in (
        push(registry, NOBODY),
        registry.versions.activate(NOBODY, VersionNumber(1)),
        registry.variables.set(NOBODY, {"A": "1"}),
        registry.keys.add(NOBODY, KeySummary("k", "", 1), b"h"),
        registry.keys.remove(NOBODY, "k"),
        registry.deployments.update(NOBODY, paused=True, concurrency=None, domains=[], egress=OPEN),
        registry.deployments.delete(NOBODY),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_version_comes_back_as_it_was_kept(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    assert await push(registry) == 1
    loaded = await registry.deployments.load(ONE)
    assert loaded is not None and loaded.version is not None
    assert (loaded.version.number, loaded.version.sha256) == (1, "a" * 64)
    assert loaded.version.bundle == BUNDLE
    assert loaded.version.declaration == DECLARED
    (summary,) = await registry.versions.summaries(ONE)
    assert (summary.files, summary.bytes, summary.created_at) == (2, 12 + 256, 5.5)


async def test_every_kept_version_still_says_what_it_declared(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1.0)
    numbers = [await push(registry), await push(registry)]
    for number in numbers:
        assert await registry.versions.declaration(ONE, number) == DECLARED
    assert await registry.versions.declaration(ONE, VersionNumber(99)) is None
    assert await registry.versions.declaration(TWO, numbers[0]) is None


async def test_each_deployment_counts_its_own_versions(registry: Registry) -> None:
    for name in (ONE, TWO):
        await registry.deployments.create(name, 1)
    assert [await push(registry, ONE), await push(registry, ONE), await push(registry, TWO)] == [1, 2, 1]


async def test_pushes_at_once_get_different_numbers(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    assert sorted(await asyncio.gather(*(push(registry) for _ in range(20)))) == list(range(1, 21))


async def test_going_back_makes_an_older_version_active_and_the_next_push_a_new_one(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    await push(registry, sha256="a" * 64)
    await push(registry, sha256="b" * 64)
    await registry.versions.activate(ONE, VersionNumber(1))
    loaded = await registry.deployments.load(ONE)
    assert loaded is not None and loaded.version is not None
    assert loaded.version.sha256 == "a" * 64
    assert await push(registry) == 3
    assert [version.number for version in await registry.versions.summaries(ONE)] == [3, 2, 1]


async def test_going_back_to_nothing_changes_nothing(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    await push(registry)
    with pytest.raises(NotFound, match="version 9"):
        await registry.versions.activate(ONE, VersionNumber(9))
    summary = await registry.deployments.summary(ONE)
    assert summary is not None
    assert summary.active == 1


async def test_the_oldest_versions_are_dropped_and_their_numbers_never_used_again(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    for _ in range(limits.VERSIONS_KEPT + 2):
        last = await push(registry)
    kept = [version.number for version in await registry.versions.summaries(ONE)]
    assert kept == list(range(limits.VERSIONS_KEPT + 2, 2, -1))
    assert last == limits.VERSIONS_KEPT + 2
    with pytest.raises(NotFound):
        await registry.versions.activate(ONE, VersionNumber(1))


async def test_variables_are_set_and_removed_together(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    await registry.variables.set(ONE, {"A": "1", "PEM": "-----\nline\n-----\n", "E": ""})
    await registry.variables.set(ONE, {"A": None, "B": "\u00e9", "MISSING": None})
    expected = {"PEM": "-----\nline\n-----\n", "E": "", "B": "\u00e9"}
    assert dict(await registry.variables.all(ONE)) == expected
    loaded = await registry.deployments.load(ONE)
    assert loaded is not None
    assert dict(loaded.environment) == expected


async def test_a_key_is_found_by_its_hash_and_only_at_its_deployment(registry: Registry) -> None:
    for name in (ONE, TWO):
        await registry.deployments.create(name, 1)
    first, second = KeySummary("z", "first", 1.5), KeySummary("a", "second", 1.5)
    await registry.keys.add(ONE, first, b"1" * 32)
    await registry.keys.add(ONE, second, b"2" * 32)
    assert await registry.keys.find(ONE, b"2" * 32) == second
    assert await registry.keys.find(ONE, b"3" * 32) is None
    assert await registry.keys.find(TWO, b"2" * 32) is None
    assert list(await registry.keys.all(ONE)) == [first, second]
    await registry.keys.remove(ONE, "a")
    assert await registry.keys.find(ONE, b"2" * 32) is None
    with pytest.raises(NotFound):
        await registry.keys.remove(ONE, "a")


async def test_an_operators_choices_are_replaced_as_a_whole(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    await registry.deployments.update(
        ONE, paused=True, concurrency=7, domains=["b.example.com", "a.example.com"], egress=OPEN
    )
    assert await registry.deployments.summary(ONE) == DeploymentSummary(
        ONE, 1, True, 7, ("b.example.com", "a.example.com"), None
    )
    loaded = await registry.deployments.load(ONE)
    assert loaded is not None
    assert (loaded.paused, loaded.concurrency) == (True, 7)
    assert await registry.deployments.by_domain("a.example.com") == ONE
    await registry.deployments.update(ONE, paused=False, concurrency=None, domains=[], egress=OPEN)
    assert await registry.deployments.by_domain("a.example.com") is None


async def test_where_a_deployment_may_connect_is_kept_and_a_new_one_is_open(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    listed = parse_policy(["api.example.com", "*.example.org:8443", "[2606:4700::1]:443"])
    for policy in (OPEN, listed, CLOSED, OPEN):
        await registry.deployments.update(ONE, paused=False, concurrency=None, domains=[], egress=policy)
        summary, loaded = await registry.deployments.summary(ONE), await registry.deployments.load(ONE)
        assert summary is not None and loaded is not None
        assert (summary.egress, loaded.egress) == (policy, policy)


async def test_a_domain_belongs_to_one_deployment_and_a_lost_one_changes_nothing(registry: Registry) -> None:
    for name in (ONE, TWO):
        await registry.deployments.create(name, 1)
    await registry.deployments.update(ONE, paused=False, concurrency=None, domains=["a.example.com"], egress=OPEN)
    with pytest.raises(Conflict, match=r"a\.example\.com"):
        await registry.deployments.update(
            TWO, paused=True, concurrency=3, domains=["b.example.com", "a.example.com"], egress=OPEN
        )
    assert await registry.deployments.summary(TWO) == DeploymentSummary(TWO, 1, False, None, (), None)
    assert await registry.deployments.by_domain("b.example.com") is None


async def test_a_deleted_deployment_leaves_nothing_to_the_next_of_its_name(registry: Registry) -> None:
    await registry.deployments.create(ONE, 1)
    await push(registry)
    await registry.variables.set(ONE, {"A": "1"})
    await registry.keys.add(ONE, KeySummary("k", "", 1), b"h" * 32)
    await registry.deployments.update(ONE, paused=True, concurrency=1, domains=["a.example.com"], egress=OPEN)
    await registry.deployments.delete(ONE)
    assert await registry.deployments.load(ONE) is None
    assert await registry.deployments.by_domain("a.example.com") is None
    await registry.deployments.create(ONE, 2)
    assert await registry.deployments.summary(ONE) == DeploymentSummary(ONE, 2, False, None, (), None)
    assert list(await registry.versions.summaries(ONE)) == []
    assert dict(await registry.variables.all(ONE)) == {}
    assert await registry.keys.find(ONE, b"h" * 32) is None
    assert await push(registry) == 1


# --- what only a file can lose ----------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from runtime.adapters.sqlite_registry import SqliteRegistry
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration

async def main():
    registry = SqliteRegistry(Path(sys.argv[1]))
    await registry.open()
    name = DeploymentName("happy-otter-1")
    await registry.deployments.create(name, 1)
    while True:
        number = await registry.versions.add(name, "a", {"m.py": b"x" * 200_000}, Declaration(), 1)
        await registry.variables.set(name, {"LAST": str(number)})
        print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite3"
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as writer:
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(12)]
        writer.send_signal(signal.SIGKILL)
        answered += [int(line) for line in writer.stdout.read().split()]
    registry = SqliteRegistry(path)
    await registry.open()
    try:
        numbers = {version.number for version in await registry.versions.summaries(ONE)}
        assert set(answered) <= numbers
        loaded = await registry.deployments.load(ONE)
        assert loaded is not None and loaded.version is not None
        assert loaded.version.number == max(numbers)
        assert loaded.version.bundle == {"m.py": b"x" * 200_000}
        assert int(loaded.environment["LAST"]) in (max(numbers), max(numbers) - 1)
        assert await push(registry) == max(numbers) + 1
    finally:
        await registry.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_a_registry_is_there_after_a_restart_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "registry.sqlite3"
    for _ in range(2):
        registry = SqliteRegistry(path)
        await registry.open()
        if await registry.deployments.summary(ONE) is None:
            await registry.deployments.create(ONE, 1)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await registry.close()
    assert modes == dict.fromkeys(modes, 0o600)


async def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    registry = SqliteRegistry(path)
    with pytest.raises(OurMistake, match="newer"):
        await registry.open()
    await registry.close()


async def test_a_change_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry.sqlite3")
    await registry.open()
    await registry.deployments.create(ONE, 1)
    with pytest.raises(UnicodeEncodeError):
        await registry.variables.set(ONE, {"A": "1", "B": "\ud800"})
    assert dict(await registry.variables.all(ONE)) == {}
    await registry.close()
