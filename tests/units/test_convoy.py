"""What is seen from a place in a convoy: one moment, and what those before it wrote, in every page and count."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.names import DeploymentName
from runtime.ports import KeyRange, Order, Snapshot, Write
from runtime.syscalls.convoy import Convoy, Place
from runtime.syscalls.reading.spans import rest

NAME = DeploymentName("happy-otter-123")
EVERYTHING = KeyRange(b"", b"\xff")
State = dict[int, tuple[int, int]]  # document → its place in an index, its size

changes = st.lists(st.tuples(st.integers(0, 7), st.none() | st.tuples(st.integers(0, 9), st.integers(1, 30))))


def keys_of(document: int, state: State) -> tuple[bytes, ...]:
    return (b"a%d" % document, b"b%d%d" % (state[document][0], document)) if document in state else ()


def write_of(document: int, content: tuple[int, int] | None, state: State) -> Write:
    """Let the document be this, or gone; the state is changed along."""
    before = keys_of(document, state)
    state.pop(document, None)
    if content is None:
        return Write(before, (), None)
    state[document] = content
    return Write(before, keys_of(document, state), b"%d" % content[0] * content[1])


def entries_of(state: State, order: Order) -> list[tuple[bytes, bytes]]:
    entries = [(key, b"%d" % place * size) for id, (place, size) in state.items() for key in keys_of(id, state)]
    return sorted(entries, reverse=order is Order.DESCENDING)


def in_span(entries: list[tuple[bytes, bytes]], span: KeyRange) -> list[tuple[bytes, bytes]]:
    return [entry for entry in entries if span.lower <= entry[0] < span.upper]


async def commit(store: MemoryDocuments, writes: list[Write]) -> None:
    for write in writes:
        assert isinstance(await (await store.snapshot(NAME)).commit((), [write]), int)


async def pages(place: Snapshot, span: KeyRange, order: Order, most: int, enough: int) -> list[tuple[bytes, bytes]]:
    read: list[tuple[bytes, bytes]] = []
    while True:
        page = await place.read(span, order, most, enough)
        assert len(page.entries) <= most and (page.entries or page.complete)
        assert sum(len(document) for _, document in page.entries[:-1]) < enough
        read += page.entries
        if page.complete:
            return read
        span = rest(span, order, page.entries[-1][0])


@given(
    changes,
    st.lists(changes, max_size=3),
    st.sampled_from(Order),
    st.integers(1, 6),
    st.integers(1, 60),
    st.sampled_from([EVERYTHING, KeyRange(b"a2", b"b4"), KeyRange(b"b", b"c"), KeyRange(b"a3", b"a4")]),
)
def test_a_place_shows_a_moment_and_what_those_before_it_wrote(
    first: list[tuple[int, tuple[int, int] | None]],
    members: list[list[tuple[int, tuple[int, int] | None]]],
    order: Order,
    most: int,
    enough: int,
    span: KeyRange,
) -> None:
    async def run() -> None:
        store, state = MemoryDocuments(), State()
        await commit(store, [write_of(*change, state) for change in first])
        convoy = Convoy(await store.snapshot(NAME))
        joined = []
        for changes in members:
            # One write for each document, as from a transaction.
            writes = [write_of(*change, state) for change in dict(changes).items()]
            joined.append(convoy.join((), [write for write in writes if write.before or write.after]))
        place = Place(convoy, lambda: None)
        expected = in_span(entries_of(state, order), span)
        assert await pages(place, span, order, most, enough) == expected
        assert await place.count(span, most) == min(len(expected), most)
        place.release()
        convoy.depart()
        await asyncio.gather(*joined)
        after = await store.snapshot(NAME)
        assert await pages(after, EVERYTHING, order, 1_000, 10_000) == entries_of(state, order)

    asyncio.run(run())


async def test_a_table_that_a_convoy_made_is_not_remembered_before_it_has_landed() -> None:
    store = MemoryDocuments()
    moment = await store.snapshot(NAME)
    convoy = Convoy(moment)
    Place(convoy, lambda: None).tables["notes"] = 32
    assert "notes" not in moment.tables
    convoy.depart()
    await convoy.landed.wait()


async def test_whoever_comes_too_late_commits_alone_unless_it_has_seen_what_the_others_wrote() -> None:
    store, order, state = MemoryDocuments(), list[str](), State()
    await commit(store, [write_of(1, (1, 1), state)])
    for document, stays in ((2, False), (1, True)):
        convoy = Convoy(await store.snapshot(NAME))
        joined = convoy.join((), [write_of(1, (3, 3), state)])
        place = Place(convoy, lambda: order.append("next"))
        span = KeyRange(b"a%d" % document, b"a%d" % (document + 1))
        await place.read(span, Order.ASCENDING, 1, 1)
        convoy.depart()
        assert isinstance(await joined, int)
        done = await place.commit([span], [write_of(4 + document, (1, 1), dict(state))])
        assert isinstance(done, KeyRange) is stays and place.stayed_behind is stays
    assert order == ["next", "next"]
