"""Is this a schema that could have been meant?

A bundle's schema is the word of a stranger: what the guest's own runtime would have refused is refused here again,
before anything of it is kept.
"""

import re

import msgspec

from runtime import limits
from runtime.names import InvalidName, parse_table_name
from runtime.protocol.declaration import IndexDeclaration, SchemaDeclaration, TableDeclaration
from runtime.syscalls.schemas.catalog import BUILT_IN
from runtime.syscalls.schemas.document_types import InvalidType, Reader

_INDEX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(?:\.[^.$\s][^.\s]{0,1023}){0,15}\Z", re.ASCII)
assert limits.INDEX_NAME_CHARACTERS == 64


def objection_to(schema: SchemaDeclaration) -> str | None:
    """What is wrong with a schema, or ``None``. Its validators are JSON of a bounded size."""
    if len(schema.tables) > limits.TABLES:
        return f"the schema has {len(schema.tables)} tables, the limit TABLES is {int(limits.TABLES)}"
    if (size := len(msgspec.json.encode(schema))) > limits.SCHEMA_BYTES:
        return f"the schema has {size} bytes, the limit SCHEMA_BYTES is {int(limits.SCHEMA_BYTES)}"
    seen: set[str] = set()
    for table in schema.tables:
        if table.name in seen:
            return f"the schema has two tables {table.name!r}"
        seen.add(table.name)
        if (problem := _table_problem(table)) is not None:
            return f"table {table.name[:80]!r}: {problem}"
    return None


def _table_problem(table: TableDeclaration) -> str | None:
    try:
        parse_table_name(table.name)
        Reader().read(table.document)
    except (InvalidName, InvalidType) as error:
        return str(error)
    kind = table.document["type"]
    members = table.document["value"] if kind == "union" else [table.document]
    if not members or any(member["type"] not in ("object", "any") for member in members):
        return "the documents of a table are objects, or a union of objects"
    if len(table.indexes) > limits.INDEXES:
        return f"{len(table.indexes)} indexes, the limit INDEXES is {int(limits.INDEXES)}"
    names = [index.name for index in table.indexes]
    if len(set(names)) < len(names):
        return "two indexes have the same name"
    return next((problem for index in table.indexes if (problem := _index_problem(index)) is not None), None)


def _index_problem(index: IndexDeclaration) -> str | None:
    if not _INDEX.match(index.name) or index.name in BUILT_IN:
        return f"{index.name[:80]!r} cannot be the name of an index"
    if not 1 <= len(index.fields) <= limits.INDEX_FIELDS:
        return f"index {index.name!r} has {len(index.fields)} fields, the limit INDEX_FIELDS is {limits.INDEX_FIELDS:d}"
    if len(set(index.fields)) < len(index.fields):
        return f"index {index.name!r} names a field twice"
    wrong = next((field for field in index.fields if not _FIELD.match(field)), None)
    return None if wrong is None else f"index {index.name!r} has the field {wrong[:80]!r}, which is no name of a field"
