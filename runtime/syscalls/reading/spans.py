"""Which part of an index does a query mean?

A query says it in steps (``q.eq(field, value)``, then a lower and an upper bound); an index has its fields in an order.
Here the one is turned into the other, and then into a range of keys. Knows no storage.

Rules
1. Equalities first, on the index's fields in their order, none left out; then at most one lower and one upper bound, on
   the field that comes next.
2. Every index ends with ``_creationTime``, which makes its order one order, and may be named like its other fields.
3. A position that comes back from a guest or a client can only narrow a range.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runtime.errors import SyscallRefused
from runtime.index_keys import LAST, MISSING, NEXT, encode
from runtime.ports import KeyRange, Order
from runtime.syscalls.schemas.catalog import BUILT_IN, CREATION_TIME

_PREFIX = 6  # bytes in front of an index's values


class Index(NamedTuple):
    """An index as a version names it, and its fields (without the creation time)."""

    name: str
    fields: tuple[str, ...]

    @property
    def all_fields(self) -> tuple[str, ...]:
        """What a range of it may name."""
        return self.fields if self.fields in (("_id",), (CREATION_TIME,)) else (*self.fields, CREATION_TIME)


def built_in_index(table: str, name: str) -> Index:
    """An index that every table has; raise `SyscallRefused` when it is none."""
    fields = BUILT_IN.get(name)
    if fields is None:
        raise SyscallRefused(f"table {table!r} has no index {name[:80]!r}: there are {', '.join(BUILT_IN)}")
    return Index(name, fields)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which values of an index's fields, both ends possibly shorter than the index, or empty.

    ``after`` and ``until`` are positions (`position_of`) in the order of reading: what comes after the one, up to and
    with the other.
    """

    lower: list[Any]
    lower_inclusive: bool
    upper: list[Any]
    upper_inclusive: bool
    after: bytes | None = None
    until: bytes | None = None


def bounds_of(table: str, index: Index, steps: list[Any]) -> Bounds:
    """The bounds that these steps of a query mean; raise `SyscallRefused` when they mean none."""
    reading = _Reading(table, index)
    for step in steps:
        match step:
            case [str(verb), str(named)]:
                reading.take(verb, named, MISSING)
            case [str(verb), str(named), value]:
                reading.take(verb, named, value)
            case _:
                raise SyscallRefused("a step of a range is [verb, field, value]", "TypeError")
    return reading.bounds()


@dataclass(slots=True)
class _Reading:
    table: str
    index: Index
    equal: list[Any] = field(default_factory=list)
    lower: tuple[Any, bool] | None = None
    upper: tuple[Any, bool] | None = None

    def take(self, verb: str, named: str, value: Any) -> None:
        match verb:
            case "eq":
                if self.lower is not None or self.upper is not None:
                    raise self._refusal(f"q.eq({named!r}) comes after a bound; equalities come first")
                self._require_next("eq", named)
                self.equal.append(value)
            case "gt" | "gte":
                self._require_next(verb, named)
                if self.lower is not None:
                    raise self._refusal(f"q.{verb}({named!r}) is a second lower bound")
                self.lower = value, verb == "gte"
            case "lt" | "lte":
                self._require_next(verb, named)
                if self.upper is not None:
                    raise self._refusal(f"q.{verb}({named!r}) is a second upper bound")
                self.upper = value, verb == "lte"
            case _:
                raise SyscallRefused(f"there is no q.{verb[:40]}: use eq, gt, gte, lt or lte", "TypeError")

    def bounds(self) -> Bounds:
        lower, lower_inclusive = self._end(self.lower)
        upper, upper_inclusive = self._end(self.upper)
        return Bounds(lower, lower_inclusive, upper, upper_inclusive)

    def _end(self, bound: tuple[Any, bool] | None) -> tuple[list[Any], bool]:
        return (self.equal, True) if bound is None else ([*self.equal, bound[0]], bound[1])

    def _require_next(self, verb: str, named: str) -> None:
        fields = self.index.all_fields
        done = len(self.equal)
        if done == len(fields):
            raise self._refusal(f"every field has its q.eq, and q.{verb}({named!r}) is one too many")
        if named != fields[done]:
            after = f"after q.eq on {', '.join(fields[:done])} " if done else ""
            raise self._refusal(f"{after}the next one is {fields[done]!r}, not q.{verb}({named[:80]!r})")

    def _refusal(self, problem: str) -> SyscallRefused:
        fields = ", ".join(self.index.all_fields)
        return SyscallRefused(f"index {self.index.name!r} of table {self.table!r} is ordered by {fields}: {problem}")


def span_of(prefix: bytes, bounds: Bounds, order: Order) -> KeyRange:
    """The keys of an index that lie within these bounds; none when it is upside down."""
    lower = prefix + encode(bounds.lower) + (b"" if bounds.lower_inclusive or not bounds.lower else LAST)
    upper = prefix + encode(bounds.upper) + (LAST if bounds.upper_inclusive or not bounds.upper else b"")
    span = KeyRange(lower, upper)
    if bounds.after is not None:
        span = rest(span, order, prefix + bounds.after)
    if bounds.until is not None:
        until = prefix + bounds.until
        ascending = order is Order.ASCENDING
        span = (
            KeyRange(span.lower, min(span.upper, until + NEXT))
            if ascending
            else KeyRange(max(span.lower, until), span.upper)
        )
    return span


def position_of(key: bytes) -> bytes:
    """Where a key stands in its index, whatever number the index has."""
    return key[_PREFIX:]


def rest(span: KeyRange, order: Order, last: bytes) -> KeyRange:
    """What is left of a range after the key that was read last."""
    if order is Order.ASCENDING:
        return KeyRange(max(span.lower, last + NEXT), span.upper)
    return KeyRange(span.lower, min(span.upper, last))


def read_part(span: KeyRange, order: Order, last: bytes) -> KeyRange:
    """What was read of a range, up to its last key."""
    if order is Order.ASCENDING:
        return KeyRange(span.lower, last + NEXT)
    return KeyRange(last, span.upper)
