"""Dataclasses: every assertion holds."""

from dataclasses import asdict, astuple, dataclass, field, fields, replace


@dataclass(frozen=True, slots=True, order=True)
class Point:
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "y", self.y + 1)


@dataclass
class Base:
    a: int


@dataclass
class Derived(Base):
    b: Point
    c: str = "c"


d = Derived(1, Point(1, 2))

assert (asdict(d)) == {"a": 1, "b": {"x": 1, "y": 3, "tags": []}, "c": "c"}
assert (astuple(d)[0]) == 1
assert (replace(d, a=5).a) == 5
assert ([f.name for f in fields(d)]) == ["a", "b", "c"]
assert (Point(1) < Point(2)) == True
assert (repr(Point(1))) == "Point(x=1, y=1, tags=[])"
