"""What is a JSON Schema of ours in Python's annotations?

Objects become TypedDicts, ids a type for each table. Knows no function.

Rules
1. Every name and text of the document is quoted or made an identifier before it is written.
2. A schema that is none of ours is `Any`.
"""

import builtins
from collections.abc import Mapping
from typing import Any

from control_plane.interface.naming import Scope, is_parameter

_NAMED = {
    "#/components/schemas/Int64": "Int64",
    "#/components/schemas/Bytes": "bytes",
    "#/components/schemas/Number": "float",
}
_SIMPLE = {"string": "str", "boolean": "bool", "null": "None", "number": "float", "integer": "int"}
BUILTINS = frozenset(dir(builtins))


class Types:
    """Writes annotations, and collects the definitions that they need, in an order in which Python can read them."""

    def __init__(self, names: Scope) -> None:
        self.definitions: list[str] = []
        self._names = names
        self._ids: dict[str, str] = {}

    def annotation(self, schema: Any, *words: str) -> str:
        """The annotation of a schema; ``words`` name what has to be defined for it."""
        if not isinstance(schema, Mapping):
            return "Any"
        if "const" in schema:
            return _literal(schema["const"])
        if "anyOf" in schema:
            members = [self.annotation(each, *words) for each in schema["anyOf"]]
            return " | ".join(dict.fromkeys(members)) if "Any" not in members else "Any"
        if "not" in schema:
            return "Never"
        if "x-warren-table" in schema:
            return self._id(str(schema["x-warren-table"]))
        kind = schema.get("type")
        if kind == "array":
            return f"list[{self.annotation(schema.get('items'), *words, 'Item')}]"
        if kind == "object":
            return self._object(schema, *words)
        return _NAMED.get(str(schema.get("$ref"))) or _SIMPLE.get(str(kind), "Any")

    def _object(self, schema: Mapping[str, Any], *words: str) -> str:
        fields, rest = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(fields, Mapping):
            return self._typed_dict(fields, set(schema.get("required") or ()), *words)
        keys = schema.get("propertyNames")
        key = self.annotation(keys) if isinstance(keys, Mapping) and "x-warren-table" in keys else "str"
        return f"dict[{key}, {self.annotation(rest, *words, 'Value')}]"

    def _typed_dict(self, fields: Mapping[str, Any], required: set[str], *words: str) -> str:
        written = {}
        for field, schema in fields.items():
            annotation = self.annotation(schema, *words, field)
            written[field] = annotation if field in required else f"NotRequired[{annotation}]"
        name = self._names.type(*words)
        if all(is_parameter(field) and field not in BUILTINS for field in fields):
            lines = [f"    {field}: {annotation}" for field, annotation in written.items()] or ["    pass"]
            self.definitions.append("\n".join([f"class {name}(TypedDict):", *lines]))
        else:
            # The form for names that a class body cannot have, or that would hide a type from the fields below.
            items = "".join(f"\n        {field!r}: {annotation!r}," for field, annotation in written.items())
            self.definitions.append(f"{name} = TypedDict(\n    {name!r},\n    {{{items}\n    }},\n)")
        return name

    def _id(self, table: str) -> str:
        if table not in self._ids:
            name = self._ids[table] = self._names.type(table, "Id")
            self.definitions.append(f"{name} = NewType({name!r}, str)")
        return self._ids[table]


def _literal(value: Any) -> str:
    match value:
        case None:
            return "None"
        case bool() | int() | str():
            return f"Literal[{value!r}]"
        case float():
            return "float"
        case {"$integer": _}:
            return "Int64"
    return "Any"
