"""Does this value fit this validator, on the host's side of the wall?

A guest sends its validators as JSON, in Convex's format (`sdk.validators` writes it). Here they are read as the claims
of a stranger, and values are compared with them before they are stored.

Rules
1. What is no validator is an `InvalidType` that says where. Depth is bounded, size was counted before.
2. A comparison takes a bounded number of steps: unions in lists multiply, and whoever wrote them may have meant it so.
3. The answer names the field by its path, what was found and what was expected; of a union's members, the one that came
   furthest.
4. An id is compared with the number of its table, which the caller has looked up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from runtime import limits
from runtime.document_ids import parse_document_id
from runtime.errors import SyscallRefused
from runtime.names import InvalidName, parse_table_name
from runtime.protocol import values
from runtime.protocol.values import Int64

Tables = Mapping[str, int | None]

SYSTEM_TABLES = {"_scheduled_functions": 16, "_storage": 17}
"""What tenants may read and not write, by the numbers that their ids carry."""

_DEPTH = 64
_SHOWN = 80
_WORDS = 200


class InvalidType(ValueError):
    """This is no validator; the message says what is wrong with it."""


class Misfit:
    """Where a value does not fit, found from the inside out, and why."""

    __slots__ = ("_problem", "steps")

    def __init__(self, problem: str | Callable[[], str]) -> None:
        self._problem = problem
        self.steps: list[str] = []

    @property
    def problem(self) -> str:
        """What is wrong, without the path."""
        return self._problem if isinstance(self._problem, str) else self._problem()

    def inside(self, step: str) -> "Misfit":
        """The same, seen from one level further out."""
        self.steps.append(step)
        return self

    def text(self, root: str) -> str:
        """The sentence, with the path that begins at ``root``."""
        return f"{root}{''.join(reversed(self.steps))} {self.problem}"


class Look:
    """One comparison: the numbers of the tables that ids may be of, and how many steps are left."""

    __slots__ = ("left", "tables")

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.left: int = limits.VALIDATION_STEPS

    def step(self) -> None:
        """Count one comparison; raise `SyscallRefused` when there were too many."""
        self.left -= 1
        if self.left < 0:
            limit = limits.VALIDATION_STEPS
            raise SyscallRefused(
                f"comparing this value with its validator takes more than {limit} steps, limit VALIDATION_STEPS: "
                "use fewer unions inside lists, or v.any()",
                "LimitExceeded",
            )


class DocumentType(ABC):
    """What a value must look like."""

    @abstractmethod
    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Where the value does not fit, or ``None``."""

    @abstractmethod
    def words(self) -> str:
        """What is expected, in a sentence."""

    def refusal(self, value: Any) -> Misfit:
        """That this is something else altogether."""
        # A union asks many and believes one: a sentence is made when somebody wants to read it.
        return Misfit(partial(self._sentence, value))

    def _sentence(self, value: Any) -> str:
        return f"must be {self.words()[:_WORDS]}, got {_shown(value)}"


def _shown(value: Any) -> str:
    shown = repr(value) if type(value) in (str, bytes, int, float, bool, Int64) else ""
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "…"
    return f"{type(value).__name__} {shown}".strip()


class Anything(DocumentType):
    """Any value."""

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Nothing is wrong with it."""
        return None

    def words(self) -> str:
        """Read aloud."""
        return "any value"


class Simple(DocumentType):
    """A value of one of these exact types."""

    def __init__(self, words: str, *kinds: type) -> None:
        self._words = words
        self._kinds = kinds

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Whether the type is another one."""
        return None if type(value) in self._kinds else self.refusal(value)

    def words(self) -> str:
        """Read aloud."""
        return self._words


class IdOf(DocumentType):
    """The id of a document of one table."""

    def __init__(self, table: str) -> None:
        self._table = table

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Whether it is no id, or one of another table."""
        parsed = parse_document_id(value) if type(value) is str else None
        if parsed is None or parsed.text != value:
            return self.refusal(value)
        if parsed.table != look.tables.get(self._table, parsed.table):
            return Misfit(f"must be {self.words()}, and {value} is the id of a document of another table")
        return None

    def words(self) -> str:
        """Read aloud."""
        return f"an id of table {self._table!r}"


class Literal(DocumentType):
    """Exactly this value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Whether it is another value."""
        return None if self.equals(value) else self.refusal(value)

    def equals(self, value: Any) -> bool:
        """Whether it is this value; ``True`` is not ``1``."""
        kinds = {type(value), type(self._value)}
        return bool(value == self._value) and (len(kinds) == 1 or kinds == {int, float})

    def words(self) -> str:
        """Read aloud."""
        return repr(self._value)


class Array(DocumentType):
    """A list of such items."""

    def __init__(self, item: DocumentType) -> None:
        self._item = item

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Where an item does not fit."""
        if type(value) is not list:
            return self.refusal(value)
        for index, item in enumerate(value):
            look.step()
            if (found := self._item.misfit(item, look)) is not None:
                return found.inside(f"[{index}]")
        return None

    def words(self) -> str:
        """Read aloud."""
        return f"a list of {self._item.words()}"


