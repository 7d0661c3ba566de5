"""How many things are in some bytes is found out without making them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocol.weighing import SHORT, holds_more_than, json_holds_more_than

FILLER = [None] * SHORT  # so that it is worth a walk

things = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=300)
    | st.binary(max_size=300) | st.builds(msgspec.msgpack.Ext, st.integers(5, 99), st.binary(min_size=1, max_size=300)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=30,
)  # fmt: skip


def count(thing: Any) -> int:
    if isinstance(thing, list):
        return 1 + sum(map(count, thing))
    if isinstance(thing, dict):
        return 1 + sum(1 + count(value) for value in thing.values())
    return 1


@given(things)
def test_the_count_is_exact(thing: Any) -> None:
    data = msgspec.msgpack.encode([thing, FILLER])
    held = count([thing, FILLER])
    assert not holds_more_than(held, data)
    assert len(data) <= held or holds_more_than(held - 1, data)


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_over_without_complaint(rubbish: bytes) -> None:
    holds_more_than(100, rubbish + bytes(SHORT))


def test_what_is_short_is_not_looked_at() -> None:
    assert not holds_more_than(1, msgspec.msgpack.encode([1, 2, 3]))


@given(things.filter(lambda thing: not isinstance(thing, bytes)))
def test_json_is_never_said_to_hold_less_than_half_of_what_it_does(thing: Any) -> None:
    value = [str(thing), [[None, 'x\\",[{']] * 20_000]
    assert json_holds_more_than(count(value) // 2, msgspec.json.encode(value))


@pytest.mark.parametrize("text", ["," * SHORT, '\\",[{\\' * SHORT, "\\" * SHORT])
def test_what_stands_in_a_string_is_no_thing(text: str) -> None:
    assert not json_holds_more_than(2, msgspec.json.encode([text]))


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b"\\", b'",'])
def test_broken_json_is_walked_over_once(piece: bytes) -> None:
    text = piece * 2_000_000
    assert not json_holds_more_than(len(text) - 1, text)  # were it looked at twice anywhere, this would take hours
