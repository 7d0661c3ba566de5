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
from typing import Any, NamedTuple

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
}


class Id(str):
    """An id of a document; ``Id["messages"]`` as an annotation says of which table."""

    __slots__ = ()

    def __class_getitem__(cls, table: str) -> Any:
        return typing.Annotated[str, validators.IdOf(table)]


def arguments_of(handler: Callable[..., Any], given: Mapping[str, Validator] | Validator | None) -> Object:
    """Read the validators of a function's arguments: the given ones, or else those its signature means."""
    signature = _signature(handler)
    if given is not None:
        return _given(handler, given, signature)
    hints = _hints(handler)
    fields: dict[str, Validator] = {}
    for name, optional in signature.named.items():
        validator: Validator = validators.ANY
        if name in hints:
            validator = from_annotation(hints[name], f"parameter {name!r} of {handler.__name__}")
        fields[name] = validators.Optional(validator) if optional else validator
    return Object(fields, validators.ANY if signature.rest else None)


def returns_of(handler: Callable[..., Any]) -> Validator | None:
    """Read the validator of a function's result from its annotation; ``None`` when there is none."""
    hints = _hints(handler)
    if "return" not in hints:
        return None
    return from_annotation(hints["return"], f"the result of {handler.__name__}")


class _Signature(NamedTuple):
    """The parameters after ``ctx``: name → whether it has a default, and whether others are accepted."""

    named: dict[str, bool]
    rest: bool


def _signature(handler: Callable[..., Any]) -> _Signature:
    """Read a signature from the code itself: `inspect.signature` would do, and touches a hundred pages to do it."""
    function = _innermost(handler)
    code: types.CodeType = function.__code__
    if code.co_argcount == 0:
        raise TypeError(f"{handler.__name__} needs ctx as its first parameter")
    if code.co_posonlyargcount > 1 or code.co_flags & inspect.CO_VARARGS:
        raise TypeError(f"{handler.__name__} has parameters without names: arguments are passed by name only")
    positional = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = set(positional[len(positional) - len(function.__defaults__ or ()) :]) | set(
        function.__kwdefaults__ or ()
    )
    named = {name: name in defaults for name in (*positional[1:], *keywords)}
    return _Signature(named, bool(code.co_flags & inspect.CO_VARKEYWORDS))


def _innermost(handler: Any) -> Any:
    """The function that ``functools.wraps`` has wrapped: its parameters are the ones that are meant."""
    for _ in range(100):
        if not hasattr(handler, "__wrapped__"):
            break
        handler = handler.__wrapped__
    return handler


def _given(handler: Callable[..., Any], given: Any, signature: _Signature) -> Object:
    if isinstance(given, validators.Anything):
        given = Object({}, validators.ANY)
    elif isinstance(given, Mapping):
        given = Object(given)
    if not isinstance(given, Object):
        raise TypeError(f"the args of {handler.__name__} are a dict of validators, v.object(…) or v.any()")
    for name in given.fields:
        if name not in signature.named and not signature.rest:
            raise TypeError(f"the args of {handler.__name__} list {name!r}, which is none of its parameters")
    return given


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    function = _innermost(handler)
    written: dict[str, Any] = getattr(function, "__annotations__", {})
    if all(type(annotation) is type or annotation is None for annotation in written.values()):
        return written
    try:
        # Text is read by way of ForwardRef: behind the wall that goes by the rules for code (see sandbox/proxies).
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise TypeError(f"the annotations of {handler.__name__} cannot be read: {error}") from None


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
        f"{where} is annotated with {_spelt(annotation)}, which is no value type: use str, int, float, bool, bytes, "
        "None, list[…], dict[str, …], Literal[…], X | Y, Id[…], Int64, Any or a TypedDict"
    )


def _typed_dict(annotation: Any, where: str) -> Validator:
    try:
        hints = typing.get_type_hints(annotation, include_extras=True)
    except Exception as error:
        raise TypeError(f"{where}: the fields of {annotation.__name__} cannot be read: {error}") from None
    fields: dict[str, Validator] = {}
    for name, hint in hints.items():
        needed = name in annotation.__required_keys__
        while (origin := typing.get_origin(hint)) is not None and _spelt(origin) in (
            "Required",
            "NotRequired",
            "ReadOnly",
        ):
            # With annotations as text, the class itself could not see these two.
            needed = {"Required": True, "NotRequired": False}.get(_spelt(origin), needed)
            (hint,) = typing.get_args(hint)
        validator = from_annotation(hint, f"{where}, field {name!r} of {annotation.__name__},")
        fields[name] = validator if needed else validators.Optional(validator)
    return Object(fields)


def _spelt(annotation: Any) -> str:
    name = getattr(annotation, "__name__", None) or getattr(annotation, "_name", None)
    return name if isinstance(name, str) else repr(annotation)[:80]
