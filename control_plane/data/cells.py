"""What does a cell of a table of text mean?

A file of comma-separated values has text only. The schema says what is meant; where it says nothing, a cell that reads
as a number is one.

Rules
1. ``007`` and ``1e5 apples`` are text: a number is what JSON calls one.
2. An empty cell is a field that is missing, unless the schema wants text there.
"""

import re
from typing import Any

from runtime.protocol.values import SAFE_INTEGER, Int64

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_SYSTEM = {"_id": frozenset({"string"}), "_creationTime": frozenset({"number"})}


class Absent:
    """An empty cell."""


ABSENT = Absent()


def kinds_of(validator: Any) -> dict[str, frozenset[str]]:
    """What the fields of a table may be, by the table's validator; those that it does not name may be anything."""
    is_union = isinstance(validator, dict) and validator.get("type") == "union"
    members: list[Any] = validator["value"] if is_union else [validator]
    kinds: dict[str, frozenset[str]] = {}
    for member in members:
        if isinstance(member, dict) and member.get("type") == "object":
            for name, field in member["value"].items():
                kinds[name] = kinds.get(name, frozenset()) | _kinds(field["fieldType"])
    return {**kinds, **_SYSTEM}


def _kinds(validator: Any) -> frozenset[str]:
    kind = validator["type"]
    if kind == "union":
        return frozenset().union(*(_kinds(member) for member in validator["value"]))
    if kind == "literal":
        value = validator["value"]
        kind = {str: "string", bool: "boolean", dict: "bigint"}.get(type(value), "number")
    return frozenset({"string" if kind == "id" else kind})


def value_of(text: str, kinds: frozenset[str] | None) -> Any:
    """The value that a cell means where a field may be of these kinds."""
    wanted = kinds if kinds and "any" not in kinds else frozenset({"number", "string"})
    if text == "":
        return text if "string" in (kinds or ()) else None if "null" in wanted else ABSENT
    if "boolean" in wanted and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _NUMBER.match(text):
        whole = text.lstrip("-").isdigit()
        if "bigint" in wanted and whole and -(2**63) <= int(text[:20]) < 2**63 and len(text) <= 20:
            return Int64(int(text))
        if "number" in wanted and not (whole and abs(int(text[:20])) > SAFE_INTEGER):
            return int(text) if whole else float(text)
    return text
