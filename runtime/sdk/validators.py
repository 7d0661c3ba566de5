"""Does this value fit what was promised?

``v`` builds validators by hand; `annotations` builds them from a function's signature. A validator checks a value and
returns it as the function should see it (``5.0`` is ``5`` where an ``int`` was asked for), and writes itself as JSON in
Convex's validator format. Pure; knows neither documents nor the host.

Rules
1. What does not fit raises `Mismatch` with the path of the field, what was found and what was expected.
2. Nothing is coerced but whole floats to ``int``, and never in place: the caller's value stays as it was.
3. A text is accepted as an id here; whether it is an id of that table is checked where documents are kept.
"""

from collections.abc import Mapping
from typing import Any

from runtime.protocol.values import Int64, to_json

_SHOWN = 80


class Mismatch(ValueError):
    """This value does not fit its validator; the message says where and why."""


def mismatch(path: str, value: Any, expected: str) -> Mismatch:
    """Say that ``value`` at ``path`` is not what was expected."""
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "…"
    return Mismatch(f"{path} must be {expected}, got {type(value).__name__} {shown}")


class Validator:
    """What a value must look like. Made with ``v``."""

    __slots__ = ()
    optional = False

    def check(self, value: Any, path: str) -> Any:
        """Return the value as the function should see it, or raise `Mismatch`."""
        raise NotImplementedError

    def json(self) -> Any:
        """The validator as Convex writes it."""
        raise NotImplementedError

    def words(self) -> str:
        """The validator in an error message."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"v.{self.words()}"


class Simple(Validator):
    """A value of one of these exact types."""

    __slots__ = ("_name", "_types", "_words")

    def __init__(self, name: str, words: str, *types: type) -> None:
        self._name = name
        self._words = words
        self._types = types

    def check(self, value: Any, path: str) -> Any:
        """Return the value when its type is one of ours."""
        if type(value) not in self._types:
            raise mismatch(path, value, self._words)
        return value

    def json(self) -> Any:
        """``{"type": name}``."""
        return {"type": self._name}

    def words(self) -> str:
        """Its name, read aloud."""
        return self._words


class WholeNumber(Simple):
    """A number without a fraction: what the annotation ``int`` asks for."""

    __slots__ = ()

    def check(self, value: Any, path: str) -> Any:
        """Return the number as an ``int``."""
        if type(value) is int:
            return value
        if type(value) is float and value.is_integer():
            return int(value)
        raise mismatch(path, value, self._words)


class Anything(Validator):
    """Any value."""

    __slots__ = ()

    def check(self, value: Any, path: str) -> Any:
        """Return the value."""
        return value

    def json(self) -> Any:
        """``{"type": "any"}``."""
        return {"type": "any"}

    def words(self) -> str:
        """Its name, read aloud."""
        return "any value"


class IdOf(Validator):
    """The id of a document of one table."""

    __slots__ = ("table",)

    def __init__(self, table: str) -> None:
        if type(table) is not str or not table:
            raise TypeError(f"an id needs the name of its table, not {table!r}")
        self.table = table

    def check(self, value: Any, path: str) -> Any:
        """Return the text that may be an id."""
        if type(value) is not str:
            raise mismatch(path, value, self.words())
        return value

    def json(self) -> Any:
        """``{"type": "id", "tableName": table}``."""
        return {"type": "id", "tableName": self.table}

    def words(self) -> str:
        """Its name, read aloud."""
        return f"an id of table {self.table!r}"


class Literal(Validator):
    """Exactly this value."""

    __slots__ = ("value",)

    def __init__(self, value: str | int | float | bool) -> None:
        if type(value) not in (str, int, float, bool, Int64):
            raise TypeError(f"a literal is a str, number or bool, not {type(value).__name__}")
        self.value = value

    def check(self, value: Any, path: str) -> Any:
        """Return the literal itself when the value equals it; ``True`` is not ``1``."""
        kinds = {type(value), type(self.value)}
        if value != self.value or (len(kinds) > 1 and kinds != {int, float}):
            raise mismatch(path, value, self.words())
        return self.value

    def json(self) -> Any:
        """``{"type": "literal", "value": value}``, the value in Convex's encoding."""
        return {"type": "literal", "value": to_json(self.value)}

    def words(self) -> str:
        """The value as it is written."""
        return repr(self.value)


