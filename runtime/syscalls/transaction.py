"""What is one transaction?

A snapshot that is read, writes that wait, and what was read: enough to say at the end whether the whole could have
happened at one moment. Optimistic: nothing is locked, and who loses a race is told so and runs again.

Rules
1. A document is changed only after it was read here, so two transactions that change one document never both commit.
   Inserting reads nothing: inserts never lose.
2. A table comes into being with its first document; the registry of tables is a table like others (number 1), read and
   written by the same rules. Numbers below ``FIRST_TABLE`` are the system's and do not exist for tenants.
3. Several syscalls of one transaction may be under way at once: what is pending is looked at after every wait, never
   before.
4. After `commit` or `abandon` there is no transaction.
"""

import math
from dataclasses import dataclass
from typing import Any

from runtime import limits
from runtime.document_ids import DocumentId, RandomBytes, make_document_id, parse_document_id
from runtime.errors import CommitConflict, SyscallRefused
from runtime.index_keys import LAST, NEXT, encode, encode_value, index_prefix, table_of
from runtime.names import DeploymentName, InvalidName, parse_table_name
from runtime.ports import Clock, DocumentStore, KeyRange, Order, Page, Snapshot, Write
from runtime.protocol import values
from runtime.syscalls.document_rules import Document, encode_document, own_fields
from runtime.syscalls.pending import Pending, Reads

FIRST_TABLE = 32
_TABLES = 1
_BY_ID = 0
_BY_CREATION_TIME = 1
_TABLES_BY_NAME = index_prefix(_TABLES, 2)
_TABLES_BY_NUMBER = index_prefix(_TABLES, 3)

# The indexes that every table has, and the fields that a range of them may name.
_INDEXES = {"by_id": (_BY_ID, 1), "by_creation_time": (_BY_CREATION_TIME, 1)}

_PAGE_DOCUMENTS = 1_024
_PAGE_BYTES = 1 * limits.MIB


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which values of an index's fields, both ends possibly shorter than the index, or empty."""

    lower: list[Any]
    lower_inclusive: bool
    upper: list[Any]
    upper_inclusive: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """Some documents of a range, encoded, in its order, and where to go on; ``None`` when there are no more."""

    documents: list[bytes]
    cursor: bytes | None


