"""What is a validator in the words of JSON Schema?

Validators come as the JSON that a bundle declared (Convex's format); schemas are JSON Schema 2020-12, the dialect of
OpenAPI 3.1. They describe values as they travel in ``convex_encoded_json``: JSON, with an object of one ``$`` key for
what JSON has no word for.

Rules
1. A declaration is a stranger's word: a validator that means nothing is any value, never an error.
2. What a schema cannot say stands beside it under ``x-warren-…``; what does not know those is not misled.
"""

from collections.abc import Mapping
from typing import Any

ANY: Mapping[str, Any] = {}
_DEPTH = 64
_BASE64 = "^[A-Za-z0-9+/]*={0,2}$"


def special(key: str, title: str, description: str, pattern: str) -> dict[str, Any]:
    """An object of one key that holds base64."""
    return {
        "title": title,
        "description": description,
        "type": "object",
        "properties": {key: {"type": "string", "contentEncoding": "base64", "pattern": pattern}},
        "required": [key],
        "additionalProperties": False,
    }


_EIGHT_BYTES = "^[A-Za-z0-9+/]{10}[AEIMQUYcgkosw048]=$"
COMPONENTS: Mapping[str, Any] = {
    "Int64": special("$integer", "Int64", "A 64-bit integer: eight bytes, little-endian, as base64.", _EIGHT_BYTES),
    "Bytes": special("$bytes", "Bytes", "Bytes as base64.", _BASE64),
    "Number": {
        "title": "Number",
        "description": "A number; NaN, the infinities and -0.0 are eight bytes of IEEE 754, little-endian, as base64.",
        "anyOf": [
            {"type": "number"},
            special("$float", "SpecialNumber", "A number that JSON cannot write.", _EIGHT_BYTES),
        ],
    },
}
_SIMPLE: Mapping[str, Mapping[str, Any]] = {
    "any": ANY,
    "null": {"type": "null"},
    "number": {"$ref": "#/components/schemas/Number"},
    "bigint": {"$ref": "#/components/schemas/Int64"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": {"$ref": "#/components/schemas/Bytes"},
}


def schema_of(validator: Any, depth: int = _DEPTH) -> dict[str, Any]:
    """The schema of what this validator accepts."""
    kind = validator.get("type") if isinstance(validator, dict) else None
    if not isinstance(kind, str) or depth <= 0:
        return dict(ANY)
    if kind in _SIMPLE:
        return dict(_SIMPLE[kind])
    value = validator.get("value")
    match kind:
        case "id":
            table = str(validator.get("tableName"))
            return {"type": "string", "description": f"The id of a document of {table}.", "x-warren-table": table}
        case "literal":
            return {"const": value}
        case "array":
            return {"type": "array", "items": schema_of(value, depth - 1)}
        case "union" if isinstance(value, list):
            return {"anyOf": [schema_of(each, depth - 1) for each in value]} if value else {"not": {}}
        case "object" if isinstance(value, dict):
            return _object(value, depth - 1)
        case "record":
            item = schema_of(_field(validator.get("values")), depth - 1)
            keys = schema_of(validator.get("keys"), depth - 1)
            return {"type": "object", "propertyNames": keys, "additionalProperties": item}
    return dict(ANY)


def arguments_schema(validator: Any) -> dict[str, Any]:
    """The schema of a function's arguments: always an object."""
    schema = schema_of(validator)
    return schema if schema.get("type") == "object" else {"type": "object"}


def _object(fields: Mapping[str, Any], depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: schema_of(_field(field), depth) for name, field in fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if not (isinstance(field, dict) and field.get("optional"))]
    # OpenAPI's own schema accepts an empty list here; older tools do not.
    return {**schema, "required": required} if required else schema


def _field(written: Any) -> Any:
    return written.get("fieldType") if isinstance(written, dict) else None
