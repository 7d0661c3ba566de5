from typing import Any, Literal, NotRequired, Optional, TypedDict

import pytest

from runtime import Id, Int64, v
from runtime.sdk.annotations import arguments_of, from_annotation, returns_of
from runtime.sdk.validators import Mismatch, Validator


class Inner(TypedDict, total=False):
    count: int


class Outer(TypedDict):
    name: str
    inner: NotRequired[Inner]


FITS: list[tuple[Validator, Any]] = [
    (v.null(), None),
    (v.number(), 5),
    (v.number(), 5.5),
    (v.int64(), Int64(5)),
    (v.boolean(), False),
    (v.string(), ""),
    (v.bytes(), b""),
    (v.literal("a"), "a"),
    (v.literal(1), 1),
    (v.array(v.number()), [1, 2.5]),
    (v.object({"a": v.string(), "b": v.optional(v.number())}), {"a": "x"}),
    (v.record(v.string(), v.number()), {"a": 1}),
    (v.union(v.string(), v.number()), 1),
    (v.nullable(v.string()), None),
    (v.any(), object),
    (v.id("users"), "abc"),
]


@pytest.mark.parametrize("validator, value", FITS)
def test_a_value_that_fits_is_returned(validator: Validator, value: Any) -> None:
    assert validator.check(value, "x") == value


