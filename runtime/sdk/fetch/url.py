"""What are the parts of this address, and what does its query say?

`URL` and `URLSearchParams` of the URL standard. Parsing an address is left to ada, a complete implementation of the
standard; the query's name and value pairs are read and written here. Knows no request.

Rules
1. Text that is no URL is a `TypeError`; a setter that is given nonsense changes nothing, as the standard says (``href``
   alone raises).
2. ``url.search_params`` is one object for the life of the URL: a change of either shows in the other.
"""

from collections.abc import Iterable, Mapping
from typing import Union
from urllib.parse import quote_plus, unquote_to_bytes

import ada_url

from runtime.sdk.fetch.webidl import Pairs, code_units, pairs_of, usv_string

SearchParamsInit = Union[str, "URLSearchParams", Mapping[str, str], Iterable[tuple[str, str]]]


def parse_urlencoded(data: bytes) -> list[tuple[str, str]]:
    """Read ``application/x-www-form-urlencoded`` (URL standard §5.1): every pair, in order."""
    pairs = []
    for piece in data.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(data: bytes) -> str:
    return unquote_to_bytes(data.replace(b"+", b" ")).decode("utf-8", "replace")


def _encode(text: str) -> str:
    # The standard escapes the tilde; Python's quote never does.
    return quote_plus(text, safe="*-._").replace("~", "%7E")


def write_urlencoded(pairs: Iterable[tuple[str, str]]) -> str:
    """Write ``application/x-www-form-urlencoded`` (URL standard §5.2)."""
    return "&".join([f"{_encode(name)}={_encode(value)}" for name, value in pairs])


