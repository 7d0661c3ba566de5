"""Does a written key find exactly those who depend on it?"""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.execution.live.interests import Interests, holds_one, merged
from runtime.ports import KeyRange

keys = st.binary(max_size=3)
spans = st.tuples(keys, keys).map(lambda ends: KeyRange(*ends))
points = keys.map(lambda key: KeyRange(key, key + b"\x00"))
owners = st.integers(0, 9)
steps = st.lists(st.tuples(st.booleans(), st.lists(spans | points, max_size=4), owners), max_size=40)


@settings(max_examples=300)
@given(steps, st.lists(keys, max_size=8))
def test_a_key_touches_who_has_a_range_that_holds_it_and_nobody_else(
    steps: list[tuple[bool, list[KeyRange], int]], written: list[bytes]
) -> None:
    interests: Interests[int] = Interests()
    naive: set[tuple[KeyRange, int]] = set()
    for add, some, owner in steps:
        if add:
            interests.add(some, owner)
            naive |= {(span, owner) for span in some}
        else:
            interests.remove(some, owner)
            naive -= {(span, owner) for span in some}
    expected = {owner for span, owner in naive for key in written if span.lower <= key < span.upper}
    assert interests.touched(sorted(set(written))) == expected
    assert len(interests) == len({span for span, _ in naive})


@given(st.lists(spans, max_size=12), keys)
def test_merged_ranges_hold_the_same_keys_in_fewer_ranges(some: list[KeyRange], key: bytes) -> None:
    fewer = merged(some)
    assert any(span.lower <= key < span.upper for span in some) == any(holds_one(span, [key]) for span in fewer)
    assert list(fewer) == sorted(fewer)
    assert all(one.upper < next.lower for one, next in pairwise(fewer))


def test_what_nobody_depends_on_any_more_leaves_nothing_behind() -> None:
    interests: Interests[str] = Interests()
    wide, point = KeyRange(b"a", b"m"), KeyRange(b"b", b"b\x00")
    interests.add([wide, point], "one")
    interests.add([wide], "other")
    interests.remove([wide, point], "one")
    assert interests.touched([b"b"]) == {"other"}
    interests.remove([wide], "other")
    assert len(interests) == 0
    assert interests.touched([b"b"]) == set()


def test_many_ranges_stay_quick_to_ask_however_they_were_added() -> None:
    interests: Interests[int] = Interests()
    for number in range(20_000):
        interests.add([KeyRange(b"%06d" % number, b"%06d" % (number + 2))], number)
    assert interests.touched([b"010000"]) == {9_999, 10_000}
    for number in range(0, 20_000, 2):
        interests.remove([KeyRange(b"%06d" % number, b"%06d" % (number + 2))], number)
    assert interests.touched([b"010000"]) == {9_999}
