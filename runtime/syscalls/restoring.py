"""How do documents come in from elsewhere, and keep the ids that they had?

Three steps, which whoever imports takes in this order: `plan` says which tables there will be, `Plan.check` looks at
one document after the other and writes nothing, `put` writes those that were looked at, some at a time.

Rules
1. An id carries the number of its table, so a table that comes with ids gets the number that these carry, or nothing is
   imported.
2. A document that was checked is written, unless the schema has changed meanwhile.
3. Nothing here holds more than one piece of the documents.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runtime import limits
from runtime.document_ids import DocumentId, RandomBytes, make_document_id, parse_document_id
from runtime.errors import Conflict, SyscallRefused
from runtime.index_keys import LAST, NEXT, encode_value, index_prefix
from runtime.names import DeploymentName, parse_table_name
from runtime.ports import Clock, DocumentStore, KeyRange, Order, Page, Write
from runtime.protocol import values
from runtime.syscalls.document_rules import Document, encode_document
from runtime.syscalls.pending import Pending, Reads
from runtime.syscalls.schemas.catalog import (
    BY_CREATION_TIME,
    CREATION_TIME,
    TableCatalog,
    TableRules,
    compare,
    id_key,
)
from runtime.syscalls.schemas.filling import Sitting, Work
from runtime.syscalls.schemas.tables import BY_NAME, BY_NUMBER, FIRST_TABLE, TABLES, Known, RulesMemo, Tables

_LAST_TABLE = FIRST_TABLE + limits.TABLES - 1
_PIECE = 256
_PIECE_BYTES = 512 * 1024
_PAGE_BYTES = 256 * 1024


class Restored(NamedTuple):
    """A document that was looked at. Without an id it gets one; without a creation time, that of its writing."""

    id: DocumentId | None
    creation_time: float | None
    fields: Document


@dataclass(slots=True)
class _Planned:
    number: int
    is_new: bool
    rules: TableRules
    seen: set[bytes] = field(default_factory=set)


class Plan:
    """Which tables the documents go into. ``numbers`` are those of every table that there will be."""

    def __init__(self, tables: dict[str, _Planned], numbers: dict[str, int]) -> None:
        self._tables = tables
        self._numbers = numbers

    def new_tables(self) -> dict[str, int]:
        """The tables that have to be made, with their numbers."""
        return {table: planned.number for table, planned in self._tables.items() if planned.is_new}

    def number(self, table: str) -> int:
        """The number of a table."""
        return self._tables[table].number

    def enforced(self, table: str) -> Any:
        """The validator that the table's documents must fit, as JSON, or ``None``."""
        return self._tables[table].rules.catalog.enforced

    def check(self, table: str, document: Document) -> Restored:
        """Take a document apart; raise `SyscallRefused` when it may not be in this table."""
        planned = self._tables[table]
        fields = {name: value for name, value in document.items() if name not in ("_id", CREATION_TIME)}
        id, creation_time = self._id(table, planned, document), _creation_time(document)
        # The size counts with an id and a time; which ones makes no difference.
        encode_document(fields, id.text if id else "0" * 31, creation_time or 0.0)
        numbers: dict[str, int | None] = {each: self._numbers.get(each) for each in planned.rules.tables}
        misfit = compare(planned.rules.enforced, fields, numbers)
        if misfit is not None:
            raise SyscallRefused(f"{misfit.text('document')} (the schema of table {table!r} says so)")
        return Restored(id, creation_time, fields)

    def _id(self, table: str, planned: _Planned, document: Document) -> DocumentId | None:
        if "_id" not in document:
            return None
        text = document["_id"]
        id = parse_document_id(text) if type(text) is str else None
        if id is None:
            raise SyscallRefused(f"document._id is not the id of a document: {str(text)[:80]!r}")
        if id.table != planned.number:
            raise SyscallRefused(f"document._id is the id of another table: {id.text} is none of {table!r}")
        if id.random in planned.seen:
            raise SyscallRefused(f"document._id is there twice: {id.text}")
        planned.seen.add(id.random)
        return id


