"""Match: every assertion holds."""

from dataclasses import dataclass


@dataclass
class Point:
    x: int
    y: int


def look(v):
    match v:
        case {"kind": "a", **rest}:
            return rest
        case [first, *others] if first:
            return others
        case Point(x=0, y=y):
            return y
        case int() | float() as n:
            return n * 2
        case str() as s:
            return s.upper()
        case None | True:
            return "single"
        case _:
            return "other"


assert (look({"kind": "a", "b": 1})) == {"b": 1}
assert (look([1, 2, 3])) == [2, 3]
assert (look(Point(0, 7))) == 7
assert (look(4)) == 8
assert (look("s")) == "S"
assert (look(None)) == "single"
assert (look(b"")) == "other"
