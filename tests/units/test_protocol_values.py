"""Values keep their type and their number on the way, and what is no value is named by its path."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.protocol.values import SAFE_INTEGER, Int64, InvalidValue, check, decode, encode, from_json, to_json

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$"), min_size=1, max_size=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-SAFE_INTEGER, SAFE_INTEGER),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(Int64, st.integers(-(2**63), 2**63 - 1)),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    return bool(left == right)


@given(values)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(values)
def test_a_value_comes_back_from_json_as_it_was(value: Any) -> None:
    assert same(from_json(to_json(value)), value)


@given(st.binary(max_size=200))
def test_bytes_of_a_stranger_are_a_value_or_are_refused(data: bytes) -> None:
    with suppress(InvalidValue):
        check(decode(data))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": {1, 2}}]}, r"value\.a\[1\]\.b is of type set"),
        ([2**53 + 1], r"value\[0\] is 9007199254740993: .* must be Int64"),
        ({"a": "\ud800"}, r"value\.a holds a lone surrogate at character 0"),
        ({1: 2}, "key of type int"),
        ({"$a": 2}, "key '\\$a'"),
        ({"": 2}, "key ''"),
        ((1, 2), "value is of type tuple"),
        ([10**400], "integer of 1329 bits"),
    ],
)
def test_what_is_no_value_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(InvalidValue, match=path):
        encode(value)


def test_a_subclass_of_a_value_type_is_no_value() -> None:
    class Sly(dict[str, int]):
        pass

    with pytest.raises(InvalidValue, match="Sly"):
        encode({"a": Sly()})


def test_nesting_has_a_limit() -> None:
    value: list[Any] = []
    for _ in range(limits.VALUE_DEPTH + 1):
        value = [value]
    with pytest.raises(InvalidValue, match="nested deeper"):
        encode(value)


def test_a_value_of_any_size_is_refused_by_its_bytes() -> None:
    with pytest.raises(InvalidValue, match="limit"):
        decode(b"\xc6" + (limits.VALUE_BYTES + 1).to_bytes(4, "big") + b"\0" * (limits.VALUE_BYTES + 1))


def test_int64_holds_64_bits() -> None:
    assert Int64(2**63 - 1) == 2**63 - 1
    with pytest.raises(ValueError, match="Int64"):
        Int64(2**63)


@pytest.mark.parametrize("text", [{"$integer": "AA=="}, {"$float": 5}, {"$bytes": "!"}])
def test_a_special_form_that_is_malformed_is_refused(text: Any) -> None:
    with pytest.raises(InvalidValue, match="base64"):
        from_json(text)


def test_a_value_of_too_many_items_is_refused_on_both_sides() -> None:
    many = int(limits.VALUE_ITEMS)
    with pytest.raises(InvalidValue, match=r"result holds more than .* VALUE_ITEMS"):
        encode([0] * many, "result")
    with pytest.raises(InvalidValue, match="VALUE_ITEMS"):
        decode(b"\xdd" + many.to_bytes(4, "big") + b"\x90" * many)
    assert len(decode(encode([0] * (many - 1)))) == many - 1
