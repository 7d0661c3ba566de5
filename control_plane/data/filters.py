"""Which documents are asked for?

A condition is written as a person would: ``author=Ann``, ``score>=3``, ``address.city!=Bonn``. What stands behind the
sign is JSON or, when it is none, text. Knows no store.

Rules
1. Values are compared as indexes order them, so a number is never above or below a text by accident: ranges only hold
   within one type.
2. A field that is missing equals nothing, and differs from everything.
"""

import json
import re
from typing import Any, NamedTuple

from control_plane.refusals import InvalidField
from runtime.index_keys import MISSING, encode_value
from runtime.protocol import values

_SHAPE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(!=|<=|>=|=|<|>)\s?(.*)\Z", re.DOTALL)


class Condition(NamedTuple):
    """One condition on one field."""

    path: tuple[str, ...]
    sign: str
    value: bytes

    def holds(self, document: dict[str, Any]) -> bool:
        """Whether a document fulfils it."""
        found: Any = document
        for name in self.path:
            found = found.get(name, MISSING) if type(found) is dict else MISSING
        if found is MISSING:
            return self.sign == "!="
        key = encode_value(found)
        if self.sign in ("=", "!="):
            return (key == self.value) is (self.sign == "=")
        # The first byte of a key says of which type the value is.
        if key[:1] != self.value[:1]:
            return False
        below = key < self.value
        return {"<": below, ">=": not below, ">": key > self.value, "<=": not key > self.value}[self.sign]


def parse_condition(text: str) -> Condition:
    """Read a condition; raise `InvalidField`."""
    found = _SHAPE.match(text)
    if found is None:
        raise InvalidField("where", f"{text[:80]!r} is no condition: write it as author=Ann, score>=3 or done!=true")
    path, sign, written = found.groups()
    try:
        value = values.from_json(json.loads(written), "where")
    except values.InvalidValue as error:
        raise InvalidField("where", str(error)) from None
    except (ValueError, RecursionError):
        value = written
    return Condition(tuple(path.split(".")), sign, encode_value(value))
