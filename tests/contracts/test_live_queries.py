"""Are subscribed queries always what the documents say, and is nothing run that need not be?

The live room and its updates on a real store; the queries are programs of the test that read a range of keys.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.edge.problems import Details
from runtime.edge.sync.messages import read_position
from runtime.edge.sync.updates import Caller, Updates, Wanted
from runtime.edge.sync.wire import Wire
from runtime.errors import Overloaded
from runtime.execution.live.live import Attendance, Live
from runtime.execution.live.shared import Observed, Question
from runtime.identity import KnownUser, NoIdentity, Settled, sharing_key
from runtime.invocation import Failed, Succeeded
from runtime.names import DeploymentName, RequestId
from runtime.ports import DocumentStore, KeyRange, Order, Snapshot, Write
from runtime.protocol import values
from runtime.protocol.messages import Failure, Reason
from tests.contracts.front_door import Midnight

NAME = DeploymentName("happy-otter-123")


class Queries:
    """Queries of the test: ``range:a-c`` reads the keys from a up to c, ``whoami`` looks at its caller."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.refusals = 0
        self.answer = "first version"

    async def observe(
        self, name: DeploymentName, question: Question, args: bytes, identity: Settled, moment: Snapshot
    ) -> Observed:
        self.runs.append(question.path)
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("no room")
        kind, _, rest = question.path.partition(":")
        await asyncio.sleep(0)
        reads: frozenset[KeyRange] = frozenset()
        value: Any = None
        if kind == "range":
            lower, _, upper = rest.partition("-")
            span = KeyRange(lower.encode(), upper.encode())
            page = await moment.read(span, Order.ASCENDING, 1_000, 1_000_000)
            reads, value = frozenset({span}), [content.decode() for _, content in page.entries]
        elif kind == "whoami":
            value = sharing_key(identity).decode()
        elif kind == "fails":
            return Observed(Failed(Failure(Reason.RAISED, "ValueError", rest)), reads, False, None, RequestId("r"))
        elif kind == "version":
            value = self.answer
        if (gate := self.gates.get(question.path)) is not None:
            await gate.wait()
        return Observed(Succeeded(values.encode(value)), reads, kind == "whoami", None, RequestId("r"))


class Client:
    """A client that believes what it is told, and checks that it is told it in order."""

    def __init__(self) -> None:
        self.version = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
        self.known: dict[int, Any] = {}
        self.states: list[tuple[int, dict[int, Any]]] = []
        self.news = asyncio.Event()
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, message: Any) -> None:
        await self.open.wait()
        transition = json.loads(message["text"])
        assert transition["type"] == "Transition"
        assert transition["startVersion"] == self.version
        end = transition["endVersion"]
        assert all(end[part] >= self.version[part] for part in ("querySet", "identity"))
        assert read_position(end["ts"]) >= read_position(str(self.version["ts"]))
        self.version = end
        for change in transition["modifications"]:
            match change["type"]:
                case "QueryUpdated":
                    self.known[change["queryId"]] = change["value"]
                case "QueryFailed":
                    self.known[change["queryId"]] = change["errorMessage"]
                case "QueryRemoved":
                    self.known.pop(change["queryId"], None)
        self.states.append((read_position(end["ts"]), dict(self.known)))
        self.news.set()

    async def knows(self, *expected: Any) -> None:
        """Wait until the client knows these results, by their numbers."""
        wanted = dict(enumerate(expected))
        async with asyncio.timeout(10):
            while self.known != wanted:
                self.news.clear()
                await self.news.wait()

    async def transitions(self, count: int) -> None:
        """Wait until the client was told so often."""
        async with asyncio.timeout(10):
            while len(self.states) < count:
                self.news.clear()
                await self.news.wait()