@pytest.mark.parametrize(
    "validator, value, words",
    [
        (v.null(), 0, "x must be None, got int 0"),
        (v.number(), True, "x must be a number, got bool True"),
        (v.number(), Int64(1), "x must be a number, got Int64 Int64(1)"),
        (v.int64(), 1, "x must be an Int64, got int 1"),
        (v.string(), b"", "x must be a string, got bytes b''"),
        (v.literal(1), True, "x must be 1, got bool True"),
        (v.array(v.number()), [1, "2"], "x[1] must be a number, got str '2'"),
        (v.array(v.number()), (1,), "x must be a list of a number, got tuple (1,)"),
        (v.object({"a": v.string()}), {}, "x.a is missing: it must be a string"),
        (v.object({"a": v.string()}), {"a": "", "b": 1}, "x.b is not expected: the fields are a"),
        (v.object({"a": v.object({"b": v.null()})}), {"a": {"b": 1}}, "x.a.b must be None, got int 1"),
        (v.record(v.string(), v.number()), {"a": "b"}, "x.a must be a number, got str 'b'"),
        (v.record(v.union(v.literal("a"), v.literal("b")), v.any()), {"c": 1}, "the key 'c' of x must be 'a' or 'b'"),
        (v.union(v.string(), v.null()), 1, "x must be a string or None, got int 1"),
        (v.union(v.null(), v.object({"a": v.string()})), {"a": 1}, "x.a must be a string, got int 1"),
        (v.id("users"), 5, "x must be an id of table 'users', got int 5"),
        (v.string(), ["y" * 1000], "x must be a string, got list ['yyy"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(validator: Validator, value: Any, words: str) -> None:
    with pytest.raises(Mismatch) as raised:
        validator.check(value, "x")
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "validator, json",
    [
        (v.null(), {"type": "null"}),
        (v.float64(), {"type": "number"}),
        (v.bigint(), {"type": "bigint"}),
        (v.boolean(), {"type": "boolean"}),
        (v.string(), {"type": "string"}),
        (v.bytes(), {"type": "bytes"}),
        (v.any(), {"type": "any"}),
        (v.id("t"), {"type": "id", "tableName": "t"}),
        (v.literal("a"), {"type": "literal", "value": "a"}),
        (v.array(v.string()), {"type": "array", "value": {"type": "string"}}),
        (
            v.object({"a": v.optional(v.string())}),
            {"type": "object", "value": {"a": {"fieldType": {"type": "string"}, "optional": True}}},
        ),
        (
            v.record(v.string(), v.number()),
            {
                "type": "record",
                "keys": {"type": "string"},
                "values": {"fieldType": {"type": "number"}, "optional": False},
            },
        ),
        (v.nullable(v.string()), {"type": "union", "value": [{"type": "string"}, {"type": "null"}]}),
    ],
)
def test_a_validator_writes_itself_as_convex_does(validator: Validator, json: Any) -> None:
    assert validator.json() == json


@pytest.mark.parametrize(
    "annotation, json",
    [
        (str, {"type": "string"}),
        (int, {"type": "number"}),
        (float, {"type": "number"}),
        (None, {"type": "null"}),
        (Any, {"type": "any"}),
        (Int64, {"type": "bigint"}),
        (list, {"type": "array", "value": {"type": "any"}}),
        (list[bytes], {"type": "array", "value": {"type": "bytes"}}),
        (Id["users"], {"type": "id", "tableName": "users"}),  # type: ignore[misc]  # a table
        (Literal["a"], {"type": "literal", "value": "a"}),
        (bool | None, {"type": "union", "value": [{"type": "boolean"}, {"type": "null"}]}),
        (Optional[str], {"type": "union", "value": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045  # tenants do
        (
            Outer,
            {
                "type": "object",
                "value": {
                    "name": {"fieldType": {"type": "string"}, "optional": False},
                    "inner": {
                        "fieldType": {
                            "type": "object",
                            "value": {"count": {"fieldType": {"type": "number"}, "optional": True}},
                        },
                        "optional": True,
                    },
                },
            },
        ),
    ],
)
def test_an_annotation_means_its_validator(annotation: Any, json: Any) -> None:
    assert from_annotation(annotation, "here").json() == json


def test_a_whole_float_is_an_int_where_an_int_is_asked_for() -> None:
    whole = from_annotation(int, "here")
    checked = whole.check(5.0, "x")
    assert (checked, type(checked)) == (5, int)
    for wrong in (5.5, float("inf"), float("nan"), True):
        with pytest.raises(Mismatch):
            whole.check(wrong, "x")


def test_checking_leaves_the_callers_value_alone() -> None:
    value = {"a": [5.0]}
    assert from_annotation(dict[str, list[int]], "here").check(value, "x") == {"a": [5]}
    assert type(value["a"][0]) is float


def test_parameters_are_arguments_defaults_optional_and_rest_open() -> None:
    def handler(ctx: Any, a: str, b: int = 5, **rest: Any) -> None: ...

    arguments = arguments_of(handler, None)
    assert arguments.check({"a": "x", "other": 1}, "args") == {"a": "x", "other": 1}
    assert arguments.json() == {"type": "any"}
    assert returns_of(handler) is v.null()


def test_no_parameters_means_no_arguments() -> None:
    with pytest.raises(Mismatch, match=r"args\.x is not expected: the fields are none"):
        arguments_of(lambda ctx: None, None).check({"x": 1}, "args")


@pytest.mark.parametrize("annotation", [set, complex, tuple[int, ...], list[object()], dict[str, set[int]]])  # type: ignore[misc]  # wrong on purpose
def test_an_annotation_that_is_no_value_type_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match="here"):
        from_annotation(annotation, "here")


def test_an_optional_makes_sense_in_objects_only() -> None:
    with pytest.raises(TypeError, match="only a field of an object can be missing"):
        v.array(v.optional(v.string()))


KINDS = v.union(
    v.object({"kind": v.literal("circle"), "radius": v.number()}),
    v.object({"points": v.array(v.string()), "kind": v.literal("line")}),
    v.null(),
)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"kind": "line", "points": ["a", 2]}, "shape.points[1] must be a string, got int 2"),
        ({"kind": "circle", "radius": "x"}, "shape.radius must be a number, got str 'x'"),
        ({"kind": "circle", "radius": 1, "more": 2}, "shape.more is not expected: the fields are kind, radius"),
        ({"kind": "square"}, "shape.kind must be 'circle' or 'line', got str 'square'"),
        ({}, "shape.kind is missing: it must be 'circle'"),
        (5, "shape must be an object with kind, radius or an object with points, kind or None, got int 5"),
    ],
)
def test_what_a_union_says_is_about_the_member_that_the_value_says_it_is(value: object, says: str) -> None:
    with pytest.raises(Mismatch) as refused:
        KINDS.check(value, "shape")
    assert str(refused.value) == says
