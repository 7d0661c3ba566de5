"""How are documents read and written?

``ctx.db`` builds questions; the host answers them inside the transaction of the call. Nothing is cached here, and
nothing is decided: the host checks every id, table and value again.

Rules
1. A query is built step by step and consumed once.
2. Documents arrive in batches; a filter runs here, so what it drops counts as read.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from enum import Enum
from typing import Any, Literal

from msgspec import Raw

from runtime.protocol import values
from runtime.sdk.data.pagination import PaginationResult, Piece, read_options, read_page
from runtime.sdk.running import Running

Document = dict[str, Any]
Predicate = Callable[[Document], Any]

SYSTEM_TABLES = ("_scheduled_functions", "_storage")
_BATCH = 128
_BATCH_MAX = 1024


class Unset(Enum):
    """What a patch puts in the place of a field that shall go."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET


class IndexRange:
    """The part of an index that a query reads.

    First ``q.eq`` on the index's fields in their order, then a lower and an upper bound on the next one. ``UNSET`` as a
    value means a field that is missing; it comes before all others, and ``None`` after it.
    """

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: list[list[Any]] = []

    def eq(self, field: str, value: Any) -> "IndexRange":
        """Only documents whose field is this value."""
        return self._add("eq", field, value)

    def gt(self, field: str, value: Any) -> "IndexRange":
        """Only documents whose field comes after this value."""
        return self._add("gt", field, value)

    def gte(self, field: str, value: Any) -> "IndexRange":
        """Only documents whose field is this value or comes after it."""
        return self._add("gte", field, value)

    def lt(self, field: str, value: Any) -> "IndexRange":
        """Only documents whose field comes before this value."""
        return self._add("lt", field, value)

    def lte(self, field: str, value: Any) -> "IndexRange":
        """Only documents whose field is this value or comes before it."""
        return self._add("lte", field, value)

    def _add(self, verb: str, field: str, value: Any) -> "IndexRange":
        if value is UNSET:
            self.steps.append([verb, _text(field, "field")])
        else:
            values.check(value, f"q.{verb}({field!r})")
            self.steps.append([verb, _text(field, "field"), value])
        return self


class Query:
    """A question about one table, built step by step; the awaitable methods and ``async for`` answer it."""

    __slots__ = ("_filters", "_index", "_order", "_range", "_running", "_table", "_used")

    def __init__(self, running: Running, table: str) -> None:
        self._running = running
        self._table = table
        self._index = "by_creation_time"
        self._range: IndexRange | None = None
        self._filters: list[Predicate] = []
        self._order: str | None = None
        self._used = False

    def with_index(self, name: str, build: Callable[[IndexRange], Any] | None = None) -> "Query":
        """Read by this index, and only the range that ``build`` describes."""
        if self._range is not None:
            raise ValueError("a query reads one index: with_index was called twice")
        self._index = _text(name, "index")
        self._range = IndexRange()
        if build is not None and build(self._range) is not self._range:
            raise TypeError("the range of with_index is a function like: lambda q: q.eq('_id', id)")
        return self

    def filter(self, predicate: Predicate) -> "Query":
        """Keep the documents for which ``predicate(doc)`` is true; the others count as read."""
        self._filters.append(predicate)
        return self

    def order(self, direction: Literal["asc", "desc"]) -> "Query":
        """Read in the index's order (``asc``, the default) or the other way round (``desc``)."""
        if direction not in ("asc", "desc"):
            raise ValueError(f"the order is 'asc' or 'desc', not {direction!r}")
        if self._order is not None:
            raise ValueError("the order of this query was chosen already")
        self._order = direction
        return self

    async def collect(self) -> list[Document]:
        """Return every document."""
        return await self._read(None)

    async def take(self, n: int) -> list[Document]:
        """Return the first ``n`` documents, or fewer when there are no more."""
        if type(n) is not int or n < 0:
            raise ValueError(f"take needs a count of 0 or more, not {n!r}")
        return await self._read(n) if n else []

    async def first(self) -> Document | None:
        """Return the first document, or ``None``."""
        found = await self.take(1)
        return found[0] if found else None

    async def unique(self) -> Document | None:
        """Return the only document, or ``None``; raise `ValueError` when there are two."""
        found = await self.take(2)
        if len(found) > 1:
            raise ValueError(
                f"unique() found more than one document in {self._table!r}: {found[0]['_id']} and {found[1]['_id']}"
            )
        return found[0] if found else None

    async def count(self) -> int:
        """Count the documents; each counts as read."""
        return len(await self._read(None))

    async def paginate(self, options: Mapping[str, Any]) -> PaginationResult:
        """Return one page, and the cursor of the next: ``{"page": […], "isDone": …, "continueCursor": …}``."""
        asked = read_options(options)
        self._begin(None)
        return await read_page(asked, self._page, self._keep if self._filters else None)

    async def _page(self, cursor: str | None, end: str | None, limit: int, first: bool) -> Piece:
        answer: Piece = await self._running.syscall("db.page", *self._question(), cursor, end, limit, first)
        return answer

    def _keep(self, document: Document) -> bool:
        return all(_judge(predicate, document) for predicate in self._filters)

    async def __aiter__(self) -> AsyncIterator[Document]:
        cursor, batch = self._begin(None)
        while batch:
            documents, cursor = await self._scan(cursor, batch)
            for document in documents:
                yield document
            batch = min(batch * 2, _BATCH_MAX) if cursor is not None else 0

    def __await__(self) -> Any:
        raise TypeError(
            "a query is no result yet: add .collect(), .take(n), .first(), .unique(), .count() or .paginate(…)"
        )

    def _begin(self, wanted: int | None) -> tuple[bytes | None, int]:
        if self._used:
            raise RuntimeError("a query is consumed once: build it again with ctx.db.query(…)")
        self._used = True
        return None, _BATCH if wanted is None or self._filters else min(wanted, _BATCH_MAX)

    async def _read(self, wanted: int | None) -> list[Document]:
        cursor, batch = self._begin(wanted)
        found: list[Document] = []
        while wanted is None or len(found) < wanted:
            documents, cursor = await self._scan(cursor, batch)
            found += documents
            if cursor is None:
                break
            batch = min(batch * 2, _BATCH_MAX)
        return found if wanted is None else found[:wanted]

    async def _scan(self, cursor: bytes | None, limit: int) -> tuple[list[Document], bytes | None]:
        answer = await self._running.syscall("db.scan", *self._question(), cursor, limit)
        documents: list[Document] = answer["documents"]
        if self._filters:
            documents = [one for one in documents if self._keep(one)]
        return documents, answer["cursor"]

    def _question(self) -> tuple[str, str, Raw, str]:
        steps = [] if self._range is None else self._range.steps
        return self._table, self._index, Raw(values.encode(steps, "range")), self._order or "asc"


