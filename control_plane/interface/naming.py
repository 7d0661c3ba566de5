"""Which names does Python accept, for names that a bundle chose?

Rules
1. A name is given once in its scope; who comes second gets an underscore more.
2. What comes out is an identifier, whatever came in: this text goes into a program.
"""

import keyword
import re
from collections.abc import Iterable

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_WORD = re.compile(r"[A-Za-z0-9]+")


class Scope:
    """Names of one class or module, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def give(self, name: str) -> str:
        """This name or, when it is taken, one like it."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def attribute(self, name: str) -> str:
        """A name for an attribute or method."""
        made = _OTHER.sub("_", name)
        if not made or made[0].isdigit() or made.startswith("__"):
            made = f"n{made}"
        if keyword.iskeyword(made):
            made += "_"
        return self.give(made)

    def type(self, *words: str) -> str:
        """A name for a class, made of these words."""
        parts = [part for word in words for part in _WORD.findall(word)]
        made = "".join(part[0].upper() + part[1:] for part in parts)
        return self.give(made if made and not made[0].isdigit() else f"T{made}")


def is_parameter(name: str) -> bool:
    """Whether a method can have a parameter of this name."""
    usable = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return usable and not name.startswith("__") and name != "self"
