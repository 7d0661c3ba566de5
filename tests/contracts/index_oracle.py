"""What an index must hold, said once more and slowly; random documents and ranges to ask about."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.adapters.sqlite_documents import SqliteDocuments
from runtime.ports import DocumentStore
from runtime.protocol.values import SAFE_INTEGER, Int64
from runtime.sdk.data.database import UNSET, IndexRange, Query
from runtime.sdk.data.schema import Schema, define_schema, define_table
from runtime.sdk.validators import v
from tests.contracts.data_house import DataHouse

Document = dict[str, Any]

FIELDS = ("a", "b.c")
LOOSE = define_schema({"notes": define_table(v.any()).index("by_a_c", FIELDS)})
MISSING = object()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, -0.0, float("inf"), float("nan"), SAFE_INTEGER])
    | st.integers(-2, 2).map(Int64)
    | st.sampled_from(["", "a", "aa", "b", "\x00", "\u00e9", "\U0001f600"])
    | st.sampled_from([b"", b"\x00", b"a"])
)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["c", "x"]), scalars, max_size=2)
inner = st.dictionaries(st.sampled_from(["c", "d"]), anything, max_size=2) | scalars
documents = st.fixed_dictionaries({}, optional={"a": anything, "b": inner})
operations = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "replace", "patch", "delete"]), st.integers(0, 9), documents),
    max_size=20,
)


def stores(folder: Callable[[], Path]) -> dict[str, Callable[[], DocumentStore]]:
    return {"memory": MemoryDocuments, "sqlite": lambda: SqliteDocuments(folder())}


def rank(value: Any) -> Any:
    """Something that Python compares the way the reference says values are compared."""
    if value is MISSING:
        return (0,)
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


def at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if type(document) is not dict or name not in document:
            return MISSING
        document = document[name]
    return document


def place(document: Document) -> Any:
    return [rank(at(document, field)) for field in (*FIELDS, "_creationTime")]


async def apply(house: DataHouse, steps: list[tuple[str, int, Document]], ids: list[str]) -> None:
    for verb, which, document in steps:
        async with house.mutation() as db:
            id = ids[which % len(ids)] if ids else None
            if verb == "insert" or id is None or await db.get(id) is None:
                ids.append(await db.insert("notes", document))
            elif verb == "replace":
                await db.replace(id, document)
            elif verb == "patch":
                await db.patch(id, {name: document.get(name, UNSET) for name in ("a", "b")})
            else:
                await db.delete(id)


async def all_documents(house: DataHouse) -> list[Document]:
    async with house.query() as db:
        return await db.query("notes").collect()


verbs = st.tuples(st.sampled_from(["gt", "gte"]), st.sampled_from(["lt", "lte"]))
values_or_missing = anything | st.just(MISSING)


@st.composite
def ranges(draw: st.DrawFn) -> list[tuple[str, str, Any]]:
    """Equalities on the first fields, and up to two bounds on the next."""
    equal = draw(st.integers(0, 2))
    steps = [("eq", FIELDS[number], draw(values_or_missing)) for number in range(equal)]
    following = (*FIELDS, "_creationTime")[equal]
    bound = st.sampled_from([1_700_000_000_003, 1_700_000_000_010]) if following == "_creationTime" else anything
    lower, upper = draw(verbs)
    if draw(st.booleans()):
        steps.append((lower, following, draw(bound)))
    if draw(st.booleans()):
        steps.append((upper, following, draw(bound)))
    return steps


def within(document: Document, steps: list[tuple[str, str, Any]]) -> bool:
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "eq": lambda one, other: one == other,
        "gt": lambda one, other: one > other,
        "gte": lambda one, other: one >= other,
        "lt": lambda one, other: one < other,
        "lte": lambda one, other: one <= other,
    }
    return all(compare[verb](rank(at(document, field)), rank(value)) for verb, field, value in steps)


def ask(query: Query, steps: list[tuple[str, str, Any]]) -> Query:
    def build(q: IndexRange) -> IndexRange:
        for verb, field, value in steps:
            getattr(q, verb)(field, UNSET if value is MISSING else value)
        return q

    return query.with_index("by_a_c", build)


def same(found: list[Document], expected: list[Document]) -> bool:
    return [one["_id"] for one in found] == [one["_id"] for one in expected]


def by_author() -> Schema:
    return define_schema(
        {"notes": define_table({"author": v.string(), "n": v.number()}).index("by_author", ["author", "n"])}
    )
