"""How is a query read page by page?

The shapes that Convex's clients send and expect, and the loop that fills one page. A cursor is the host's, sealed; here
it is only handed on.

Rules
1. A page holds the number of documents that was asked for; fewer only where the query ends or a limit says so. One
   with a given end goes to that end instead, however many documents that are by now.
2. A page that could not be read to its end, or hardly, says that it is to be split, and where.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NotRequired, Protocol, TypedDict

from runtime import limits

_MOST = 1024


class PaginationOptions(TypedDict):
    """What a client asks for: the annotation of an argument called ``paginationOpts``, say."""

    numItems: int
    cursor: str | None
    endCursor: NotRequired[str | None]
    maximumRowsRead: NotRequired[int | None]
    maximumBytesRead: NotRequired[int | None]
    id: NotRequired[float | None]


class PaginationResult(TypedDict):
    """One page; ``continueCursor`` begins the next one, ``splitCursor`` lies in the middle of this one."""

    page: list[Any]
    isDone: bool
    continueCursor: str
    splitCursor: NotRequired[str | None]
    pageStatus: NotRequired[Literal["SplitRecommended", "SplitRequired"] | None]


class Piece(TypedDict):
    """What the host answers: part of a page. ``complete`` when its end was reached, ``last`` when it is the query's."""

    documents: list[dict[str, Any]]
    cursor: str
    middle: str | None
    end: str | None
    complete: bool
    last: bool


class Asked:
    """The options of a page, looked at."""

    __slots__ = ("cursor", "end", "most_read", "wanted")

    def __init__(self, wanted: int, cursor: str | None, end: str | None, most_read: int) -> None:
        self.wanted = wanted
        self.cursor = cursor
        self.end = end
        self.most_read = most_read


class Pages(Protocol):
    """Who asks the host for a piece."""

    async def __call__(self, cursor: str | None, end: str | None, limit: int, first: bool) -> Piece:
        """At most ``limit`` documents after ``cursor``, up to ``end``."""
        ...


def read_options(options: Mapping[str, Any]) -> Asked:
    """Look at the options of a page; raise `ValueError` that says what is wrong with them."""
    if not isinstance(options, Mapping):
        raise TypeError(f"paginate needs a dict like {{'numItems': 10, 'cursor': None}}, not {type(options).__name__}")
    unknown = sorted(set(options) - set(PaginationOptions.__annotations__))
    if unknown:
        raise ValueError(f"paginate has no option {unknown[0]!r}")
    if "numItems" not in options or "cursor" not in options:
        raise ValueError("paginate needs numItems and cursor: {'numItems': 10, 'cursor': None} for the first page")
    wanted = _count(options, "numItems")
    if wanted is None:
        raise ValueError("numItems must be a whole number of 1 or more, not None")
    most = _count(options, "maximumRowsRead")
    _count(options, "maximumBytesRead")
    most = limits.READ_DOCUMENTS // 2 if most is None else most
    return Asked(wanted, _cursor(options, "cursor"), _cursor(options, "endCursor"), most)


def _count(options: Mapping[str, Any], name: str) -> int | None:
    number = options.get(name)
    if number is None:
        return None
    if type(number) is float and number.is_integer():
        number = int(number)
    if type(number) is not int or number < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {number!r}")
    return number


def _cursor(options: Mapping[str, Any], name: str) -> str | None:
    cursor = options.get(name)
    if cursor is not None and type(cursor) is not str:
        raise TypeError(f"{name} must be a cursor or None, not {type(cursor).__name__}")
    return cursor


async def read_page(asked: Asked, pages: Pages, keep: Callable[[dict[str, Any]], bool] | None) -> PaginationResult:
    """Read one page; ``keep`` says which documents belong to it."""
    filling = _Filling(asked, pages, keep)
    return await filling.fill()


class _Filling:
    """A page that is being filled."""

    def __init__(self, asked: Asked, pages: Pages, keep: Callable[[dict[str, Any]], bool] | None) -> None:
        self._asked = asked
        self._pages = pages
        self._keep = keep
        self._page: list[dict[str, Any]] = []
        self._end = asked.end
        self._cursor = asked.cursor
        self._splits: list[str] = []
        self._read = 0

    async def fill(self) -> PaginationResult:
        first = True
        while True:
            limit = self._limit()
            piece = await self._pages(self._cursor, self._end, limit, first)
            if first:
                # A page that was read before ends where it ended then; the host knows.
                self._end = piece["end"]
                first = False
            piece = await self._take(piece)
            if piece["complete"] or self._is_full() or self._read >= self._asked.most_read:
                return self._result(piece)

    def _limit(self) -> int:
        limit = min(_MOST, self._asked.most_read - self._read)
        if self._end is None and self._keep is None:
            limit = min(limit, self._asked.wanted - len(self._page))
        elif self._end is None:
            limit = min(limit, max(2 * self._asked.wanted, 2 * self._read))
        return limit

    def _is_full(self) -> bool:
        return self._end is None and len(self._page) >= self._asked.wanted

    async def _take(self, piece: Piece) -> Piece:
        documents = piece["documents"]
        kept = [at for at, document in enumerate(documents) if self._keep is None or self._keep(document)]
        missing = self._asked.wanted - len(self._page)
        if self._end is None and len(kept) >= missing and kept[missing - 1] + 1 < len(documents):
            # More than fits: the page ends within this piece, and only the host can say where that is.
            used = kept[missing - 1] + 1
            self._read += len(documents)
            piece = await self._pages(self._cursor, None, used, False)
            kept = [at for at in kept[:missing] if at < len(piece["documents"])]
        self._page += [documents[at] for at in kept]
        self._read += len(piece["documents"])
        self._splits += [cursor for cursor in (piece["middle"], piece["cursor"]) if cursor is not None]
        self._cursor = piece["cursor"]
        return piece

    def _result(self, piece: Piece) -> PaginationResult:
        status: Literal["SplitRecommended", "SplitRequired"] | None = None
        if self._end is not None and not piece["complete"]:
            status = "SplitRequired"
        elif 4 * self._read > 3 * self._asked.most_read:
            status = "SplitRecommended"
        split = None
        # The last one is the page's own end: there is nothing behind it.
        if len(self._splits) > 1 and (status is not None or len(self._page) > self._asked.wanted):
            split = self._splits[(len(self._splits) - 1) // 2]
        return {
            "page": self._page,
            "isDone": piece["last"],
            "continueCursor": self._end or piece["cursor"],
            "splitCursor": split,
            "pageStatus": status if split is not None or status == "SplitRequired" else None,
        }
