"""Enums: every assertion holds."""

from enum import Enum, Flag, IntEnum, StrEnum, auto, unique


@unique
class Color(Enum):
    RED = auto()
    BLUE = auto()

    @classmethod
    def _missing_(cls, value):
        return cls.RED

    @property
    def shout(self):
        return self.name + "!"


class Size(IntEnum):
    S = 1


class Word(StrEnum):
    HELLO = auto()


class Right(Flag):
    READ = auto()
    WRITE = auto()


Quick = Enum("Quick", "ONE TWO")
Pairs = Enum("Pairs", [("A", "a"), ("B", "b")])

assert (Color(9).shout) == "RED!"
assert (list(Color.__members__)) == ["RED", "BLUE"]
assert (Size.S + 1) == 2
assert (f"{Word.HELLO}") == "hello"
assert ((Right.READ | Right.WRITE).value) == 3
assert (Quick.TWO.value) == 2
assert (Pairs("b").name) == "B"
assert (Color["BLUE"].value) == 2
assert (type(Color.RED) is Color) == True
assert (isinstance(Color, type)) == True
