"""A schema as somebody writes it: what can be said, and what is refused where it stands."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime.protocol.declaration import IndexDeclaration
from runtime.protocol.values import Int64
from runtime.sdk.data.schema import Schema, Table, define_schema, define_table
from runtime.sdk.validators import v
from runtime.syscalls.schemas.claims import objection_to


def test_a_schema_says_tables_validators_and_indexes() -> None:
    schema = define_schema(
        {
            "messages": define_table({"author": v.id("users"), "meta": v.optional(v.object({"at": v.number()}))})
            .index("by_author", ["author", "meta.at"])
            .index("by_meta", ("meta",)),
            "events": define_table(v.union(v.object({"kind": v.literal("a")}), v.object({"n": v.literal(Int64(1))}))),
            "loose": define_table(v.any()).index("by_anything", ["a.b.c"]),
        }
    )
    declared = schema.declare()
    assert [table.name for table in declared.tables] == ["messages", "events", "loose"]
    indexes = (IndexDeclaration("by_author", ("author", "meta.at")), IndexDeclaration("by_meta", ("meta",)))
    assert declared.tables[0].indexes == indexes
    assert declared.tables[1].document["value"][1]["value"]["n"]["fieldType"]["value"] == {"$integer": "AQAAAAAAAAA="}
    assert declared.validation
    assert objection_to(declared) is None


def test_validation_can_be_switched_off() -> None:
    assert not define_schema({}, schema_validation=False).declare().validation


WRONG: Any = [1]  # what no type checker would let through


def table() -> Table:
    return define_table(
        {"a": v.string(), "b": v.union(v.object({"c": v.number()}), v.null()), "r": v.record(v.string(), v.any())}
    )


def test_an_index_leads_into_what_a_document_may_have() -> None:
    assert table().index("x", ["b.c", "r.anything.deep", "a"]).indexes == {"x": ("b.c", "r.anything.deep", "a")}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: table().index("x", ["author"]),
            "names the field 'author', which no document has: the fields are a, b, r",
        ),
        (lambda: table().index("x", ["a.b"]), "names the field 'a.b', which no document has"),
        (lambda: table().index("x", []), "are a list like"),
        (lambda: table().index("x", "a"), "are a list like"),
        (lambda: table().index("x", ["a", "a"]), "names a field twice"),
        (lambda: table().index("x", WRONG), "write a name, or names with dots"),
        (lambda: table().index("x", ["b..c"]), "write a name, or names with dots"),
        (lambda: table().index("x", ["_creationTime"]), "the creation time stands behind"),
        (lambda: table().index("x", ["a"] * 17), "limit INDEX_FIELDS is 16"),
        (lambda: table().index("by_id", ["a"]), "every table has the index 'by_id' already"),
        (lambda: table().index("by_creation_time", ["a"]), "every table has the index"),
        (lambda: table().index("_x", ["a"]), "is not the name of an index"),
        (lambda: table().index("x" * 65, ["a"]), "is not the name of an index"),
        (lambda: table().index("x", ["a"]).index("x", ["b"]), "two indexes 'x'"),
        (lambda: _many(33), "limit INDEXES is 32"),
        (lambda: define_table(v.string()), "the documents of a table are objects"),
        (lambda: define_table(v.union()), "an empty v.union has none"),
        (lambda: define_table(v.union(v.object({}), v.null())), "the documents of a table are objects"),
        (lambda: define_table({"a": WRONG}), "field 'a' needs a validator"),
        (lambda: define_table({"_id": v.string()}), "cannot be a field of a document"),
        (lambda: define_table({"a b": v.string()}), "cannot be a field of a document"),
        (lambda: define_schema({"_x": table()}), "is not a table name"),
        (lambda: define_schema({"x": WRONG}), "needs define_table"),
        (lambda: define_schema(WRONG), "needs a dict of tables"),
        (lambda: define_schema({}, schema_validation=WRONG), "is True or False"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(make: Callable[[], Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        make()
    assert says in str(refused.value)


def _many(count: int) -> Schema:
    made = table()
    for number in range(count):
        made.index(f"i{number}", ["a"])
    return define_schema({"t": made})
