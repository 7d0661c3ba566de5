"""Which validators does a signature mean?

Parameters after ``ctx`` are the arguments of a function, and their annotations its validators:
``str int float bool bytes None list[T] dict[str, T] Literal[…] X | Y Id["table"] Int64 Any TypedDict``. A default makes
an argument optional, ``**rest`` accepts any other, no annotation means any value.

Rules
1. An annotation that is no value type is a `TypeError` that names the parameter: at push, never in a request.
2. Annotations written as text are read in the module of the function.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from runtime.protocol.values import Int64
from runtime.sdk import validators
from runtime.sdk.validators import Object, Validator

_SIMPLE: dict[Any, Validator] = {
    str: validators.STRING,
    int: validators.INTEGER,
    float: validators.NUMBER,
    bool: validators.BOOLEAN,
    bytes: validators.BYTES,
    None: validators.NULL,
    type(None): validators.NULL,
    Int64: validators.INT64,
    Any: validators.ANY,
    object: validators.ANY,
    list: validators.Array(validators.ANY),
    dict: validators.Record(validators.STRING, validators.ANY),
    inspect.Parameter.empty: validators.ANY,
}


class Id(str):
    """An id of a document; ``Id["messages"]`` as an annotation says of which table."""

    __slots__ = ()

    def __class_getitem__(cls, table: str) -> Any:
        return typing.Annotated[str, validators.IdOf(table)]


def arguments_of(handler: Callable[..., Any], given: Mapping[str, Validator] | Validator | None) -> Object:
    """Read the validators of a function's arguments: the given ones, or else those its signature means."""
    parameters = _parameters(handler)
    rest = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name: parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    if given is not None:
        return _given(handler, given, set(named), rest)
    hints = _hints(handler)
    fields: dict[str, Validator] = {}
    for name, parameter in named.items():
        validator = from_annotation(hints.get(name, parameter.empty), f"parameter {name!r} of {handler.__name__}")
        fields[name] = validator if parameter.default is parameter.empty else validators.Optional(validator)
    return Object(fields, validators.ANY if rest else None)


def returns_of(handler: Callable[..., Any]) -> Validator | None:
    """Read the validator of a function's result from its annotation; ``None`` when there is none."""
    hints = _hints(handler)
    if "return" not in hints:
        return None
    return from_annotation(hints["return"], f"the result of {handler.__name__}")


def _parameters(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise TypeError(f"{handler.__name__} needs ctx as its first parameter")
    for parameter in parameters[1:]:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise TypeError(f"parameter {parameter.name!r} of {handler.__name__}: arguments are passed by name only")
    return parameters[1:]


def _given(handler: Callable[..., Any], given: Any, named: set[str], rest: bool) -> Object:
    if isinstance(given, validators.Anything):
        given = Object({}, validators.ANY)
    elif isinstance(given, Mapping):
        given = Object(given)
    if not isinstance(given, Object):
        raise TypeError(f"the args of {handler.__name__} are a dict of validators, v.object(…) or v.any()")
    for name in given.fields:
        if name not in named and not rest:
            raise TypeError(f"the args of {handler.__name__} list {name!r}, which is none of its parameters")
    return given


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    annotations = dict(getattr(handler, "__annotations__", {}))
    names = getattr(handler, "__globals__", {})
    for name, annotation in annotations.items():
        if isinstance(annotation, str):
            try:
                annotations[name] = eval(annotation, names)
            except Exception as error:
                where = "the result" if name == "return" else f"parameter {name!r}"
                raise TypeError(f"{where} of {handler.__name__}: {annotation!r} cannot be read: {error}") from None
    return annotations


def from_annotation(annotation: Any, where: str) -> Validator:
    """Turn one annotation into its validator; raise `TypeError` that names ``where`` when it is no value type."""
    if isinstance(annotation, Validator):
        return annotation
    try:
        simple = _SIMPLE.get(annotation)
    except TypeError:  # not hashable
        simple = None
    if simple is not None:
        return simple
    if isinstance(annotation, type) and issubclass(annotation, Id):
        return validators.STRING
    if typing.is_typeddict(annotation):
        return _typed_dict(annotation, where)
    if isinstance(annotation, typing.NewType):
        return from_annotation(annotation.__supertype__, where)
    if hasattr(annotation, "__value__"):  # type X = …
        return from_annotation(annotation.__value__, where)
    return _generic(annotation, where)


def _generic(annotation: Any, where: str) -> Validator:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        named = [one for one in annotation.__metadata__ if isinstance(one, Validator)]
        return named[0] if named else from_annotation(parts[0], where)
    if origin is typing.Union or origin is types.UnionType:
        return validators.Union(*(from_annotation(part, where) for part in parts))
    if origin is typing.Literal:
        members = [validators.NULL if part is None else validators.Literal(part) for part in parts]
        return members[0] if len(members) == 1 else validators.Union(*members)
    if origin is list:
        return validators.Array(from_annotation(parts[0], where))
    if origin is dict:
        return validators.Record(from_annotation(parts[0], where), from_annotation(parts[1], where))
    raise TypeError(
        f"{where} is annotated with {_spelt(annotation)}, which is no value type: use str, int, float, bool, bytes, None, "
        "list[…], dict[str, …], Literal[…], X | Y, Id[…], Int64, Any or a TypedDict"
    )


def _typed_dict(annotation: Any, where: str) -> Validator:
    try:
        hints = typing.get_type_hints(annotation, include_extras=True)
    except Exception as error:
        raise TypeError(f"{where}: the fields of {annotation.__name__} cannot be read: {error}") from None
    fields: dict[str, Validator] = {}
    for name, hint in hints.items():
        needed = name in annotation.__required_keys__
        while (origin := typing.get_origin(hint)) is not None and _spelt(origin) in ("Required", "NotRequired", "ReadOnly"):
            # With annotations as text, the class itself could not see these two.
            needed = {"Required": True, "NotRequired": False}.get(_spelt(origin), needed)
            (hint,) = typing.get_args(hint)
        validator = from_annotation(hint, f"{where}, field {name!r} of {annotation.__name__},")
        fields[name] = validator if needed else validators.Optional(validator)
    return Object(fields)


def _spelt(annotation: Any) -> str:
    name = getattr(annotation, "__name__", None) or getattr(annotation, "_name", None)
    return name if isinstance(name, str) else repr(annotation)[:80]