class Restoring:
    """Lets documents in, and reads them all out."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._memo = RulesMemo()
        self._random = RandomBytes()
        self._last_time = 0.0

    async def tables(self, name: DeploymentName) -> "dict[str, Known]":
        """Every table of a deployment."""
        snapshot = await self._store.snapshot(name)
        try:
            return await Tables(self._memo, snapshot, Reads(), Pending()).everything()
        finally:
            snapshot.release()

    async def plan(self, name: DeploymentName, wanted: Mapping[str, int | None]) -> Plan:
        """Which tables there will be; ``wanted`` says which number a table's ids carry. Raises `Conflict`."""
        there = await self.tables(name)
        taken = {known.number: table for table, known in there.items()}
        for table, number in wanted.items():
            if number is not None:
                _claim(table, number, there, taken)
        planned = {}
        for table, number in wanted.items():
            parse_table_name(table)
            known = there.get(table)
            if known is not None:
                planned[table] = _Planned(known.number, False, TableRules(known.number, known.catalog))
                continue
            if number is None:
                number = max((*taken, FIRST_TABLE - 1)) + 1
                _claim(table, number, there, taken)
            planned[table] = _Planned(number, True, TableRules(number, TableCatalog(table)))
        return Plan(planned, {table: number for number, table in taken.items()})

    async def begin(self, name: DeploymentName, plan: Plan) -> None:
        """Make the tables that are missing; raises `Conflict` when somebody else has made others meanwhile."""

        async def make(sitting: Sitting) -> None:
            there = await sitting.tables.everything()
            taken = {known.number: table for table, known in there.items()}
            for table, number in plan.new_tables().items():
                _claim(table, number, there, taken)
                if table not in there:
                    id = make_document_id(TABLES, self._random.next())
                    keys = (id_key(id), BY_NAME + encode_value(table), BY_NUMBER + encode_value(number))
                    entry = encode_document({"name": table, "number": number}, id.text, self._clock.now())
                    sitting.pending.put(keys[0], Write((), keys, entry))

        await self._work(name).sit(make)

    async def is_empty(self, name: DeploymentName, table: int) -> bool:
        """Whether a table has no documents."""
        page = await self._page(name, _documents_of(table))
        return not page.entries

    async def has(self, name: DeploymentName, id: DocumentId) -> bool:
        """Whether there is a document with this id."""
        key = id_key(id)
        page = await self._page(name, KeyRange(key, key + NEXT))
        return bool(page.entries)

    async def clear(self, name: DeploymentName, table: int) -> None:
        """Remove every document of a table, some at a time."""

        async def some(sitting: Sitting) -> bool:
            rules = await sitting.tables.rules(table)
            page = await sitting.snapshot.read(_documents_of(table), Order.ASCENDING, _PIECE, _PIECE_BYTES)
            for _, content in page.entries:
                document = values.decode(content)
                id = parse_document_id(document["_id"])
                assert id is not None, "a stored document has the id of one"
                key = id_key(id)
                sitting.reads.add(KeyRange(key, key + NEXT), 1, len(content))
                sitting.pending.put(key, Write(rules.keys_before(id, document), (), None))
            return bool(page.complete)

        while not await self._work(name).sit(some):
            pass

    async def put(self, name: DeploymentName, plan: Plan, table: str, documents: Sequence[Restored]) -> None:
        """Write documents that were checked: all of these, or none."""
        whole = [self._complete(plan.number(table), each) for each in documents]

        async def write(sitting: Sitting) -> None:
            rules = await sitting.tables.rules(plan.number(table))
            numbers = await sitting.tables.numbers(rules)
            for id, creation_time, fields in whole:
                misfit = compare(rules.enforced, fields, numbers)
                if misfit is not None:
                    raise SyscallRefused(f"the schema of {table!r} was changed meanwhile: {misfit.text('document')}")
                keys = rules.keys(id, {**fields, CREATION_TIME: creation_time})
                span = KeyRange(keys[0], keys[0] + NEXT)
                sitting.reads.add(span, 0, 0)
                if (await sitting.snapshot.read(span, Order.ASCENDING, 1, 1)).entries:
                    raise Conflict(f"there is a document with the id {id.text} already")
                sitting.pending.put(keys[0], Write((), keys, encode_document(fields, id.text, creation_time)))

        await self._work(name).sit(write)

    def _complete(self, table: int, document: Restored) -> tuple[DocumentId, float, Document]:
        id = document.id or make_document_id(table, self._random.next())
        if document.creation_time is not None:
            return id, document.creation_time, document.fields
        # One after the other, also those that are written within one transaction.
        self._last_time = max(self._clock.now(), math.nextafter(self._last_time, math.inf))
        return id, self._last_time, document.fields

    async def read_all(self, name: DeploymentName, take: Callable[[str, int, list[bytes]], Awaitable[None]]) -> None:
        """Hand over every document as of one moment, by table and creation time; an empty table has an empty page."""
        snapshot = await self._store.snapshot(name)
        try:
            there = await Tables(self._memo, snapshot, Reads(), Pending()).everything()
            for table, known in sorted(there.items()):
                span, complete = _documents_of(known.number), False
                while not complete:
                    page = await snapshot.read(span, Order.ASCENDING, 1_024, _PAGE_BYTES)
                    complete = page.complete
                    await take(table, known.number, [content for _, content in page.entries])
                    if not complete:
                        span = KeyRange(page.entries[-1][0] + NEXT, span.upper)
        finally:
            snapshot.release()

    async def _page(self, name: DeploymentName, span: KeyRange) -> Page:
        snapshot = await self._store.snapshot(name)
        try:
            return await snapshot.read(span, Order.ASCENDING, 1, 1)
        finally:
            snapshot.release()

    def _work(self, name: DeploymentName) -> Work:
        return Work(self._store, self._memo, name)


def _documents_of(table: int) -> KeyRange:
    prefix = index_prefix(table, BY_CREATION_TIME)
    return KeyRange(prefix, prefix + LAST)


def _claim(table: str, number: int, there: "Mapping[str, Known]", taken: dict[int, str]) -> None:
    """Let a table have this number, or raise `Conflict`."""
    known = there.get(table)
    if known is not None and known.number != number:
        raise Conflict(
            f"the ids of table {table!r} were made for table number {number}, and here it has number {known.number}: "
            "import into a deployment that has no such table yet (before its first push), or leave out _id"
        )
    if not FIRST_TABLE <= number <= _LAST_TABLE:
        raise Conflict(f"the ids of table {table!r} carry the number {number}, which no table can have")
    if taken.setdefault(number, table) != table:
        raise Conflict(
            f"the ids of table {table!r} were made for table number {number}, which is {taken[number]!r} here: import "
            "into a deployment without tables, or leave out _id"
        )


def _creation_time(document: Document) -> float | None:
    if CREATION_TIME not in document:
        return None
    time: Any = document[CREATION_TIME]
    if type(time) not in (int, float) or not math.isfinite(time) or time < 0:
        raise SyscallRefused(f"document.{CREATION_TIME} must be milliseconds since 1970, got {str(time)[:40]!r}")
    return float(time)