class Object(DocumentType):
    """A dict with exactly these fields: name → type, and whether it may be missing."""

    def __init__(self, fields: Mapping[str, tuple[DocumentType, bool]]) -> None:
        self._fields = fields

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Where a field is missing, not expected, or does not fit."""
        if type(value) is not dict:
            return self.refusal(value)
        seen = 0
        for name, (kind, optional) in self._fields.items():
            look.step()
            if name in value:
                seen += 1
                if (found := kind.misfit(value[name], look)) is not None:
                    return found.inside(f".{name}")
            elif not optional:
                return Misfit(f"is missing: it must be {kind.words()[:_WORDS]}").inside(f".{name}")
        if seen < len(value):
            extra = next(name for name in value if name not in self._fields)
            known = ", ".join(self._fields)[:_WORDS] or "none"
            return Misfit(f"is not expected: the fields are {known}").inside(f".{extra[:_SHOWN]}")
        return None

    def other_kind(self, value: Any) -> tuple[str, str] | None:
        """The literal by which a value says that it is not meant to be this: its field, and what it is here."""
        if type(value) is not dict:
            return None
        literals = ((name, kind) for name, (kind, _) in self._fields.items() if isinstance(kind, Literal))
        wrong = ((name, kind.words()) for name, kind in literals if name in value and not kind.equals(value[name]))
        return next(wrong, None)

    def words(self) -> str:
        """Read aloud."""
        return f"an object with {', '.join(self._fields)}" if self._fields else "an empty object"


class Record(DocumentType):
    """A dict with keys and values like these."""

    def __init__(self, key: DocumentType, item: DocumentType) -> None:
        self._key = key
        self._item = item

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Where a key or a value does not fit."""
        if type(value) is not dict:
            return self.refusal(value)
        for name, item in value.items():
            look.step()
            if (found := self._key.misfit(name, look)) is not None:
                return Misfit(f"is not expected: as a key it {found.problem}").inside(f".{name[:_SHOWN]}")
            if (found := self._item.misfit(item, look)) is not None:
                return found.inside(f".{name[:_SHOWN]}")
        return None

    def words(self) -> str:
        """Read aloud."""
        return f"an object of {self._item.words()}"


class Union(DocumentType):
    """One of these."""

    def __init__(self, members: list[DocumentType]) -> None:
        self._members = members

    def misfit(self, value: Any, look: Look) -> Misfit | None:
        """Why it fits no member: what it was meant to be by its literals, or the member that came furthest."""
        furthest: Misfit | None = None
        others: list[tuple[str, str]] = []
        for member in self._members:
            look.step()
            found = member.misfit(value, look)
            if found is None:
                return None
            other = member.other_kind(value) if isinstance(member, Object) else None
            if other is not None:
                others.append(other)
            elif found.steps and (furthest is None or len(found.steps) > len(furthest.steps)):
                furthest = found
        if furthest is None and others:
            name = others[0][0]
            words = " or ".join(each for at, each in others if at == name)
            furthest = Misfit(f"must be {words[:_WORDS]}, got {_shown(value[name])}").inside(f".{name}")
        return furthest or self.refusal(value)

    def words(self) -> str:
        """Read aloud."""
        return " or ".join(member.words() for member in self._members) or "nothing"


_SIMPLE: dict[str, DocumentType] = {
    "any": Anything(),
    "null": Simple("None", type(None)),
    "number": Simple("a number", int, float),
    "bigint": Simple("an Int64", Int64),
    "boolean": Simple("a bool", bool),
    "string": Simple("a string", str),
    "bytes": Simple("bytes", bytes),
}


class Reader:
    """Reads validators; ``tables`` holds the tables whose ids they speak of."""

    def __init__(self) -> None:
        self.tables: set[str] = set()

    def read(self, written: Any, depth: int = _DEPTH) -> DocumentType:
        """The type that this JSON means; raise `InvalidType` when it means none."""
        if depth <= 0:
            raise InvalidType(f"a validator is nested deeper than {_DEPTH} levels")
        kind = written.get("type") if type(written) is dict else None
        if type(kind) is not str:
            raise InvalidType("a validator is an object with a type")
        if kind in _SIMPLE:
            return _SIMPLE[kind]
        value = written.get("value")
        match kind:
            case "id":
                return self._id(written.get("tableName"))
            case "literal":
                return _literal(value)
            case "array":
                return Array(self.read(value, depth - 1))
            case "union" if type(value) is list:
                return Union([self.read(member, depth - 1) for member in value])
            case "object" if type(value) is dict:
                return Object({name: self._field(field, depth - 1) for name, field in value.items()})
            case "record":
                item, _ = self._field(written.get("values"), depth - 1)
                return Record(self.read(written.get("keys"), depth - 1), item)
        raise InvalidType(f"{kind[:40]!r} is no type of a validator, or it lacks a part")

    def _field(self, written: Any, depth: int) -> tuple[DocumentType, bool]:
        if type(written) is not dict or type(written.get("optional")) is not bool:
            raise InvalidType("a field of a validator has a fieldType, and says whether it is optional")
        return self.read(written.get("fieldType"), depth), written["optional"]

    def _id(self, table: Any) -> DocumentType:
        if type(table) is not str or (table not in SYSTEM_TABLES and not _is_table(table)):
            raise InvalidType("the validator of an id does not name a table")
        self.tables.add(table)
        return IdOf(table)


def _is_table(name: str) -> bool:
    try:
        return bool(parse_table_name(name))
    except InvalidName:
        return False


def _literal(written: Any) -> DocumentType:
    try:
        value = values.from_json(written)
    except values.InvalidValue as error:
        raise InvalidType(f"a literal: {error}") from None
    if type(value) not in (str, int, float, bool, Int64):
        raise InvalidType("a literal is a str, a number or a bool")
    return Literal(value)