class Array(Validator):
    """A list of such items."""

    __slots__ = ("item",)

    def __init__(self, item: Validator) -> None:
        self.item = required(item, "the item of v.array")

    def check(self, value: Any, path: str) -> Any:
        """Return a list of checked items."""
        if type(value) is not list:
            raise mismatch(path, value, self.words())
        return [self.item.check(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def json(self) -> Any:
        """``{"type": "array", "value": item}``."""
        return {"type": "array", "value": self.item.json()}

    def words(self) -> str:
        """Its name, read aloud."""
        return f"a list of {self.item.words()}"


class Object(Validator):
    """A dict with exactly these fields; ``extra`` lets others in as well."""

    __slots__ = ("extra", "fields")

    def __init__(self, fields: Mapping[str, Validator], extra: Validator | None = None) -> None:
        for name, validator in fields.items():
            if not isinstance(validator, Validator):
                raise TypeError(f"field {name!r} needs a validator like v.string(), not {type(validator).__name__}")
        self.fields = dict(fields)
        self.extra = extra

    def check(self, value: Any, path: str) -> Any:
        """Return a dict of checked fields."""
        if type(value) is not dict:
            raise mismatch(path, value, "an object")
        checked: dict[str, Any] = {}
        for name, validator in self.fields.items():
            if name in value:
                checked[name] = validator.check(value[name], f"{path}.{name}")
            elif not validator.optional:
                raise Mismatch(f"{path}.{name} is missing: it must be {validator.words()}")
        if len(checked) < len(value):
            for name, item in value.items():
                if name not in self.fields:
                    checked[name] = self._check_extra(name, item, path)
        return checked

    def _check_extra(self, name: str, item: Any, path: str) -> Any:
        if self.extra is None:
            known = ", ".join(self.fields) or "none"
            raise Mismatch(f"{path}.{name} is not expected: the fields are {known}")
        return self.extra.check(item, f"{path}.{name}")

    def json(self) -> Any:
        """``{"type": "object", "value": {name: {"fieldType": …, "optional": …}}}``."""
        # The format has no word for open objects.
        if self.extra is not None:
            return {"type": "any"}
        fields = {name: {"fieldType": one.json(), "optional": one.optional} for name, one in self.fields.items()}
        return {"type": "object", "value": fields}

    def words(self) -> str:
        """Its name, read aloud."""
        return f"an object with {', '.join(self.fields)}" if self.fields else "an empty object"


class Record(Validator):
    """A dict with keys and values like these."""

    __slots__ = ("item", "key")

    def __init__(self, key: Validator, item: Validator) -> None:
        self.key = required(key, "the key of v.record")
        self.item = required(item, "the value of v.record")

    def check(self, value: Any, path: str) -> Any:
        """Return a dict of checked values."""
        if type(value) is not dict:
            raise mismatch(path, value, self.words())
        return {
            self.key.check(name, f"the key {name!r} of {path}"): self.item.check(item, f"{path}.{name}")
            for name, item in value.items()
        }

    def json(self) -> Any:
        """``{"type": "record", "keys": …, "values": {"fieldType": …, "optional": false}}``."""
        values = {"fieldType": self.item.json(), "optional": False}
        return {"type": "record", "keys": self.key.json(), "values": values}

    def words(self) -> str:
        """Its name, read aloud."""
        return f"an object of {self.item.words()}"


class Union(Validator):
    """One of these."""

    __slots__ = ("members",)

    def __init__(self, *members: Validator) -> None:
        self.members = tuple(required(member, "a member of v.union") for member in members)

    def check(self, value: Any, path: str) -> Any:
        """Return the value as the first member that fits sees it, or say what is wrong with what it was meant to be."""
        near: Mismatch | None = None
        others: list[tuple[str, str]] = []
        for member in self.members:
            try:
                return member.check(value, path)
            except Mismatch as error:
                if (other := _other_kind(member, value)) is not None:
                    others.append(other)
                elif near is None and not str(error).startswith(f"{path} must be"):
                    near = error
        if near is None and others:
            name = others[0][0]
            near = mismatch(f"{path}.{name}", value[name], " or ".join(words for at, words in others if at == name))
        raise near or mismatch(path, value, self.words())

    def json(self) -> Any:
        """``{"type": "union", "value": [member, …]}``."""
        return {"type": "union", "value": [member.json() for member in self.members]}

    def words(self) -> str:
        """The members with ``or`` between them."""
        return " or ".join(member.words() for member in self.members) or "nothing"


def _other_kind(member: Validator, value: Any) -> tuple[str, str] | None:
    """The literal by which an object says that it is not meant to be this member: its field, and what it is there."""
    fields = member.fields.items() if isinstance(member, Object) and type(value) is dict else ()
    literals = [(name, field) for name, field in fields if isinstance(field, Literal) and name in value]
    return next(((name, one.words()) for name, one in literals if value[name] != one.value), None)


class Optional(Validator):
    """A field that may be missing."""

    __slots__ = ("inner",)
    inner: Validator
    optional = True

    def __init__(self, inner: Validator) -> None:
        self.inner = inner.inner if isinstance(inner, Optional) else required(inner, "the field of v.optional")

    def check(self, value: Any, path: str) -> Any:
        """Check the field when it is there."""
        return self.inner.check(value, path)

    def json(self) -> Any:
        """The field's own JSON; the object says that it is optional."""
        return self.inner.json()

    def words(self) -> str:
        """What it must be when it is there."""
        return self.inner.words()


def required(validator: Validator, where: str) -> Validator:
    """Return the validator; raise `TypeError` when it is none, or optional where nothing can be missing."""
    if not isinstance(validator, Validator):
        raise TypeError(f"{where} needs a validator like v.string(), not {type(validator).__name__}")
    if validator.optional:
        raise TypeError(f"{where} cannot be optional: only a field of an object can be missing")
    return validator


class _V:
    """The builders of validators."""

    __slots__ = ()
    id = staticmethod(IdOf)
    literal = staticmethod(Literal)
    array = staticmethod(Array)
    object = staticmethod(Object)
    record = staticmethod(Record)
    union = staticmethod(Union)
    optional = staticmethod(Optional)

    @staticmethod
    def nullable(validator: Validator) -> Validator:
        """``None`` or what ``validator`` accepts."""
        return Union(required(validator, "v.nullable"), NULL)

    @staticmethod
    def null() -> Validator:
        """``None``."""
        return NULL

    @staticmethod
    def number() -> Validator:
        """An ``int`` or a ``float``."""
        return NUMBER

    float64 = number

    @staticmethod
    def int64() -> Validator:
        """An ``Int64``."""
        return INT64

    bigint = int64

    @staticmethod
    def boolean() -> Validator:
        """``True`` or ``False``."""
        return BOOLEAN

    @staticmethod
    def string() -> Validator:
        """A ``str``."""
        return STRING

    @staticmethod
    def bytes() -> Validator:
        """A ``bytes``."""
        return BYTES

    @staticmethod
    def any() -> Validator:
        """Any value."""
        return ANY


NULL = Simple("null", "None", type(None))
NUMBER = Simple("number", "a number", int, float)
INTEGER = WholeNumber("number", "a whole number", int)
INT64 = Simple("bigint", "an Int64", Int64)
BOOLEAN = Simple("boolean", "a bool", bool)
STRING = Simple("string", "a string", str)
BYTES = Simple("bytes", "bytes", bytes)
ANY = Anything()

v = _V()
