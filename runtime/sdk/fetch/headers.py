"""Which headers does a message have?

`Headers` of the Fetch standard (§2.2 and §5.1). Kept as the wire has them, bytes with lower-case names; text is made
when somebody asks. Knows nothing of what a header means, save that ``set-cookie`` is never combined.

Rules
1. A value loses the white space around it; a NUL, CR or LF inside is a `TypeError`, and so is a name that is no token.
2. Iteration gives names in order, each once with its values joined by ``", "``, and every ``set-cookie`` by itself.
3. Headers that are frozen (of a redirect, an error, a fetched answer) raise `TypeError` when they are changed.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Union

from runtime.protocol.messages import HeaderList
from runtime.sdk.fetch.webidl import Pairs, byte_string, pairs_of

HeadersInit = Union["Headers", Mapping[str, str], Iterable[tuple[str, str]]]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_WHITE_SPACE = b"\t\n\r "


@lru_cache(maxsize=512)
def _known_name(name: str) -> bytes:
    if not _TOKEN.match(name):
        raise TypeError(f"{name[:80]!r} is not a header name: use letters, digits and !#$%&'*+-.^_`|~")
    return name.lower().encode("ascii")


def header_name(name: object) -> bytes:
    """Read a header name: a token, in lower case from here on."""
    return _known_name(name if type(name) is str else byte_string(name).decode("latin-1"))


def header_value(value: object) -> bytes:
    """Read a header value: normalised, and free of what would break the message."""
    raw = byte_string(value).strip(_WHITE_SPACE)
    if b"\n" in raw or b"\r" in raw or b"\0" in raw:
        raise TypeError(f"{raw[:80]!r} is not a header value: it holds a NUL, CR or LF")
    return raw


class Headers(Pairs[str]):
    """The headers of a request or a response: ``Headers({"x-a": "1"})``, or pairs, or other `Headers`."""

    __slots__ = ("_frozen", "_list", "_sorted")

    def __init__(self, init: HeadersInit | None = None) -> None:
        self._list: HeaderList = []
        self._sorted: list[tuple[str, str]] | None = None
        self._frozen = False
        if init is None:
            return
        if isinstance(init, Headers):
            self._list = list(init._list)
            return
        pairs = init.items() if type(init) is dict else pairs_of(init, "Headers")
        self._list += [(header_name(name), header_value(value)) for name, value in pairs]

    @classmethod
    def from_wire(cls, pairs: Iterable[tuple[bytes, bytes]], *, frozen: bool = False) -> "Headers":
        """Wrap headers that came through the hatch, or that were checked already."""
        headers = cls()
        headers._list = [(name.lower(), value) for name, value in pairs]
        headers._frozen = frozen
        return headers

    def copy(self) -> "Headers":
        """The same headers, to be changed apart; frozen if these are."""
        return Headers.from_wire(self._list, frozen=self._frozen)

    @property
    def wire(self) -> HeaderList:
        """The headers as they are sent. Not a copy: for reading only."""
        return self._list

    def append(self, name: str, value: str) -> None:
        """Add a value, beside those that the name has already."""
        self._change().append((header_name(name), header_value(value)))

    def set(self, name: str, value: str) -> None:
        """Give the name this value and no other, in the place of its first one."""
        key, raw = header_name(name), header_value(value)
        headers = self._change()
        at = next((index for index, pair in enumerate(headers) if pair[0] == key), len(headers))
        headers[at:] = [(key, raw), *(pair for pair in headers[at:] if pair[0] != key)]

    def delete(self, name: str) -> None:
        """Remove the name with all its values; nothing happens when there is none."""
        key = header_name(name)
        headers = self._change()
        headers[:] = [pair for pair in headers if pair[0] != key]

    def get(self, name: str, default: str | None = None, /) -> str | None:
        """Every value of the name, joined by ``", "``; ``None`` (or the default) when there is none."""
        key = header_name(name)
        found = [value for header, value in self._list if header == key]
        if not found:
            return default
        return (found[0] if len(found) == 1 else b", ".join(found)).decode("latin-1")

    def has(self, name: str) -> bool:
        """Whether the name has a value."""
        key = header_name(name)
        return any(header == key for header, _ in self._list)

    def get_set_cookie(self) -> list[str]:
        """Every ``set-cookie``, one by one."""
        return [value.decode("latin-1") for name, value in self._list if name == b"set-cookie"]

    def __contains__(self, name: object) -> bool:
        return self.has(name)  # type: ignore[arg-type]  # what is no name is refused there

    def __setitem__(self, name: str, value: str) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        if not self.has(name):
            raise KeyError(name)
        self.delete(name)

    def _change(self) -> HeaderList:
        if self._frozen:
            raise TypeError(
                "these headers cannot be changed: they belong to what was fetched, Response.redirect() or "
                "Response.error(); make a Response with status= and headers= instead"
            )
        self._sorted = None
        return self._list

    def _pairs(self) -> list[tuple[str, str]]:
        if self._sorted is None:
            self._sorted = sort_and_combine(self._list)
        return self._sorted


def sort_and_combine(headers: HeaderList) -> list[tuple[str, str]]:
    """The pairs that iteration gives, as the Fetch standard sorts and combines them."""
    combined: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        combined.setdefault(name, []).append(value)
    pairs: list[tuple[str, str]] = []
    for name in sorted(combined):
        text = name.decode("latin-1")
        if name == b"set-cookie":
            pairs += [(text, value.decode("latin-1")) for value in combined[name]]
        else:
            pairs.append((text, b", ".join(combined[name]).decode("latin-1")))
    return pairs