class URLSearchParams(Pairs[str]):
    """A query's pairs: ``URLSearchParams("a=1&b=2")``, or a mapping, or pairs."""

    __slots__ = ("__weakref__", "_list", "_url")

    def __init__(self, init: SearchParamsInit = "") -> None:
        self._url: URL | None = None
        self._list: list[tuple[str, str]]
        if isinstance(init, str):
            self._list = parse_urlencoded(usv_string(init).removeprefix("?").encode())
            return
        pairs = [(usv_string(name), usv_string(value)) for name, value in _given(init)]
        # Two keys of a mapping can become one when their surrogates are replaced: the last one counts.
        self._list = list(dict(pairs).items()) if isinstance(init, Mapping) else pairs

    @property
    def size(self) -> int:
        """How many pairs there are."""
        return len(self._list)

    def append(self, name: str, value: str) -> None:
        """Add a pair at the end."""
        self._list.append((usv_string(name), usv_string(value)))
        self._changed()

    def delete(self, name: str, value: str | None = None) -> None:
        """Remove every pair of this name, or only those that have this value as well."""
        wanted, text = usv_string(name), None if value is None else usv_string(value)
        self._list[:] = [pair for pair in self._list if not _matches(pair, wanted, text)]
        self._changed()

    def get(self, name: str, default: str | None = None, /) -> str | None:
        """The first value of this name, or ``None`` (or the default)."""
        wanted = usv_string(name)
        return next((value for key, value in self._list if key == wanted), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of this name."""
        wanted = usv_string(name)
        return [value for key, value in self._list if key == wanted]

    def has(self, name: str, value: str | None = None) -> bool:
        """Whether there is a pair of this name, and of this value when one is given."""
        wanted, text = usv_string(name), None if value is None else usv_string(value)
        return any(_matches(pair, wanted, text) for pair in self._list)

    def set(self, name: str, value: str) -> None:
        """Give the first pair of this name this value and remove the others, or add one."""
        key, text = usv_string(name), usv_string(value)
        at = next((index for index, pair in enumerate(self._list) if pair[0] == key), len(self._list))
        self._list[at:] = [(key, text), *(pair for pair in self._list[at:] if pair[0] != key)]
        self._changed()

    def sort(self) -> None:
        """Order the pairs by name, by UTF-16 code units; pairs of one name keep their order."""
        self._list.sort(key=lambda pair: code_units(pair[0]))
        self._changed()

    def __contains__(self, name: object) -> bool:
        return self.has(name)  # type: ignore[arg-type]  # what is no name is refused there

    def __str__(self) -> str:
        return write_urlencoded(self._list)

    def _pairs(self) -> list[tuple[str, str]]:
        return self._list

    def _changed(self) -> None:
        if self._url is not None:
            self._url._take_query(str(self))

    def _follow(self, url: "URL", search: str) -> None:
        self._url = url
        self._list[:] = parse_urlencoded(search.removeprefix("?").encode())


def _given(init: object) -> Iterable[tuple[object, object]]:
    return init._pairs() if isinstance(init, URLSearchParams) else pairs_of(init, "URLSearchParams")


def _matches(pair: tuple[str, str], name: str, value: str | None) -> bool:
    return pair[0] == name and (value is None or pair[1] == value)


def _parse(url: object, base: object) -> ada_url.URL | None:
    try:
        if base is None:
            return ada_url.URL(_address(url))
        return ada_url.URL(_address(url), _address(base))
    except ValueError:
        return None


def _address(value: object) -> str:
    return str(value) if isinstance(value, URL) else usv_string(value)


class URL:
    """An absolute address: ``URL("https://example.org/a?b=1#c")`` or ``URL("../x", base)``."""

    __slots__ = ("__weakref__", "_params", "_parsed")

    def __init__(self, url: Union[str, "URL"], base: Union[str, "URL", None] = None) -> None:
        parsed = _parse(url, base)
        if parsed is None:
            against = "" if base is None else f" relative to {str(base)[:200]!r}"
            raise TypeError(f"{str(url)[:200]!r} is not a valid URL{against}")
        self._parsed = parsed
        self._params: URLSearchParams | None = None

    @classmethod
    def parse(cls, url: Union[str, "URL"], base: Union[str, "URL", None] = None) -> "URL | None":
        """Parse, and return ``None`` instead of raising."""
        return cls(url, base) if cls.can_parse(url, base) else None

    @staticmethod
    def can_parse(url: Union[str, "URL"], base: Union[str, "URL", None] = None) -> bool:
        """Whether `URL` would take this."""
        return _parse(url, base) is not None

    @property
    def href(self) -> str:
        """The whole address."""
        return self._parsed.href

    @href.setter
    def href(self, value: str) -> None:
        parsed = _parse(value, None)
        if parsed is None:
            raise TypeError(f"{str(value)[:200]!r} is not a valid URL")
        self._parsed = parsed
        self._tell_params()

    @property
    def origin(self) -> str:
        """Scheme, host and port, or ``"null"``."""
        return self._parsed.origin

    @property
    def protocol(self) -> str:
        """The scheme and its colon."""
        return self._parsed.protocol

    @protocol.setter
    def protocol(self, value: str) -> None:
        self._set("protocol", value)

    @property
    def username(self) -> str:
        """The user name, percent-encoded."""
        return self._parsed.username

    @username.setter
    def username(self, value: str) -> None:
        self._set("username", value)

    @property
    def password(self) -> str:
        """The password, percent-encoded."""
        return self._parsed.password

    @password.setter
    def password(self, value: str) -> None:
        self._set("password", value)

    @property
    def host(self) -> str:
        """The host, and its port unless that is the scheme's own."""
        return self._parsed.host

    @host.setter
    def host(self, value: str) -> None:
        self._set("host", value)

    @property
    def hostname(self) -> str:
        """The host without a port."""
        return self._parsed.hostname

    @hostname.setter
    def hostname(self, value: str) -> None:
        self._set("hostname", value)

    @property
    def port(self) -> str:
        """The port as text; ``""`` where it is the scheme's own."""
        return self._parsed.port

    @port.setter
    def port(self, value: str | int) -> None:
        self._set("port", value)

    @property
    def pathname(self) -> str:
        """The path, percent-encoded."""
        return self._parsed.pathname

    @pathname.setter
    def pathname(self, value: str) -> None:
        self._set("pathname", value)

    @property
    def search(self) -> str:
        """The query with its question mark, or ``""``."""
        return self._parsed.search

    @search.setter
    def search(self, value: str) -> None:
        self._set("search", value)
        self._tell_params()

    @property
    def search_params(self) -> URLSearchParams:
        """The query's pairs, linked to this URL both ways."""
        if self._params is None:
            self._params = URLSearchParams()
            self._params._follow(self, self._parsed.search)
        return self._params

    @property
    def hash(self) -> str:
        """The fragment with its hash sign, or ``""``."""
        return self._parsed.hash

    @hash.setter
    def hash(self, value: str) -> None:
        self._set("hash", value)

    def to_json(self) -> str:
        """The whole address."""
        return self._parsed.href

    def __str__(self) -> str:
        return self._parsed.href

    def __repr__(self) -> str:
        return f"URL({self._parsed.href!r})"

    def _set(self, part: str, value: object) -> None:
        text = usv_string(value)
        try:
            setattr(self._parsed, part, text)
        except ValueError:
            # The standard's setters do nothing when the value does not fit.
            return

    def _take_query(self, query: str) -> None:
        self._set("search", query)

    def _tell_params(self) -> None:
        if self._params is not None:
            self._params._follow(self, self._parsed.search)
