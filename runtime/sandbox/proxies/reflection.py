"""How does a tenant look at things without taking them apart?

The builtins and helpers that reach attributes by text, or hand out types: `getattr` and its family, `type`, and the
parts of `dataclasses`, `enum`, `functools` and `typing` that would otherwise read, set or run what the gate refused.

Rules
1. A guard believes a name only when ``type(name) is str``: a subclass could answer differently the second time.
2. No metaclass is handed out. The word ``type`` is a stand-in: it tells the type of one thing, and works in isinstance.
3. Types of functions, modules, frames and code are stand-ins, too: to be compared and named, never called.
4. The standard library runs source made of field names, so nobody gets hold of a field that it still believes in.
"""

import ast
import copy
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from runtime.sandbox.gate import check, refused_attribute

_MISSING = object()


def _guarded(name: object) -> str:
    if type(name) is not str:
        raise TypeError(f"attribute name must be string, not '{type(name).__name__}'")
    if reason := refused_attribute(name):
        raise AttributeError(reason)
    return name


def get_attribute(value: object, name: str, default: Any = _MISSING, /) -> Any:
    """Read an attribute by its name."""
    _guarded(name)
    return getattr(value, name) if default is _MISSING else getattr(value, name, default)


def set_attribute(value: object, name: str, new: object, /) -> None:
    """Set an attribute by its name."""
    setattr(value, _guarded(name), new)


def has_attribute(value: object, name: str, /) -> bool:
    """Say whether there is an attribute that may be read."""
    return type(name) is str and refused_attribute(name) is None and hasattr(value, name)


def delete_attribute(value: object, name: str, /) -> None:
    """Delete an attribute by its name."""
    delattr(value, _guarded(name))


class Opaque:
    """Stands in for a type: has its name, works in isinstance and annotations, makes nothing and is no base class."""

    __slots__ = ("__name__", "__qualname__", "_check")

    def __init__(self, name: str, check: Callable[[object], bool]) -> None:
        self.__name__ = self.__qualname__ = name
        self._check = check

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        raise TypeError(f"'{self.__name__}' cannot be called here: it is for isinstance and annotations")

    def __instancecheck__(self, value: object) -> bool:
        return self._check(value)

    def __subclasscheck__(self, other: object) -> bool:
        return other is self

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> NoReturn:
        raise TypeError(f"'{self.__name__}' cannot be a base class here")

    def __getitem__(self, _parameters: Any) -> "Opaque":
        return self

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007 - `|` is what is being defined here

    def __ror__(self, other: Any) -> Any:
        return typing.Union[other, self]  # noqa: UP007 - as above

    def __repr__(self) -> str:
        return f"<class '{self.__name__}'>"


class _TypeWord(Opaque):
    """The word ``type``: asks for one thing's type."""

    __slots__ = ()

    def __call__(self, *args: object, **kwargs: object) -> Any:
        if len(args) != 1 or kwargs:
            raise TypeError("type() takes one argument here: write a class statement to make a class")
        return shown(type(args[0]))

    def __getitem__(self, parameters: Any) -> Any:
        return types.GenericAlias(type, (parameters,))


TYPE = _TypeWord("type", lambda value: isinstance(value, type))
_HIDDEN: dict[type, Opaque] = {}


def _hide(kind: type) -> Opaque:
    _HIDDEN[kind] = stand_in = Opaque(kind.__name__, lambda value: isinstance(value, kind))
    return stand_in


# What they are called in `types`; several names can mean one type.
_TYPES = """
    FunctionType BuiltinFunctionType MethodType CoroutineType GeneratorType AsyncGeneratorType ModuleType TracebackType
    FrameType CodeType CellType WrapperDescriptorType MethodWrapperType MethodDescriptorType ClassMethodDescriptorType
    GetSetDescriptorType MemberDescriptorType
"""
TYPES: dict[str, object] = {name: _hide(getattr(types, name)) for name in _TYPES.split()}
TYPES |= {"LambdaType": TYPES["FunctionType"]}


def shown(kind: type) -> Any:
    """Give the type itself, or what stands in for it."""
    if issubclass(kind, type | Opaque):
        return TYPE
    if issubclass(kind, types.ModuleType):
        return _HIDDEN[types.ModuleType]
    return _HIDDEN.get(kind, kind)


