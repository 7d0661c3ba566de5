"""What do the documents of this deployment look like, and by what are they found?

``define_table`` describes the documents of one table, ``.index`` an order in which they can be read, ``define_schema``
puts the tables together. Everything is looked at here, when it is written, so that a push names the line; the host
looks at it once more.

Rules
1. A document is an object, or one of several objects; it has ``_id`` and ``_creationTime`` without being asked.
2. An index has the creation time behind its fields. ``by_id`` and ``by_creation_time`` are there for every table.
3. A field of an index is one that some document of the table may have: a misspelt one is an error.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime import limits
from runtime.names import parse_table_name
from runtime.protocol.declaration import IndexDeclaration, SchemaDeclaration, TableDeclaration
from runtime.sdk.validators import Anything, Object, Record, Union, Validator
from runtime.sdk.validators import Optional as MayBeMissing

_INDEX = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
RESERVED = ("by_id", "by_creation_time")


class Table:
    """One table of a schema. Made by `define_table`."""

    __slots__ = ("document", "indexes")

    def __init__(self, document: Validator) -> None:
        self.document = document
        self.indexes: dict[str, tuple[str, ...]] = {}

    def index(self, name: str, fields: Sequence[str]) -> "Table":
        """Let documents be found by these fields, in this order; a dot leads into an object."""
        if type(name) is not str or not _INDEX.match(name) or len(name) > limits.INDEX_NAME_CHARACTERS:
            raise ValueError(
                f"{name!r} is not the name of an index: begin with a letter, then letters, digits and underscores, "
                f"at most {limits.INDEX_NAME_CHARACTERS}"
            )
        if name in RESERVED:
            raise ValueError(f"every table has the index {name!r} already")
        if name in self.indexes:
            raise ValueError(f"this table has two indexes {name!r}: rename one of them")
        if len(self.indexes) >= limits.INDEXES:
            raise ValueError(f"{len(self.indexes) + 1} indexes of one table, limit INDEXES is {limits.INDEXES}")
        self.indexes[name] = self._fields(name, fields)
        return self

    def _fields(self, name: str, fields: Sequence[str]) -> tuple[str, ...]:
        if isinstance(fields, str) or not isinstance(fields, Sequence) or not fields:
            raise TypeError(f"the fields of index {name!r} are a list like ['author', 'time']")
        if len(fields) > limits.INDEX_FIELDS:
            raise ValueError(f"index {name!r} has {len(fields)} fields, limit INDEX_FIELDS is {limits.INDEX_FIELDS}")
        for field in fields:
            self._check_field(name, field)
        if len(set(fields)) < len(fields):
            raise ValueError(f"index {name!r} names a field twice")
        return tuple(fields)

    def _check_field(self, name: str, field: Any) -> None:
        if type(field) is not str or not all(field.split(".")):
            raise ValueError(f"index {name!r} has the field {field!r}: write a name, or names with dots between them")
        if field.startswith("_"):
            raise ValueError(
                f"index {name!r} names {field!r}: the creation time stands behind the fields of every index, and by_id "
                "is there for the id"
            )
        if not may_have(self.document, field.split(".")):
            known = ", ".join(_fields_of(self.document)) or "none"
            raise ValueError(f"index {name!r} names the field {field!r}, which no document has: the fields are {known}")


class Schema:
    """The tables of a deployment. Made by `define_schema`."""

    __slots__ = ("tables", "validation")

    def __init__(self, tables: Mapping[str, Table], validation: bool) -> None:
        self.tables = dict(tables)
        self.validation = validation

    def declare(self) -> SchemaDeclaration:
        """What the host is told."""
        tables = [
            TableDeclaration(
                name,
                table.document.json(),
                tuple(IndexDeclaration(index, fields) for index, fields in table.indexes.items()),
            )
            for name, table in self.tables.items()
        ]
        return SchemaDeclaration(tuple(tables), self.validation)


def define_table(document: Mapping[str, Validator] | Validator) -> Table:
    """Describe a table: the fields of its documents, or a union of several kinds of documents."""
    validator = Object(document) if isinstance(document, Mapping) else document
    members = validator.members if isinstance(validator, Union) else (validator,)
    for member in members:
        if not isinstance(member, Object | Anything):
            raise TypeError(
                "the documents of a table are objects: give define_table a dict of validators, v.object(…), a v.union "
                f"of those, or v.any(), not {member!r}"
            )
        for name in member.fields if isinstance(member, Object) else ():
            if not _FIELD.match(name):
                raise ValueError(
                    f"{name!r} cannot be a field of a document: begin with a letter, then letters, digits and "
                    f"underscores, at most {limits.FIELD_NAME_CHARACTERS}"
                )
    if not members:
        raise TypeError("the documents of a table are objects: an empty v.union has none")
    return Table(validator)


def define_schema(tables: Mapping[str, Table], *, schema_validation: bool = True) -> Schema:
    """Put the tables together. Without ``schema_validation`` documents are not compared with it."""
    if not isinstance(tables, Mapping):
        raise TypeError(f"define_schema needs a dict of tables, not {type(tables).__name__}")
    if type(schema_validation) is not bool:
        raise TypeError(f"schema_validation is True or False, not {schema_validation!r}")
    if len(tables) > limits.TABLES:
        raise ValueError(f"{len(tables)} tables, limit TABLES is {limits.TABLES}")
    for name, table in tables.items():
        if type(name) is not str:
            raise TypeError(f"the name of a table is a str, not {type(name).__name__}")
        parse_table_name(name)
        if not isinstance(table, Table):
            raise TypeError(f"table {name!r} needs define_table(…), not {type(table).__name__}")
    return Schema(tables, schema_validation)


def may_have(validator: Validator, path: Sequence[str]) -> bool:
    """Whether a value that fits this validator may have something at the path."""
    if not path:
        return True
    if isinstance(validator, MayBeMissing):
        return may_have(validator.inner, path)
    if isinstance(validator, Union):
        return any(may_have(member, path) for member in validator.members)
    if isinstance(validator, Object):
        inner = validator.fields.get(path[0], validator.extra)
        return inner is not None and may_have(inner, path[1:])
    if isinstance(validator, Record):
        return may_have(validator.item, path[1:])
    return isinstance(validator, Anything)


def _fields_of(validator: Validator) -> list[str]:
    members = validator.members if isinstance(validator, Union) else (validator,)
    return list(dict.fromkeys(name for member in members if isinstance(member, Object) for name in member.fields))
