"""Whatever runs at the same time, it is as if it had run one after the other.

Random programs are run step by step in a random interleaving. Then an order is looked for in which they could have run
one by one, each seeing what it saw, ending with what is there; and nobody who began after another one had been told
that it is committed may come before it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.errors import CommitConflict
from runtime.names import DeploymentName
from runtime.ports import DocumentStore, Order
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.transaction import Transaction, Transactions
from tests.postgres_server import OwnDocuments, PostgresServer

NAME = DeploymentName("happy-otter-123")
EVERYTHING = Bounds([], True, [], True)
CELLS = 3

Step = tuple[str, int]
Rows = dict[str, tuple[int, int]]  # document → cell, number


class StoppedClock:
    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Program:
    """Steps of one transaction, what it saw, and when it began and was told that it is committed."""

    steps: list[Step]
    saw: list[Any] = field(default_factory=list)
    began: int = -1
    told: int | None = None
    transaction: Transaction | None = None
    committing: asyncio.Task[None] | None = None
    committed: bool = False


steps = st.tuples(st.sampled_from(["read", "add", "copy", "insert", "delete", "count"]), st.integers(0, CELLS - 1))
programs = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=2, max_size=5)

STORES: dict[str, Callable[[Path, PostgresServer], list[DocumentStore]]] = {
    "memory": lambda *_: [MemoryDocuments()],
    "sqlite": lambda folder, _: [SqliteDocuments(folder)],
    "two processes on sqlite": lambda folder, _: [SqliteDocuments(folder), SqliteDocuments(folder)],
    "postgres": lambda _, postgres: [OwnDocuments(postgres.fresh())],
    "two processes on postgres": lambda _, postgres: [OwnDocuments(url) for url in [postgres.fresh()] * 2],
}


@pytest.mark.parametrize("kind", list(STORES))
@settings(max_examples=60, deadline=None)
@given(programs, st.lists(st.integers(0, 4), max_size=40))
def test_every_history_has_an_order(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    kind: str,
    programs: list[list[Step]],
    schedule: list[int],
) -> None:
    stores = STORES[kind](tmp_path_factory.mktemp("documents"), postgres)
    history, before, after = asyncio.run(_run(stores, [Program(steps) for steps in programs], schedule))
    committed = [program for program in history if program.committed]
    assert any(_explains(order, before, after) for order in permutations(committed))


@pytest.mark.parametrize("kind", list(STORES))
async def test_counters_lose_no_increment(tmp_path: Path, postgres: PostgresServer, kind: str) -> None:
    stores = STORES[kind](tmp_path, postgres)
    places = [Transactions(store, StoppedClock()) for store in stores]
    ids = await _cells(places[0])

    async def increment(worker: int) -> None:
        done = 0
        while done < 10:
            transaction = await places[worker % len(places)].begin(NAME)
            document = values.decode(await transaction.get(ids[worker % 2]) or b"")
            await asyncio.sleep(0)
            await transaction.patch(ids[worker % 2], {"number": document["number"] + 1}, [])
            try:
                await transaction.commit()
                done += 1
            except CommitConflict:
                continue

    await asyncio.gather(*(increment(worker) for worker in range(8)))
    rows = await _rows(places[-1])
    assert [number for _, number in sorted(rows.values())] == [40, 41, 2]
    for store in stores:
        await store.close()


async def _run(
    stores: list[DocumentStore], programs: list[Program], schedule: list[int]
) -> tuple[list[Program], Rows, Rows]:
    places = [Transactions(store, StoppedClock()) for store in stores]
    ids = await _cells(places[0])
    before = await _rows(places[0])
    every_step = [at for at, program in enumerate(programs) for _ in range(len(program.steps) + 2)]
    for moment, at in enumerate([*schedule, *every_step]):
        program = programs[at % len(programs)]
        await _step(program, places[at % len(places)], ids, moment)
        await asyncio.sleep(0)
        for other in programs:
            if other.told is None and other.committing is not None and other.committing.done():
                other.told = moment
    for program in programs:
        assert program.committing is not None
        try:
            await program.committing
            program.committed = True
        except CommitConflict:
            pass
    after = await _rows(places[-1])
    for store in stores:
        await store.close()
    return programs, before, after


async def _step(program: Program, place: Transactions, ids: list[str], moment: int) -> None:
    if program.transaction is None:
        program.transaction, program.began = await place.begin(NAME), moment
    elif len(program.saw) < len(program.steps):
        program.saw.append(await _perform(program.transaction, ids, *program.steps[len(program.saw)]))
    elif program.committing is None:
        program.committing = asyncio.ensure_future(program.transaction.commit())


async def _perform(transaction: Transaction, ids: list[str], verb: str, cell: int) -> Any:
    id = ids[cell]
    if verb == "insert":
        return await transaction.insert("cells", {"cell": CELLS + cell, "number": 1})
    if verb == "count":
        found = await transaction.scan("cells", "by_creation_time", EVERYTHING, Order.ASCENDING, None, 100)
        return sorted(values.decode(document)["_id"] for document in found.documents)
    document = await transaction.get(id)
    number = None if document is None else values.decode(document)["number"]
    if number is not None and verb == "add":
        await transaction.patch(id, {"number": number + 1}, [])
    if number is not None and verb == "delete":
        await transaction.delete(id)
    source = ids[(cell + 1) % CELLS]
    if number is not None and verb == "copy" and (other := await transaction.get(source)) is not None:
        # Read one, write the other: the write skew.
        await transaction.replace(id, {"cell": cell, "number": values.decode(other)["number"] * 10})
        return number, values.decode(other)["number"]
    return number


def _explains(order: tuple[Program, ...], before: Rows, after: Rows) -> bool:
    for at, later in enumerate(order):
        if later.told is not None and any(later.told < earlier.began for earlier in order[:at]):
            return False
    rows = dict(before)
    ids = [id for id, _ in sorted(before.items(), key=lambda row: row[1])]
    for program in order:
        for (verb, cell), saw in zip(program.steps, program.saw, strict=True):
            if not _replay(rows, ids, verb, cell, saw):
                return False
    return rows == after


def _replay(rows: Rows, ids: list[str], verb: str, cell: int, saw: Any) -> bool:
    id, source = ids[cell], ids[(cell + 1) % CELLS]
    number = rows[id][1] if id in rows else None
    if verb == "insert":
        rows[saw] = (CELLS + cell, 1)
        return True
    if verb == "count":
        return bool(saw == sorted(rows))
    if number is None:
        return saw is None
    if verb == "copy" and source in rows:
        other = rows[source][1]
        rows[id] = (cell, other * 10)
        return bool(saw == (number, other))
    if verb == "add":
        rows[id] = (cell, number + 1)
    if verb == "delete":
        del rows[id]
    return bool(saw == number)


async def _cells(place: Transactions) -> list[str]:
    transaction = await place.begin(NAME)
    ids = [await transaction.insert("cells", {"cell": cell, "number": cell}) for cell in range(CELLS)]
    await transaction.commit()
    return ids


async def _rows(place: Transactions) -> Rows:
    transaction = await place.begin(NAME)
    found = await transaction.scan("cells", "by_id", EVERYTHING, Order.DESCENDING, None, 1_000)
    transaction.abandon()
    documents = [values.decode(document) for document in found.documents]
    return {document["_id"]: (document["cell"], document["number"]) for document in documents}