class House:
    """A store with its live room, and clients in it."""

    def __init__(self, store: DocumentStore) -> None:
        self.store = store
        self.queries = Queries()
        self.live = Live(store, self.queries.observe)
        self.documents: dict[str, str] = {}
        self.history: dict[int, dict[str, str]] = {1: {}}
        self._open: list[tuple[Updates, Attendance]] = []

    def deployment_changed(self) -> None:
        for updates, _ in self._open:
            updates.schedule()

    async def client(self) -> tuple[Client, Updates]:
        client = Client()
        attendance = await self.live.attend(NAME, self)
        wire = Wire(client.take, Midnight(), lambda: None)
        updates = Updates(attendance, wire, Midnight(), Details.SHOW, client.failures.append)
        self._open.append((updates, attendance))
        return client, updates

    async def put(self, key: str, content: str | None) -> None:
        """Write one document, or remove it."""
        encoded = key.encode()
        before = (encoded,) if key in self.documents else ()
        if content is None and not before:
            return
        write = Write(before, (encoded,), content.encode()) if content is not None else Write(before, (), None)
        position = await (await self.store.snapshot(NAME)).commit((), [write])
        assert isinstance(position, int)
        if content is None:
            del self.documents[key]
        else:
            self.documents[key] = content
        self.history[position] = dict(self.documents)

    def reading(self, path: str, position: int | None = None) -> list[str]:
        """What a range holds, found out the slow way."""
        lower, _, upper = path.partition(":")[2].partition("-")
        documents = self.documents if position is None else self.history[position]
        return [documents[key] for key in sorted(documents) if lower <= key < upper]

    async def close(self) -> None:
        for updates, attendance in self._open:
            await updates.end()
            attendance.leave()
        await self.store.close()


