"""What is seen from a place in a convoy: one moment, and what the others wrote, in every page and count; and who joins
after whom, who has lost, and who waits."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import Overloaded
from runtime.execution.turns import Turns
from runtime.invocation import Deployment, Invocation, Version
from runtime.names import RequestId, VersionNumber, parse_function_path
from runtime.ports import KeyRange, Order, Snapshot, Write
from runtime.protocol.declaration import Declaration, Kind
from runtime.syscalls.convoys.convoy import Convoy
from runtime.syscalls.convoys.spots import Spots
from runtime.syscalls.reading.spans import rest
from runtime.syscalls.transaction import Transactions
from tests.units.convoy_house import NAME, Cells, StoppedClock, until

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
        convoy = Convoy(partial(store.snapshot, NAME))
        place = convoy.place()
        joined = []
        for number, changes in enumerate(members):
            # One write for each document, as from a transaction.
            writes = [write_of(*change, state) for change in dict(changes).items()]
            writes = [write for write in writes if write.before or write.after]
            member = convoy.place()
            if number == len(members) - 1:
                # The last one has not joined yet, and is seen all the same.
                for write in writes:
                    member.show((write.before or write.after)[0], write)
                last = member, writes
            else:
                joined.append(asyncio.ensure_future(member.commit((), writes)))
                await until(member.is_done.is_set)
        expected = in_span(entries_of(state, order), span)
        assert await pages(place, span, order, most, enough) == expected
        if members:
            joined.append(asyncio.ensure_future(last[0].commit((), last[1])))
            await until(last[0].is_done.is_set)
        assert await place.count(span, most) == min(len(expected), most)
        place.release()
        place.give_way()
        await asyncio.gather(*joined)
        after = await store.snapshot(NAME)
        assert await pages(after, EVERYTHING, order, 1_000, 10_000) == entries_of(state, order)

    asyncio.run(run())


async def test_whoever_has_seen_what_is_not_done_joins_after_it() -> None:
    cells = Cells()
    first, second = cells.convoy.place(), cells.convoy.place()
    one = cells.write(first, b"a", b"1", found=False)
    assert await cells.see(second, b"a") == b"1" and second.met
    later = cells.join(second, cells.write(second, b"a", b"2", found=True))
    await asyncio.sleep(0.01)
    assert not second.is_done.is_set()
    assert await cells.join(first, one) == await later
    assert await cells.see(Convoy(partial(cells.store.snapshot, NAME)).place(), b"a") == b"2"


@pytest.mark.parametrize("end", ["gives way", "writes something else", "writes it again"])
async def test_whoever_has_seen_what_does_not_become_so_has_lost(end: str) -> None:
    cells = Cells()
    first, second = cells.convoy.place(), cells.convoy.place()
    cells.write(first, b"a", b"1", found=False)
    assert await cells.see(second, b"a") == b"1"
    lost = cells.join(second, cells.write(second, b"b", b"2", found=False))
    if end == "gives way":
        first.give_way()
    elif end == "writes something else":
        await cells.join(first, cells.write(first, b"c", b"1", found=False))
    else:
        await cells.join(first, cells.write(first, b"a", b"3", found=False))
    assert await lost == cells.span(b"a") and second.shared
    left = Convoy(partial(cells.store.snapshot, NAME)).place()
    assert await cells.see(left, b"b") is None


async def test_whoever_has_read_what_another_one_changed_meanwhile_has_lost_also_when_it_writes_nothing() -> None:
    cells = Cells()
    first, second, reader = cells.convoy.place(), cells.convoy.place(), cells.convoy.place()
    cells.write(first, b"a", b"1", found=False)
    for place in (second, reader):
        assert await cells.see(place, b"b") is None
        assert await cells.see(place, b"a") == b"1"
    done = cells.join(first, Write((), (b"a",), b"1"), cells.write(first, b"b", b"1", found=False))
    await until(first.is_done.is_set)
    assert await cells.join(second, cells.write(second, b"c", b"2", found=False)) == cells.span(b"b")
    # The version that it was shown is another one than what was committed in the end.
    assert isinstance(await reader.stand_by([cells.span(b"b")]), KeyRange)
    assert isinstance(await done, int)


async def test_nobody_waits_in_a_circle() -> None:
    cells = Cells()
    first, second = cells.convoy.place(), cells.convoy.place()
    one = cells.write(first, b"a", b"1", found=False)
    assert await cells.see(second, b"a") == b"1"
    two = cells.write(second, b"b", b"2", found=False)
    # It comes before the second one, who has seen what it wrote.
    assert await cells.see(first, b"b") is None
    ends = await asyncio.wait_for(asyncio.gather(cells.join(second, two), cells.join(first, one)), 5)
    assert all(isinstance(end, int) for end in ends)


async def test_at_a_hot_spot_the_next_one_waits_until_the_one_before_has_written() -> None:
    spots = Spots()
    spots.learn(Cells.span(b"a"))
    cells = Cells(spots)
    places = [cells.convoy.place() for _ in range(4)]
    assert await cells.see(places[0], b"a") is None
    waiting = [asyncio.ensure_future(cells.see(place, b"a")) for place in places[1:]]
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in waiting) and places[0].is_awaited and not places[1].is_awaited
    first = cells.write(places[0], b"a", b"1", found=False)
    assert await waiting[0] == b"1" and not places[0].is_awaited
    await asyncio.sleep(0.01)
    assert not waiting[1].done()
    # Whoever gives up makes room as well.
    places[1].give_way()
    assert await waiting[1] == b"1"
    joined = [cells.join(places[0], first), cells.join(places[2], cells.write(places[2], b"a", b"2", found=True))]
    assert await waiting[2] == b"2"
    assert isinstance(await cells.join(places[3], cells.write(places[3], b"a", b"3", found=True)), int)
    assert all(isinstance(each, int) for each in await asyncio.gather(*joined))


async def test_whoever_holds_a_hot_spot_waits_at_no_other_one() -> None:
    spots = Spots()
    for cell in (b"a", b"b"):
        spots.learn(Cells.span(cell))
    cells = Cells(spots)
    first, second = cells.convoy.place(), cells.convoy.place()
    await cells.see(first, b"a")
    await cells.see(second, b"b")
    seen = await asyncio.wait_for(asyncio.gather(cells.see(first, b"b"), cells.see(second, b"a")), 5)
    assert list(seen) == [None, None]


async def test_a_hot_spot_where_nobody_waits_is_forgotten_and_so_is_the_oldest_of_many() -> None:
    spots = Spots()
    for number in range(17):
        spots.learn(Cells.span(b"%c" % (97 + number)))
    assert spots.find(Cells.span(b"a")) is None and spots.find(KeyRange(b"b1", b"b2")) == Cells.span(b"b")
    for _ in range(64):
        spots.cool(Cells.span(b"b"))
    assert spots.find(Cells.span(b"b")) is None


async def test_who_comes_early_begins_when_the_convoy_before_has_landed_and_sees_it() -> None:
    cells = Cells()
    first = cells.convoy.place()
    next = Convoy(partial(cells.store.snapshot, NAME), cells.convoy)
    early = next.place()
    sees = asyncio.ensure_future(cells.see(early, b"a"))
    await asyncio.sleep(0.01)
    assert not sees.done()
    await cells.join(first, cells.write(first, b"a", b"1", found=False))
    assert await sees == b"1" and not early.met


async def test_a_convoy_that_never_gets_a_moment_fails_everybody_and_holds_up_nobody() -> None:
    async def broken() -> Snapshot:
        raise Overloaded("no")

    convoy = Convoy(broken)
    place = convoy.place()
    next = Convoy(partial(MemoryDocuments().snapshot, NAME), convoy)
    with pytest.raises(Overloaded):
        await place.commit((), [Write((), (b"a",), b"1")])
    place.give_way()
    assert (await next.place().read(EVERYTHING, Order.ASCENDING, 1, 1)).complete


async def test_a_table_that_another_one_made_is_known_only_to_those_who_have_met_it() -> None:
    store = MemoryDocuments()
    convoy = Convoy(partial(store.snapshot, NAME))
    place, other = convoy.place(), convoy.place()
    moment = await convoy.opened()
    place.tables["notes"] = 32
    assert "notes" not in moment.tables and "notes" not in other.tables and "notes" not in convoy.place().tables


async def test_whoever_leaves_while_it_waits_for_others_holds_nothing() -> None:
    cells = Cells()
    first, second = cells.convoy.place(), cells.convoy.place()
    one = cells.write(first, b"a", b"1", found=False)
    assert await cells.see(second, b"a") == b"1"
    waiting = cells.join(second, cells.write(second, b"a", b"2", found=True))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    second.give_way()
    await cells.join(first, one)
    assert cells.store.held == 0


async def test_whoever_is_over_before_its_convoy_opens_holds_nothing_and_is_told_a_position() -> None:
    cells = Cells()
    first = cells.convoy.place()
    next = Convoy(partial(cells.store.snapshot, NAME), cells.convoy)
    early = next.place()
    told = asyncio.ensure_future(early.stand_by(()))
    await asyncio.sleep(0.01)
    assert not told.done()
    assert await cells.join(first, cells.write(first, b"a", b"1", found=False)) == await told == early.position
    early.release()
    await next.landed.wait()
    assert cells.store.held == 0


async def test_whoever_is_over_and_has_not_noticed_holds_up_nobody() -> None:
    spots = Spots()
    spots.learn(Cells.span(b"a"))
    cells = Cells(spots)
    over, place = cells.convoy.place(), cells.convoy.place()
    await cells.convoy.opened()
    over.give_way()
    await cells.see(over, b"a")
    cells.write(over, b"a", b"1", found=False)
    assert not over.is_awaited and await cells.see(place, b"a") is None
    over.release()
    with pytest.raises(Overloaded):
        await cells.see(over, b"a")


async def test_what_was_written_and_taken_back_is_not_committed() -> None:
    cells = Cells()
    first, second = cells.convoy.place(), cells.convoy.place()
    cells.write(first, b"a", b"rolled back", found=False)
    cells.write(first, b"b", b"1", found=False)
    done = asyncio.ensure_future(first.commit((), [Write((), (b"b",), b"2")]))
    second.give_way()
    await done
    left = Convoy(partial(cells.store.snapshot, NAME)).place()
    assert await cells.see(left, b"a") is None and await cells.see(left, b"b") == b"2"


async def test_nobody_waits_in_a_circle_of_three() -> None:
    cells = Cells()
    first, second, third = (cells.convoy.place() for _ in range(3))
    one = cells.write(first, b"a", b"1", found=False)
    assert await cells.see(second, b"a") == b"1"
    two = cells.write(second, b"b", b"2", found=False)
    assert await cells.see(third, b"b") == b"2"
    three = cells.write(third, b"c", b"3", found=False)
    assert await cells.see(first, b"c") is None
    ends = [cells.join(third, three), cells.join(second, two), cells.join(first, one)]
    assert all(isinstance(end, int) for end in await asyncio.wait_for(asyncio.gather(*ends), 5))


async def test_whoever_comes_too_late_commits_alone_unless_it_has_seen_what_the_others_wrote() -> None:
    for document, stays in ((2, False), (1, True)):
        store, state = MemoryDocuments(), State()
        await commit(store, [write_of(1, (1, 1), state)])
        convoy = Convoy(partial(store.snapshot, NAME))
        place, other = convoy.place(), convoy.place()
        joined = asyncio.ensure_future(other.commit((), [write_of(1, (3, 3), state)]))
        await until(other.is_done.is_set)
        span = KeyRange(b"a%d" % document, b"a%d" % (document + 1))
        await place.read(span, Order.ASCENDING, 1, 1)
        # Somebody who is slow is not waited for.
        assert isinstance(await joined, int)
        await place.read(KeyRange(b"b", b"c"), Order.ASCENDING, 9, 99)
        done = await place.commit([span], [write_of(4 + document, (1, 1), dict(state))])
        assert isinstance(done, KeyRange) is stays and place.stayed_behind is stays


async def test_who_runs_again_without_a_place_is_not_judged_by_the_one_it_had() -> None:
    store = MemoryDocuments()
    transactions = Transactions(store, StoppedClock())
    turns, version = Turns(transactions), Version(VersionNumber(1), "0" * 64, {}, Declaration())
    path = parse_function_path("m:add")
    deployment = Deployment(NAME, version, {})
    invocation = Invocation(deployment, version, path, Kind.MUTATION, b"", RequestId("1" * 16))
    turn, other = turns.of(invocation), turns.of(invocation)
    for _ in range(20):
        turns.learn(NAME, path, met=True)
    written = await other.begin()
    id = await written.insert("notes", {"n": 1})
    first = await turn.begin()
    assert await first.get(id) is not None
    # Its isolate is lost, and meanwhile others of its function have met nobody.
    first.abandon()
    turn.end()
    for _ in range(40):
        turns.learn(NAME, path, met=False)
    again = await turn.begin()
    again.put_record((), (b"mine",), b"1")
    await again.commit()
    written.abandon()
    other.end()
    await turn.stand_by(again)
