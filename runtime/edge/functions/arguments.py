"""How do arguments travel in JSON?

Rules
1. One object, or an array with at most one object in it: Convex's clients send both.
2. What is no value is refused with the path of what is wrong; nothing is bent into shape.
3. Clients spell one number in several ways (``1``, ``1.0``) and keys in any order. `spell` writes what is the same the
   same way, so that who asks the same can share an answer.
"""

import math
from typing import Any

from runtime import limits
from runtime.errors import BadRequest, TooLarge
from runtime.protocol import values


def read_arguments(args: Any) -> bytes:
    """Arguments as a client sent them, as an encoded dict; raise `BadRequest` or `TooLarge`."""
    return _encode(_value(args))


def read_and_spell(args: Any) -> tuple[bytes, bytes]:
    """Arguments as an encoded dict, and their one spelling."""
    value = _value(args)
    encoded = _encode(value)
    return encoded, values.encode(spell(value))


def spell(value: Any) -> Any:
    """The same value in the spelling that everything equal to it has."""
    kind = type(value)
    if kind is dict:
        return {key: spell(value[key]) for key in sorted(value)}
    if kind is list:
        return [spell(item) for item in value]
    if kind is float and value.is_integer() and abs(value) <= values.SAFE_INTEGER:
        return value if value == 0 and math.copysign(1, value) < 0 else int(value)
    return value


def _value(args: Any) -> dict[str, Any]:
    if isinstance(args, list) and len(args) <= 1:
        args = args[0] if args else {}
    if not isinstance(args, dict):
        raise BadRequest("args is neither an object nor an array with one object in it; functions take named arguments")
    try:
        value: dict[str, Any] = values.from_json(args, "args")
        if type(value) is not dict:
            raise BadRequest("args is a single value; functions take an object of named arguments")
        return value
    except values.InvalidValue as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise _too_deep() from None


def _encode(value: dict[str, Any]) -> bytes:
    try:
        encoded = values.encode(value, "args")
    except values.InvalidValue as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    if len(encoded) > limits.VALUE_BYTES:
        raise TooLarge(f"args are {len(encoded)} bytes when encoded, limit {limits.VALUE_BYTES}")
    return encoded


def _too_deep() -> BadRequest:
    return BadRequest(f"args is nested deeper than {limits.VALUE_DEPTH} levels")