class Transactions:
    """Where transactions begin."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.random = RandomBytes()

    async def begin(self, name: DeploymentName) -> "Transaction":
        """A transaction that sees everything that anybody was told is committed."""
        return Transaction(self, name, await self._store.snapshot(name), self._clock.now())

    def at(self, name: DeploymentName, moment: Snapshot) -> "Transaction":
        """A transaction that sees what ``moment`` shows, whose holder keeps it."""
        return Transaction(self, name, moment.share(), self._clock.now())

    async def table_name(self, name: DeploymentName, number: int) -> str:
        """What a table with this number is called, for somebody who is told about it."""
        snapshot = await self._store.snapshot(name)
        key = _TABLES_BY_NUMBER + encode_value(number)
        page = await snapshot.read(KeyRange(key, key + NEXT), Order.ASCENDING, 1, 1)
        snapshot.release()
        return str(values.decode(page.entries[0][1])["name"]) if page.entries else "_tables"


class Transaction:
    """One transaction. ``now`` is its frozen clock, in milliseconds since 1970; ``position`` is the last commit that it
    shows, and once it has committed its own. ``journal`` is where a page that is read again ends (or ``None``), and
    after a query that read a page where that one ended."""

    __slots__ = (
        "_creation_time",
        "_ended",
        "_name",
        "_origin",
        "_pending",
        "_reads",
        "_snapshot",
        "looked_at_identity",
        "journal",
        "now",
        "position",
    )

    def __init__(self, origin: Transactions, name: DeploymentName, snapshot: Snapshot, now: float) -> None:
        self.now = now
        self.position = snapshot.position
        self.journal: str | None = None
        self._origin = origin
        self._name = name
        self._snapshot = snapshot
        self._reads = Reads()
        self._pending = Pending()
        self._creation_time = 0.0
        self._ended = False

    # --- its end ------------------------------------------------------------------------------------------------------
        self.looked_at_identity = False

    async def commit(self) -> None:
        """Make everything durable, or raise `CommitConflict` when what was read has changed; then nothing was
        written."""
        self._require_open()
        self._ended = True
        writes = self._pending.writes()
        if not writes:
            self._snapshot.release()
            return
        done = await self._snapshot.commit(self._reads.ranges, writes)
        if isinstance(done, KeyRange):
            raise CommitConflict(await self._origin.table_name(self._name, table_of(done.lower)))
        self.position = done

    def abandon(self) -> None:
        """Write nothing. May be said at any time, and again."""
        if not self._ended:
            self._ended = True
            self._snapshot.release()

    def savepoint(self) -> int:
        """A token for `rollback`."""
        return self._pending.savepoint()

    def rollback(self, token: int) -> None:
        """Take back every write since the savepoint. What was read stays read."""
        self._pending.rollback(token)

    @property
    def reads(self) -> frozenset[KeyRange]:
        """Everything that was read: the result of a query can change only when something in here does."""
        return frozenset(self._reads.ranges)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> bytes | None:
        """The encoded document with this id, or ``None``."""
        parsed = _require_id(id)
        if parsed.table < FIRST_TABLE:
            return None
        return await self._find(_id_key(parsed.table, parsed.text))

    async def normalize_id(self, table: str, text: str) -> str | None:
        """``text`` as an id of this table, in its one spelling, or ``None`` when it is not one."""
        parsed = parse_document_id(text)
        if parsed is None or await self._table_number(table) != parsed.table:
            return None
        return parsed.text

    async def scan(
        self, table: str, index: str, bounds: Bounds, order: Order, cursor: bytes | None, limit: int
    ) -> Scanned:
        """At most ``limit`` documents of a range of an index; fewer when they are large."""
        if limit < 1:
            raise SyscallRefused(f"a scan reads one document or more, not {limit}")
        number = await self._table_number(table)
        span = _span(table, number or 0, index, bounds)
        if number is None:
            return Scanned([], None)
        if cursor is not None:
            span = _rest(span, order, cursor)
        if span.lower >= span.upper:
            return Scanned([], None)
        return await self._scan(span, order, min(limit, _PAGE_DOCUMENTS))

    async def _scan(self, span: KeyRange, order: Order, limit: int) -> Scanned:
        page = await self._snapshot.read(span, order, limit, min(_PAGE_BYTES, max(self._reads.bytes_left, 0)))
        self._require_open()
        merged = self._merge(page, span, order)
        complete = page.complete and len(merged) <= limit
        if not complete:
            # What lies behind the last document was not looked at, and may change without harm.
            last = merged[limit - 1][0] if len(merged) >= limit else page.entries[-1][0]
            span = _read_part(span, order, last)
        documents = [document for _, document in merged[:limit]]
        self._reads.add(span, max(len(documents), len(page.entries)), sum(map(len, documents)))
        return Scanned(documents, None if complete else last)

    def _merge(self, page: Page, span: KeyRange, order: Order) -> list[tuple[bytes, bytes]]:
        # Own writes beyond the page's last key wait for the next page.
        seen = span if page.complete else _read_part(span, order, page.entries[-1][0])
        written = self._pending.within(seen)
        if not written:
            return page.entries
        shown: dict[bytes, bytes | None] = dict(page.entries)
        shown.update(written)
        entries = [(key, document) for key, document in shown.items() if document is not None]
        entries.sort(reverse=order is Order.DESCENDING)
        return entries

    async def _find(self, key: bytes) -> bytes | None:
        pending = self._pending.find(key)
        if pending is None:
            span = KeyRange(key, key + NEXT)
            page = await self._snapshot.read(span, Order.ASCENDING, 1, 1)
            found = page.entries[0][1] if page.entries else None
            self._reads.add(span, len(page.entries), len(found or b""))
            pending = self._pending.find(key)
            if pending is None:
                return found
        return pending.document

    # --- writing ------------------------------------------------------------------------------------------------------

    async def insert(self, table: str, document: Document) -> str:
        """Add a document and return its id."""
        fields = own_fields(document, None)
        number = await self._table_number(table)
        if number is None:
            number = await self._create_table(table)
        self._require_open()
        id = make_document_id(number, self._origin.random.next())
        creation_time = max(self.now, math.nextafter(self._creation_time, math.inf))
        self._add(id, fields, creation_time, ())
        self._creation_time = creation_time
        return id.text

    async def patch(self, id: str, fields: Document, removed: list[str]) -> None:
        """Set some fields of a document and remove others; raise `SyscallRefused` when it does not exist."""
        parsed, current = await self._require_document(id, "patch")
        changed = {**_without_system(current), **own_fields(fields, current)}
        for name in removed:
            if name in current and name.startswith("_"):
                raise SyscallRefused(f"the field {name} is set by the system: it cannot be removed")
            changed.pop(name, None)
        self._rewrite(parsed, current, changed)

    async def replace(self, id: str, document: Document) -> None:
        """Put other fields in the place of a document's; raise `SyscallRefused` when it does not exist."""
        parsed, current = await self._require_document(id, "replace")
        self._rewrite(parsed, current, own_fields(document, current))

    async def delete(self, id: str) -> None:
        """Remove a document; raise `SyscallRefused` when it does not exist."""
        parsed, current = await self._require_document(id, "delete")
        keys = _keys(parsed, current["_creationTime"])
        before = self._keys_before(keys)
        self._pending.put(keys[0], Write(before, (), None))

    def _add(self, id: DocumentId, fields: Document, creation_time: float, more_keys: tuple[bytes, ...]) -> None:
        encoded = encode_document(fields, id.text, creation_time)
        keys = _keys(id, creation_time) + more_keys
        self._pending.put(keys[0], Write((), keys, encoded))

    def _rewrite(self, id: DocumentId, current: Document, fields: Document) -> None:
        encoded = encode_document(fields, id.text, current["_creationTime"])
        keys = _keys(id, current["_creationTime"])
        self._pending.put(keys[0], Write(self._keys_before(keys), keys, encoded))

    def _keys_before(self, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
        pending = self._pending.find(keys[0])
        return keys if pending is None else pending.before

    async def _require_document(self, id: str, verb: str) -> tuple[DocumentId, Document]:
        parsed = _require_id(id)
        found = None
        if parsed.table >= FIRST_TABLE:
            found = await self._find(_id_key(parsed.table, parsed.text))
        self._require_open()
        if found is None:
            raise SyscallRefused(f"cannot {verb} {parsed.text}: there is no document with this id")
        current: Document = values.decode(found)
        return parsed, current

    def _require_open(self) -> None:
        if self._ended:
            advice = "await every call of ctx.db before the function returns"
            raise SyscallRefused(f"this transaction has ended: {advice}", "RuntimeError")

    # --- records of the system, which no tenant sees ------------------------------------------------------------------

    async def find_record(self, key: bytes) -> bytes | None:
        """What is kept under this key."""
        return await self._find(key)

    async def records(self, span: KeyRange, most: int) -> list[bytes]:
        """The first records of a range."""
        return (await self._scan(span, Order.ASCENDING, most)).documents

    def put_record(self, keys: tuple[bytes, ...], content: bytes) -> None:
        """Keep a new record under these keys."""
        self._require_open()
        self._pending.put(keys[0], Write((), keys, content))

    def remove_record(self, keys: tuple[bytes, ...]) -> None:
        """Keep a record that was found no longer."""
        self._require_open()
        self._pending.put(keys[0], Write(keys, (), None))

    # --- tables -------------------------------------------------------------------------------------------------------

    async def _table_number(self, table: str) -> int | None:
        known = self._snapshot.tables.get(table)
        if known is not None:
            return known
        try:
            parse_table_name(table)
        except InvalidName as invalid:
            raise SyscallRefused(str(invalid)) from None
        key = _TABLES_BY_NAME + encode_value(table)
        page = await self._snapshot.read(KeyRange(key, key + NEXT), Order.ASCENDING, 1, 1)
        if page.entries:
            number: int = values.decode(page.entries[0][1])["number"]
            self._snapshot.tables[table] = number
            return number
        # That there is no such table is something this transaction relies on.
        self._reads.add(KeyRange(key, key + NEXT), 0, 0)
        return self._created_number(key)

    def _created_number(self, key: bytes) -> int | None:
        for _, document in self._pending.within(KeyRange(key, key + NEXT)):
            if document is not None:
                number: int = values.decode(document)["number"]
                return number
        return None

    async def _create_table(self, table: str) -> int:
        everything = KeyRange(_TABLES_BY_NUMBER, _TABLES_BY_NUMBER + LAST)
        last = await self._scan(everything, Order.DESCENDING, 1)
        created = self._created_number(_TABLES_BY_NAME + encode_value(table))
        if created is not None:
            return created
        number: int = values.decode(last.documents[0])["number"] + 1 if last.documents else FIRST_TABLE
        if number - FIRST_TABLE >= limits.TABLES:
            raise SyscallRefused(f"there are {limits.TABLES} tables, limit TABLES is {limits.TABLES}", "LimitExceeded")
        keys = (_TABLES_BY_NAME + encode_value(table), _TABLES_BY_NUMBER + encode_value(number))
        id = make_document_id(_TABLES, self._origin.random.next())
        self._require_open()
        self._add(id, {"name": table, "number": number}, self.now, keys)
        return number


def _require_id(id: str) -> DocumentId:
    parsed = parse_document_id(id)
    if parsed is None:
        raise SyscallRefused(f"{id[:80]!r} is not the id of a document")
    return parsed


def _id_key(table: int, id: str) -> bytes:
    return index_prefix(table, _BY_ID) + encode_value(id)


def _keys(id: DocumentId, creation_time: float) -> tuple[bytes, ...]:
    by_creation_time = index_prefix(id.table, _BY_CREATION_TIME) + encode_value(creation_time) + encode_value(id.random)
    return (_id_key(id.table, id.text), by_creation_time)


def _without_system(document: Document) -> Document:
    return {name: value for name, value in document.items() if name[0] != "_"}


def _span(table: str, number: int, index: str, bounds: Bounds) -> KeyRange:
    known = _INDEXES.get(index)
    if known is None:
        raise SyscallRefused(f"table {table!r} has no index {index[:80]!r}: there are {', '.join(_INDEXES)}")
    index_number, fields = known
    if max(len(bounds.lower), len(bounds.upper)) > fields:
        raise SyscallRefused(f"index {index!r} has {fields} field; a range of it cannot name more")
    prefix = index_prefix(number, index_number)
    lower = prefix + encode(bounds.lower) + (b"" if bounds.lower_inclusive or not bounds.lower else LAST)
    upper = prefix + encode(bounds.upper) + (LAST if bounds.upper_inclusive or not bounds.upper else b"")
    return KeyRange(lower, upper)


def _rest(span: KeyRange, order: Order, cursor: bytes) -> KeyRange:
    # A cursor is the last key that was given out. It comes back from a guest, so it may only narrow the range.
    if order is Order.ASCENDING:
        return KeyRange(max(span.lower, cursor + NEXT), span.upper)
    return KeyRange(span.lower, min(span.upper, cursor))


def _read_part(span: KeyRange, order: Order, last: bytes) -> KeyRange:
    if order is Order.ASCENDING:
        return KeyRange(span.lower, last + NEXT)
    return KeyRange(last, span.upper)
