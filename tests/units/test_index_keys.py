"""The order of keys is the order of values."""

import math
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtime.index_keys import LAST, NEXT, encode, encode_value, index_prefix, table_of
from runtime.protocol.values import SAFE_INTEGER, Int64

numbers = st.floats() | st.integers(-SAFE_INTEGER, SAFE_INTEGER) | st.sampled_from([0.0, -0.0, 1, 1.0, math.inf])
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\x01\xff"), max_size=6)
    | st.binary(max_size=6)
    | st.sampled_from([b"\x00", b"\x00\xff", b"\x00\x01", "\x00", "a\x00", "a"])
)
names = st.sampled_from(["a", "aa", "b", "_c"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def rank(value: Any) -> Any:
    """Something that Python compares the way the reference says values are compared."""
    match value:
        case None:
            return (1,)
        case Int64():
            return (2, int(value))
        case bool():
            return (4, value)
        case int() | float():
            bits = struct.unpack(">q", struct.pack(">d", value))[0]
            return (3, bits if bits >= 0 else ~bits - 2**63)
        case str():
            return (5, value.encode())
        case bytes():
            return (6, value)
        case list():
            return (7, [rank(item) for item in value])
        case _:
            return (8, [(name, rank(value[name])) for name in sorted(value)])


@given(anything, anything)
def test_keys_stand_in_the_order_of_values(one: Any, other: Any) -> None:
    assert (encode_value(one) < encode_value(other)) == (rank(one) < rank(other))
    assert (encode_value(one) == encode_value(other)) == (rank(one) == rank(other))


@given(st.lists(scalars, max_size=3), st.lists(scalars, max_size=3))
def test_keys_of_several_values_stand_in_the_order_of_the_first_that_differs(one: Any, other: Any) -> None:
    assert (encode(one) < encode(other)) == ([rank(value) for value in one] < [rank(value) for value in other])


@given(anything, anything)
def test_no_key_begins_with_another_one(one: Any, other: Any) -> None:
    if rank(one) != rank(other):
        assert not encode_value(one).startswith(encode_value(other))


@given(anything, anything, anything)
def test_everything_that_begins_with_a_value_lies_between_its_key_and_its_end(
    first: Any, second: Any, other: Any
) -> None:
    key = encode_value(first)
    assert key < encode([first, second]) < key + LAST
    if rank(other) != rank(first):
        assert not key <= encode([other, second]) < key + LAST


@given(anything)
def test_no_key_lies_between_a_key_and_its_next(value: Any) -> None:
    key = encode_value(value)
    assert key < key + NEXT <= key + encode_value(None)


def test_an_int_and_a_float_are_one_number() -> None:
    assert encode_value(1) == encode_value(1.0)
    assert encode_value(SAFE_INTEGER - 1) < encode_value(float(SAFE_INTEGER))


def test_a_bool_and_an_int64_are_no_numbers() -> None:
    assert len({encode_value(1), encode_value(True), encode_value(Int64(1))}) == 3


@given(numbers.filter(math.isfinite), numbers.filter(math.isfinite))
def test_numbers_are_compared_as_numbers(one: float, other: float) -> None:
    if one < other:
        assert encode_value(one) < encode_value(other)


def test_tables_and_indexes_do_not_mix() -> None:
    assert index_prefix(1, 2) + LAST < index_prefix(1, 3) < index_prefix(1, 3) + LAST < index_prefix(2, 0)
    assert table_of(index_prefix(70_000, 3) + encode_value("x")) == 70_000
