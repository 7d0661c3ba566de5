"""The host's own comparison says what a naive reading of the validators says, and what the guest's says."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.document_ids import make_document_id
from runtime.errors import SyscallRefused
from runtime.protocol import values
from runtime.protocol.declaration import IndexDeclaration, SchemaDeclaration, TableDeclaration
from runtime.protocol.values import Int64
from runtime.sdk.validators import Mismatch, Validator, v
from runtime.syscalls.schemas.claims import objection_to
from runtime.syscalls.schemas.document_types import InvalidType, Look, Reader

ID = make_document_id(40, bytes(16)).text
OTHER = make_document_id(41, bytes(16)).text
TABLES = {"a": 40, "b": None}

names = st.sampled_from(["x", "y", "z"])
literals: st.SearchStrategy[Any] = st.sampled_from(["x", "", 1, 0, 1.5, True, False, Int64(1)])
leaves = st.sampled_from(
    [v.null(), v.number(), v.int64(), v.boolean(), v.string(), v.bytes(), v.any(), v.id("a"), v.id("b")]
) | literals.map(v.literal)


def _grow(inner: st.SearchStrategy[Validator]) -> st.SearchStrategy[Validator]:
    fields = st.dictionaries(names, inner | inner.map(v.optional), max_size=3)
    return (
        inner.map(v.array)
        | fields.map(v.object)
        | st.lists(inner, max_size=3).map(lambda members: v.union(*members))
        | inner.map(lambda item: v.record(v.string(), item))
    )


validators = st.recursive(leaves, _grow, max_leaves=6)
scalars = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 1.5, "x", "", "abc", b"x", Int64(1), ID, OTHER])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def fits(written: Any, value: Any) -> bool:
    """The same question, asked naively."""
    match written["type"]:
        case "any":
            return True
        case "null":
            return value is None
        case "number":
            return type(value) in (int, float)
        case "bigint":
            return type(value) is Int64
        case "boolean":
            return type(value) is bool
        case "string":
            return type(value) is str
        case "bytes":
            return type(value) is bytes
        case "id":
            return bool(value == ID and written["tableName"] == "a")
        case "literal":
            literal = values.from_json(written["value"])
            return literal == value and (type(literal) is type(value) or {type(literal), type(value)} == {int, float})
        case "array":
            return type(value) is list and all(fits(written["value"], item) for item in value)
        case "union":
            return any(fits(member, value) for member in written["value"])
        case "record":
            return type(value) is dict and all(fits(written["values"]["fieldType"], item) for item in value.values())
        case _:
            fields = written["value"]
            return (
                type(value) is dict
                and all(name in fields for name in value)
                and all(
                    fits(field["fieldType"], value[name]) if name in value else field["optional"]
                    for name, field in fields.items()
                )
            )


@given(validators, anything)
def test_what_fits_is_what_a_naive_reading_says(validator: Validator, value: Any) -> None:
    written = msgspec.msgpack.decode(msgspec.msgpack.encode(validator.json()))
    misfit = Reader().read(written).misfit(value, Look(TABLES))
    assert (misfit is None) == fits(written, value)
    if misfit is not None:
        assert misfit.text("document").startswith("document")


@given(validators, anything)
def test_what_the_guest_refuses_the_host_refuses(validator: Validator, value: Any) -> None:
    try:
        validator.check(value, "value")
    except Mismatch:
        assert Reader().read(validator.json()).misfit(value, Look(TABLES)) is not None


@pytest.mark.parametrize(
    ("validator", "value", "says"),
    [
        (v.string(), 5, "document must be a string, got int 5"),
        (v.object({"a": v.array(v.number())}), {"a": [1, "x"]}, "document.a[1] must be a number, got str 'x'"),
        (v.object({"a": v.string()}), {}, "document.a is missing: it must be a string"),
        (v.object({"a": v.optional(v.string())}), {"b": 1}, "document.b is not expected: the fields are a"),
        (v.union(v.string(), v.null()), 5, "document must be a string or None, got int 5"),
        (
            v.union(v.object({"k": v.literal("x"), "n": v.number()}), v.object({"k": v.literal("y")})),
            {"k": "x", "n": "?"},
            "document.n must be a number, got str '?'",
        ),
        (
            v.union(v.object({"k": v.literal("x")}), v.object({"n": v.array(v.null()), "k": v.literal("y")})),
            {"k": "y", "n": 5},
            "document.n must be a list of None, got int 5",
        ),
        (
            v.union(v.object({"k": v.literal("x")}), v.object({"k": v.literal(1)})),
            {"k": True},
            "document.k must be 'x' or 1, got bool True",
        ),
        (v.record(v.string(), v.number()), {"a": "x"}, "document.a must be a number, got str 'x'"),
        (
            v.record(v.id("a"), v.number()),
            {"a": 1},
            "document.a is not expected: as a key it must be an id of table 'a'",
        ),
        (v.id("a"), "x" * 200, "document must be an id of table 'a', got str '" + "x" * 79 + "…"),
        (
            v.id("a"),
            OTHER,
            f"document must be an id of table 'a', and {OTHER} is the id of a document of another table",
        ),
        (v.number(), True, "document must be a number, got bool True"),
        (v.int64(), 1, "document must be an Int64, got int 1"),
        (v.string(), {"a": 1}, "document must be a string, got dict"),
    ],
)
def test_a_misfit_names_path_value_and_what_was_expected(validator: Validator, value: Any, says: str) -> None:
    misfit = Reader().read(validator.json()).misfit(value, Look(TABLES))
    assert misfit is not None and misfit.text("document").startswith(says)


def test_unions_in_lists_in_unions_do_not_take_for_ever() -> None:
    validator: Validator = v.literal("never")
    for _ in range(3):
        validator = v.union(*[v.array(validator)] * 9)
    assert len(msgspec.json.encode(validator.json())) < limits.VALIDATOR_BYTES
    # Only the last leaf of the last list does not fit, so that no member can be given up early.
    fitting: Any = [[["never"] * 60] * 60] * 60
    fitting = [*fitting[:-1], [*fitting[-1][:-1], ["never"] * 59 + [1]]]
    with pytest.raises(SyscallRefused, match="limit VALIDATION_STEPS") as refused:
        Reader().read(validator.json()).misfit(fitting, Look(TABLES))
    assert refused.value.exception == "LimitExceeded"


def _deep(levels: int) -> Any:
    written: Any = {"type": "any"}
    for _ in range(levels):
        written = {"type": "array", "value": written}
    return written


@pytest.mark.parametrize(
    "written",
    [
        None,
        1,
        "any",
        [],
        {},
        {"type": 1},
        {"type": ["any"]},
        {"type": "nothing"},
        {"type": "id"},
        {"type": "id", "tableName": 5},
        {"type": "id", "tableName": "_tables"},
        {"type": "id", "tableName": "a b"},
        {"type": "array"},
        {"type": "array", "value": []},
        {"type": "union", "value": {}},
        {"type": "union", "value": [1]},
        {"type": "object", "value": []},
        {"type": "object", "value": {"a": {"type": "any"}}},
        {"type": "object", "value": {"a": {"fieldType": {"type": "any"}}}},
        {"type": "object", "value": {"a": {"fieldType": {"type": "any"}, "optional": 1}}},
        {"type": "record", "keys": {"type": "string"}},
        {"type": "record", "values": {"fieldType": {"type": "any"}, "optional": False}},
        {"type": "literal"},
        {"type": "literal", "value": None},
        {"type": "literal", "value": [1]},
        {"type": "literal", "value": {"$integer": "?"}},
        {"type": "literal", "value": 2**60},
        _deep(100),
    ],
)
def test_what_is_no_validator_is_refused(written: Any) -> None:
    with pytest.raises(InvalidType):
        Reader().read(written)


ANY = {"type": "any"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (TableDeclaration("", ANY), "is not a table name"),
        (TableDeclaration("_storage", ANY), "is not a table name"),
        (TableDeclaration("x" * 65, ANY), "is not a table name"),
        (TableDeclaration("t", {"type": "string"}), "are objects, or a union of objects"),
        (TableDeclaration("t", {"type": "union", "value": []}), "are objects"),
        (TableDeclaration("t", {"type": "union", "value": [{"type": "string"}]}), "are objects"),
        (TableDeclaration("t", {"type": "what"}), "is no type of a validator"),
        (TableDeclaration("t", None), "an object with a type"),
        (TableDeclaration("t", ANY, (IndexDeclaration("by_id", ("a",)),)), "cannot be the name of an index"),
        (TableDeclaration("t", ANY, (IndexDeclaration("_x", ("a",)),)), "cannot be the name of an index"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x" * 65, ("a",)),)), "cannot be the name of an index"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ()),)), "limit INDEX_FIELDS is 16"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", tuple(map("f{}".format, range(17)))),)), "INDEX_FIELDS"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ("a", "a")),)), "names a field twice"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ("_id",)),)), "no name of a field"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ("a..b",)),)), "no name of a field"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ("",)),)), "no name of a field"),
        (TableDeclaration("t", ANY, (IndexDeclaration("x", ("a",)), IndexDeclaration("x", ("b",)))), "the same name"),
        (
            TableDeclaration("t", ANY, tuple(IndexDeclaration(f"i{n}", ("a",)) for n in range(33))),
            "limit INDEXES is 32",
        ),
    ],
)
def test_a_schema_that_no_guest_of_ours_would_send_is_refused(table: TableDeclaration, says: str) -> None:
    problem = objection_to(SchemaDeclaration((table,)))
    assert problem is not None and says in problem


def test_a_schema_is_refused_as_a_whole() -> None:
    table = TableDeclaration("t", ANY)
    assert objection_to(SchemaDeclaration((table,))) is None
    assert objection_to(SchemaDeclaration((table, table))) == "the schema has two tables 't'"
    many = tuple(TableDeclaration(f"t{n}", ANY) for n in range(limits.TABLES + 1))
    assert "limit TABLES is 10000" in (objection_to(SchemaDeclaration(many)) or "")
    large = {"type": "object", "value": {"x" * 60_000: {"fieldType": ANY, "optional": True}}}
    tables = tuple(TableDeclaration(f"t{n}", large) for n in range(80))
    assert "limit SCHEMA_BYTES" in (objection_to(SchemaDeclaration(tables)) or "")