def _judge(predicate: Predicate, document: Document) -> bool:
    verdict = predicate(document)
    if hasattr(verdict, "__await__"):
        raise TypeError("the function given to filter() must not be async")
    return bool(verdict)


class SystemReader:
    """``ctx.db.system``."""

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    async def get(self, id: str) -> Document | None:
        """Return the system's document with this id, or ``None``."""
        found: Document | None = await self._running.syscall("db.get_system", _text(id, "id"))
        return found

    def query(self, table: str) -> Query:
        """Ask about the documents of one of the system's tables."""
        if _text(table, "table") not in SYSTEM_TABLES:
            raise ValueError(f"the system has no table {table!r}: there are {', '.join(SYSTEM_TABLES)}")
        return Query(self._running, table)


class DatabaseReader:
    """``ctx.db`` of a query."""

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    async def get(self, id: str) -> Document | None:
        """Return the document with this id, or ``None``."""
        found: Document | None = await self._running.syscall("db.get", _text(id, "id"))
        return found

    def query(self, table: str) -> Query:
        """Ask about the documents of a table."""
        if _text(table, "table").startswith("_"):
            raise ValueError(f"table {table!r} is the system's: use ctx.db.system.query({table!r})")
        return Query(self._running, table)

    @property
    def system(self) -> "SystemReader":
        """The tables that the system keeps: ``_scheduled_functions`` and ``_storage``."""
        return SystemReader(self._running)

    async def normalize_id(self, table: str, text: str) -> str | None:
        """Return ``text`` as an id of this table, or ``None`` when it is not one."""
        found: str | None = await self._running.syscall("db.normalize_id", _text(table, "table"), _text(text, "id"))
        return found

    def __getattr__(self, name: str) -> Any:
        if name in ("insert", "patch", "replace", "delete"):
            raise AttributeError(f"a query only reads: make this function a mutation to use ctx.db.{name}")
        raise AttributeError(f"ctx.db has no {name}")


class DatabaseWriter(DatabaseReader):
    """``ctx.db`` of a mutation."""

    __slots__ = ()

    async def insert(self, table: str, document: Mapping[str, Any]) -> str:
        """Add a document and return its id."""
        made: str = await self._running.syscall("db.insert", _text(table, "table"), _document(document))
        return made

    async def patch(self, id: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of a document; a field whose value is ``UNSET`` is removed."""
        if not isinstance(fields, Mapping):
            raise TypeError(f"the fields of a patch are a dict, not {type(fields).__name__}")
        kept = {name: value for name, value in fields.items() if value is not UNSET}
        removed = [name for name, value in fields.items() if value is UNSET]
        await self._running.syscall("db.patch", _text(id, "id"), _document(kept), removed)

    async def replace(self, id: str, document: Mapping[str, Any]) -> None:
        """Put this document in the place of the one with this id; system fields stay."""
        await self._running.syscall("db.replace", _text(id, "id"), _document(document))

    async def delete(self, id: str) -> None:
        """Remove a document."""
        await self._running.syscall("db.delete", _text(id, "id"))


def _document(document: Mapping[str, Any]) -> Raw:
    if not isinstance(document, Mapping):
        raise TypeError(f"a document is a dict, not {type(document).__name__}")
    return Raw(values.encode(dict(document), "document"))


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value