# --- dataclasses ------------------------------------------------------------------------------------------------------


def dataclass(cls: Any = None, /, **options: Any) -> Any:
    """Make a class a dataclass: as the standard decorator, with or without options."""
    if cls is None:
        return functools.partial(dataclass, **options)
    own = cls.__dict__
    for name in own.get("__annotations__", ()):
        _field_name(name)
    for name, value in list(own.items()):
        if isinstance(value, dataclasses.Field):
            setattr(cls, name, copy.copy(value))
    return dataclasses.dataclass(cls, **options)


def _field_name(name: object) -> None:
    # A class that was not written as a class statement can have any text here, and dataclasses would run it.
    if type(name) is not str or not name.isidentifier() or refused_attribute(name):
        raise TypeError(f"{name!r} cannot be a field")


def fields(class_or_instance: Any) -> tuple[dataclasses.Field[Any], ...]:
    """List the fields of a dataclass."""
    return tuple(copy.copy(one) for one in dataclasses.fields(class_or_instance))


# --- enum -------------------------------------------------------------------------------------------------------------


def tame_enum() -> None:
    """Let ``Enum("Name", members)`` make members only: with any name at all it would make any class at all."""
    metaclass: Any = enum.EnumType
    original = metaclass._create_
    if original.__name__ != "_create_":
        return

    def create_members(cls: Any, class_name: str, names: Any, **rest: Any) -> Any:
        return original(cls, class_name, _members(names), **rest)

    metaclass._create_ = create_members


def _members(names: Any) -> list[Any]:
    listed = names.replace(",", " ").split() if isinstance(names, str) else names
    listed = listed.items() if isinstance(listed, Mapping) else listed or ()
    # Copied before they are checked: what the tenant holds could change in between.
    members = [one if type(one) is str else tuple(one) for one in listed]
    for one in members:
        name = one if type(one) is str else one[0]
        if type(name) is not str or name.startswith("__") or refused_attribute(name):
            raise ValueError(f"{name!r} cannot be a member of an enum here")
    return members


# --- functools and typing ---------------------------------------------------------------------------------------------


def tame_forward_references() -> None:
    """Let annotations written as text say what code may say: whoever reads them evaluates them."""
    original: Any = typing.ForwardRef.__init__
    if original.__module__ == __name__:
        return

    def read(self: Any, arg: str, *rest: Any, **more: Any) -> None:
        if reason := _refused_annotation(arg):
            raise TypeError(f"annotation {str(arg)[:200]!r}: {reason}")
        original(self, arg, *rest, **more)

    reference: Any = typing.ForwardRef
    reference.__init__ = read


def _refused_annotation(text: str) -> str | None:
    if type(text) is not str:
        return "annotations are expressions or plain text"
    try:
        # As `typing` reads it: a star needs a tuple around it.
        tree = ast.parse(f"({text},)[0]" if text.startswith("*") else text, mode="eval")
    except SyntaxError:
        return None  # typing says so
    found = check("annotation", tree)
    return found[0].message if found else None


def wraps(wrapped: Any) -> Callable[[Any], Any]:
    """Make a decorator's wrapper look like what it wraps; which attributes are copied is not open to choice."""
    return functools.wraps(wrapped)


def get_origin(hint: Any) -> Any:
    """Take the outer part of an annotation: ``list`` of ``list[int]``."""
    origin = typing.get_origin(hint)
    return TYPE if origin is type else origin


def get_args(hint: Any) -> tuple[Any, ...]:
    """Take the inner parts of an annotation: ``(int,)`` of ``list[int]``."""
    return tuple(TYPE if isinstance(one, type) and issubclass(one, type) else one for one in typing.get_args(hint))


DATACLASSES: Mapping[str, object] = {"dataclass": dataclass, "fields": fields}
FUNCTOOLS: Mapping[str, object] = {"wraps": wraps}
TYPING: Mapping[str, object] = {"get_origin": get_origin, "get_args": get_args}
BUILTINS: Mapping[str, object] = {
    "getattr": get_attribute,
    "setattr": set_attribute,
    "hasattr": has_attribute,
    "delattr": delete_attribute,
    "type": TYPE,
}