@pytest.fixture(params=["memory", "sqlite"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    made = House(MemoryDocuments() if request.param == "memory" else SqliteDocuments(tmp_path))
    yield made
    await made.close()


def asking(*paths: str, start: int = 0) -> list[tuple[int, Wanted | None]]:
    return [(number, Wanted(path, b"", b"", None)) for number, path in enumerate(paths, start)]


async def test_a_commit_changes_the_results_that_it_touches(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("range:a-c", "range:c-e"))
    await client.knows([], [])
    await house.put("b", "one")
    await client.knows(["one"], [])
    await house.put("c", "two")
    await client.knows(["one"], ["two"])
    await house.put("b", None)
    await client.knows([], ["two"])


async def test_an_unrelated_commit_wakes_nobody(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("range:a-c"))
    await client.knows([])
    runs, states = list(house.queries.runs), len(client.states)
    for number in range(20):
        await house.put(f"x{number}", "elsewhere")
    await house.put("c", "at the end of the range, and not in it")
    assert house.queries.runs == runs
    await house.put("a", "seen")
    await client.knows(["seen"])
    assert len(house.queries.runs) == len(runs) + 1
    assert len(client.states) == states + 1


async def test_everybody_who_asks_the_same_shares_one_run(house: House) -> None:
    clients = [await house.client() for _ in range(20)]
    for _, updates in clients:
        updates.modify(1, asking("range:a-c"))
    for client, _ in clients:
        await client.knows([])
    assert len(house.queries.runs) == 1
    await house.put("a", "new")
    for client, _ in clients:
        await client.knows(["new"])
    assert len(house.queries.runs) == 2


async def test_commits_that_come_while_a_query_runs_are_one_more_run(house: House) -> None:
    client, updates = await house.client()
    gate = house.queries.gates["range:a-z"] = asyncio.Event()
    updates.modify(1, asking("range:a-z"))
    async with asyncio.timeout(10):
        while not house.queries.runs:
            await asyncio.sleep(0)
    for number in range(30):
        await house.put(f"k{number:02}", str(number))
    gate.set()
    await client.knows([str(number) for number in range(30)])
    assert len(house.queries.runs) <= 3


async def test_a_slow_reader_skips_to_the_newest_state(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("range:a-z"))
    await client.knows([])
    client.open.clear()
    for number in range(50):
        await house.put("k", str(number))
        await asyncio.sleep(0)
    client.open.set()
    await client.knows(["49"])
    assert len(client.states) <= 4


async def test_a_result_that_is_the_same_is_not_sent_again(house: House) -> None:
    await house.put("b", "same")
    client, updates = await house.client()
    updates.modify(1, asking("range:a-c", "range:a-d"))
    await client.knows(["same"], ["same"])
    states = len(client.states)
    await house.put("b", "same")
    await house.put("c", "other")
    await client.knows(["same"], ["same", "other"])
    assert len(client.states) == states + 1


async def test_a_query_that_was_removed_is_run_no_more(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("range:a-c"))
    await client.knows([])
    updates.modify(2, [(0, None)])
    await client.transitions(2)
    assert client.known == {}
    runs = len(house.queries.runs)
    await house.put("a", "new")
    updates.modify(3, asking("range:a-c"))
    await client.knows(["new"])
    assert len(house.queries.runs) == runs + 1


async def test_a_function_that_looks_at_its_caller_is_run_for_each_and_others_are_not(house: House) -> None:
    clients = [await house.client() for _ in range(6)]
    users: list[Settled] = [NoIdentity(), KnownUser(b"ann", "ann"), KnownUser(b"bob", "bob")] * 2
    for (_, updates), user in zip(clients, users, strict=True):
        updates.speak_for(Caller(user))
        updates.modify(1, asking("whoami", "range:a-c"))
    for (client, _), name in zip(clients, ["", "ann", "bob"] * 2, strict=True):
        await client.knows(name, [])
    assert house.queries.runs.count("range:a-c") == 1
    assert house.queries.runs.count("whoami") == 3


async def test_another_identity_asks_everything_anew_in_the_transition_that_shows_it(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("whoami"))
    await client.knows("")
    updates.speak_for(Caller(KnownUser(b"ann", "ann")))
    await client.knows("ann")
    assert client.states[-1][0] and updates.wanted.identity == 1
    updates.speak_for(Caller())
    await client.knows("")
    assert client.version["identity"] == 2


async def test_a_push_or_a_changed_variable_runs_everything_again(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("version", "range:a-c"))
    await client.knows("first version", [])
    house.queries.answer = "second version"
    house.live.changed(NAME)
    await client.knows("second version", [])
    house.live.changed(DeploymentName("somebody-else-1"))
    house.queries.answer = "third version"
    house.live.changed(None)
    await client.knows("third version", [])


async def test_a_query_that_fails_is_told_and_the_others_go_on(house: House) -> None:
    client, updates = await house.client()
    updates.modify(1, asking("fails:no tea", "range:a-c"))
    await client.transitions(1)
    assert "no tea" in client.known[0]
    await house.put("a", "new")
    async with asyncio.timeout(10):
        while client.known[1] != ["new"]:
            await asyncio.sleep(0.001)


async def test_a_query_that_finds_no_room_is_tried_again(house: House) -> None:
    house.queries.refusals = 1
    client, updates = await house.client()
    updates.modify(1, asking("range:a-c"))
    await client.knows([])
    assert client.failures == []


async def test_a_deployment_that_nobody_attends_is_followed_no_more(house: House) -> None:
    attendance = await house.live.attend(NAME, house)
    assert house.live.names() == (NAME,)
    attendance.leave()
    assert house.live.names() == ()


# --- random writes, against finding out the slow way ------------------------------------------------------------------

letters = st.sampled_from("abcdef")
ranges = st.tuples(letters, letters).map(lambda ends: f"range:{min(ends)}-{max(ends)}")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), letters, st.sampled_from(["1", "2", None])),
        st.tuples(st.just("ask"), st.integers(0, 2), ranges),
        st.tuples(st.just("drop"), st.integers(0, 2), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(0, 12), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_transition_is_one_moment_in_memory(steps: list[tuple[str, Any, Any]]) -> None:
    asyncio.run(_play(MemoryDocuments, steps))


@settings(max_examples=25, deadline=None)
@given(steps)
def test_every_transition_is_one_moment_on_disk(steps: list[tuple[str, Any, Any]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_play(lambda: SqliteDocuments(Path(folder)), steps))


async def _play(open_store: Callable[[], DocumentStore], steps: list[tuple[str, Any, Any]]) -> None:
    house = House(open_store())
    clients = [await house.client() for _ in range(3)]
    asked: list[dict[int, str]] = [{} for _ in clients]
    everything: list[dict[int, str]] = [{} for _ in clients]
    for verb, one, other in steps:
        if verb == "put":
            await house.put(one, other)
        elif verb == "wait":
            for _ in range(one):
                await asyncio.sleep(0)
        else:
            updates, mine = clients[one][1], asked[one]
            version = updates.wanted.query_set + 1
            if verb == "ask":
                number = len(everything[one])
                mine[number] = everything[one][number] = other
                updates.modify(version, [(number, Wanted(other, b"", b"", None))])
            elif mine:
                number = sorted(mine)[other % len(mine)]
                del mine[number]
                updates.modify(version, [(number, None)])
    for (client, _), mine, ever in zip(clients, asked, everything, strict=True):
        async with asyncio.timeout(20):
            while client.known != {number: house.reading(path) for number, path in mine.items()}:
                client.news.clear()
                await client.news.wait()
        for position, known in client.states:
            assert known == {number: house.reading(ever[number], position) for number in known}
        assert client.failures == []
    await house.close()
