"""Typing: every assertion holds."""

from __future__ import annotations
from typing import (
    Annotated,
    Any,
    Callable,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    overload,
    runtime_checkable,
)
from types import TracebackType, SimpleNamespace, MappingProxyType

T = TypeVar("T")
UserId = NewType("UserId", str)


class Movie(TypedDict, total=False):
    name: str
    year: "int | None"


class Pair(NamedTuple):
    left: int
    right: int = 2

    def total(self):
        return self.left + self.right


@runtime_checkable
class Named(Protocol):
    name: str


class Box(Generic[T]):
    count: ClassVar[int] = 0

    def __init__(self, item: T) -> None:
        self.item = item


class Ctx:
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


Alias = dict[str, type | None]
Hook = Optional[TracebackType]

assert (Movie(name="x")) == {"name": "x"}
assert (Pair(1).total()) == 3
assert (Pair(1)._asdict()) == {"left": 1, "right": 2}
assert (isinstance(SimpleNamespace(name=1), Named)) == True
assert (Box[int](3).item) == 3
assert (get_args(Literal["a", "b"])) == ("a", "b")
assert (get_origin(list[int]) is list) == True
assert (UserId("u")) == "u"
assert (cast(int, "x")) == "x"
assert (MappingProxyType({1: 2})[1]) == 2
