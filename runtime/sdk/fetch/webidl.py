"""What does JavaScript make of the value that a caller handed in?

The conversions that every class of the Fetch, URL and XHR standards shares, as Web IDL defines them. Knows nothing of
HTTP.

Rules
1. A `USVString` holds no lone surrogate: each becomes U+FFFD, and a surrogate pair becomes the character it stands for.
2. A `ByteString` is bytes written as characters U+0000 to U+00FF; anything past them is a `TypeError`.
3. Numbers and booleans are written as JavaScript writes them. ``None`` and other objects are refused: in Python
   they are nearly always a mistake, and ``"null"`` or ``"[object Object]"`` helps nobody.
4. Iteration is live: it walks an index over the pairs as they are at that moment.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Item = TypeVar("Item")

# Looked up here because a codec is a module, and behind the wall there is no file to import it from.
_to_units = codecs.lookup("utf-16-be").encode
_from_units = codecs.lookup("utf-16-be").decode


def usv_string(value: object) -> str:
    """Turn what was given into text without lone surrogates."""
    text = value if type(value) is str else _text(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _from_units(_to_units(text, "surrogatepass")[0], "replace")[0]
    return text


def code_units(text: str) -> bytes:
    """What JavaScript compares when it compares strings: UTF-16 code units, as bytes in order."""
    return _to_units(text, "surrogatepass")[0]


def byte_string(value: object) -> bytes:
    """Turn what was given into bytes, one for each character."""
    if type(value) is str:
        text = value
    elif isinstance(value, bytes):
        return bytes(value)
    else:
        text = _text(value)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise TypeError(
            f"{text[:80]!r} holds {text[error.start]!r} at character {error.start}: only U+0000 to U+00FF fit in a "
            "header; percent-encode the others"
        ) from None


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return int.__repr__(int(value)) if value.is_integer() and abs(value) < 1e21 else float.__repr__(value)
    raise TypeError(f"a string is needed here, not {type(value).__name__}")


def pairs_of(init: object, what: str) -> Iterable[tuple[Any, Any]]:
    """Read a mapping, or an iterable of pairs; ``what`` is named when it is neither."""
    if isinstance(init, Mapping):
        yield from init.items()
        return
    if isinstance(init, str | bytes) or not isinstance(init, Iterable):
        raise TypeError(f"{what} is made of a mapping or of pairs, not of {type(init).__name__}")
    for pair in init:
        if isinstance(pair, str | bytes) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"{what} is made of (name, value) pairs, and {repr(pair)[:80]} is none")
        yield pair[0], pair[1]


def live(read: Callable[[], Sequence[Item]]) -> Iterator[Item]:
    """Walk what ``read`` returns by index, asking anew at each step."""
    index = 0
    while index < len(items := read()):
        yield items[index]
        index += 1


class Pairs(Generic[Value]):
    """What headers, search parameters and form data have in common: an ordered list of names with values."""

    __slots__ = ()

    def _pairs(self) -> Sequence[tuple[str, Value]]:
        raise NotImplementedError

    def get(self, name: str, /) -> Value | None:
        """The first value of this name, or ``None``."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return live(self._pairs)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Every (name, value) pair, in order."""
        return live(self._pairs)

    def keys(self) -> Iterator[str]:
        """The name of every pair, in order."""
        return (name for name, _ in live(self._pairs))

    def values(self) -> Iterator[Value]:
        """The value of every pair, in order."""
        return (value for _, value in live(self._pairs))

    def __len__(self) -> int:
        return len(self._pairs())

    def __bool__(self) -> bool:
        # An empty FormData is still a body: as in JavaScript, every object is true.
        return True

    def __getitem__(self, name: str) -> Value:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._pairs())!r})"
