"""Classes: every assertion holds."""

from abc import ABC, abstractmethod
import functools


class Shape(ABC):
    registry = {}

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        Shape.registry[cls.__name__] = cls

    @abstractmethod
    def area(self): ...
    @property
    def double(self):
        return self.area() * 2

    @staticmethod
    def make(n):
        return Square(n)

    @classmethod
    def named(cls):
        return cls.__name__


class Square(Shape):
    __slots__ = ("n", "_x")

    def __init__(self, n):
        super().__init__()
        self.n = n

    def area(self):
        return self.n**2

    def __eq__(self, o):
        return isinstance(o, Square) and o.n == self.n

    def __hash__(self):
        return hash(self.n)

    def __lt__(self, o):
        return self.n < o.n

    def __getattr__(self, name):
        return f"no {name}"

    def __call__(self, x):
        return x + self.n

    def __len__(self):
        return 4

    def __iter__(self):
        yield from range(4)


class Typed:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, owner):
        return self.name


class User:
    field = Typed()
    __private = 1

    def get(self):
        return self.__private


class Lower(str):
    def __new__(cls, text):
        return super().__new__(cls, text.lower())


try:
    Shape()
except TypeError as e:
    refused = type(e).__name__
s = Shape.make(3)

assert (s.double) == 18
assert (Square.named()) == "Square"
assert (list(Shape.registry)) == ["Square"]
assert (s.missing) == "no missing"
assert (s(1)) == 4
assert (len(s)) == 4
assert (list(s)) == [0, 1, 2, 3]
assert (User().field) == "field"
assert (User().get()) == 1
assert (Lower("ABC")) == "abc"
assert refused == "TypeError"
assert (getattr(s, "n")) == 3
assert (hasattr(s, "n")) == True
assert ({Square(1), Square(1)} == {Square(1)}) == True
assert (type(s)(2).area()) == 4
