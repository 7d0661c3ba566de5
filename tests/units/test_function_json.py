"""Arguments and results of functions in JSON."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.edge.functions.arguments import read_and_spell, read_arguments, spell
from runtime.edge.functions.results import Format, plain, read_format, result
from runtime.edge.problems import Details
from runtime.errors import BadRequest
from runtime.invocation import Failed, Succeeded
from runtime.names import RequestId
from runtime.protocol import values
from runtime.protocol.messages import Failure, Frame, Reason

ID = RequestId("0123456789abcdef")
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=3).filter(lambda k: k[0] != "$")
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(),
    st.text(max_size=3).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)),
    st.binary(max_size=3),
    st.integers(-(2**63), 2**63 - 1).map(values.Int64),
)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
arguments = st.dictionaries(keys, trees, max_size=3)


@given(arguments)
def test_arguments_come_through_json_as_they_were(value: dict[str, Any]) -> None:
    sent = json.loads(json.dumps(values.to_json(value), allow_nan=False))
    for form in (sent, [sent]):
        assert repr(values.decode(read_arguments(form))) == repr(value)


@given(arguments)
def test_what_is_spelt_differently_and_is_the_same_has_one_spelling(value: dict[str, Any]) -> None:
    def respell(one: Any) -> Any:
        if type(one) is dict:
            return {key: respell(one[key]) for key in reversed(list(one))}
        if type(one) is list:
            return [respell(item) for item in one]
        return float(one) if type(one) is int and abs(one) < 2**53 else one

    spelled = values.encode(spell(value))
    assert values.encode(spell(respell(value))) == spelled


@pytest.mark.parametrize(
    ("one", "other"), [(0.0, -0.0), (1, values.Int64(1)), (1, True), (0, False), ("1", 1), (b"a", "a"), (None, {})]
)
def test_what_is_not_the_same_is_spelt_differently(one: Any, other: Any) -> None:
    assert values.encode(spell({"a": one})) != values.encode(spell({"a": other}))


def test_no_arguments_may_be_said_in_three_ways() -> None:
    assert read_and_spell({}) == read_and_spell([]) == read_and_spell([{}])


@pytest.mark.parametrize("args", [None, 1, "x", [1], [{}, {}], {"$integer": "KgAAAAAAAAA="}, [[{}]]])
def test_arguments_are_one_object(args: Any) -> None:
    with pytest.raises(BadRequest):
        read_arguments(args)


@given(trees)
def test_plain_json_is_json_whatever_the_value(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)


def test_a_format_that_nobody_knows_is_refused() -> None:
    assert read_format(None) is Format.PLAIN
    assert read_format("convex_json") is Format.ENCODED
    with pytest.raises(BadRequest):
        read_format("xml")


def test_details_are_shown_where_they_may_be_and_data_always() -> None:
    frame = Frame("messages.py", 3, "send", "raise")
    failed = Failed(
        Failure(Reason.APPLICATION, "ApplicationError", "no", (frame,), values.encode({"code": 7})), ("[INFO] x",)
    )
    hidden = result(failed, Format.PLAIN, ID, Details.HIDE)
    assert hidden == {
        "status": "error",
        "errorMessage": f"[Request ID: {ID}] Server Error",
        "errorData": {"code": 7},
        "logLines": [],
    }
    shown = result(failed, Format.PLAIN, ID, Details.SHOW)
    assert "messages.py" in shown["errorMessage"]
    assert shown["logLines"] == ["[INFO] x"]
    unknown = Failed(Failure(Reason.UNKNOWN, "FunctionNotFound", "Could not find it"))
    assert "Could not find it" in result(unknown, Format.PLAIN, ID, Details.HIDE)["errorMessage"]
    assert result(Succeeded(values.encode(math.inf)), Format.PLAIN, ID, Details.HIDE)["value"] == "Infinity"
