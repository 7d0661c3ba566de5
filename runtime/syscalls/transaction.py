"""What is one transaction?

A snapshot that is read, writes that wait, and what was read: enough to say at the end whether the whole could have
happened at one moment. Optimistic: nothing is locked, and who loses a race is told so and runs again.

Rules
1. A document is changed only after it was read here, so two transactions that change one document never both commit.
   Inserting reads nothing: inserts never lose.
2. A document is stored only as its table's schema asks for it, and with its keys in every index of the table: what is
   true of the table is read here too, so nothing changes it between the look and the commit.
3. Several syscalls of one transaction may be under way at once: what is pending is looked at after every wait, never
   before.
4. After `commit` or `abandon` there is no transaction.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runtime import limits
from runtime.document_ids import DocumentId, RandomBytes, make_document_id, parse_document_id
from runtime.errors import CommitConflict, SyscallRefused
from runtime.index_keys import NEXT, encode_value, index_prefix, table_of
from runtime.names import DeploymentName
from runtime.ports import Agenda, Clock, DocumentStore, KeyRange, Order, Page, Snapshot, Write
from runtime.protocol import values
from runtime.syscalls.convoys.convoy import Place
from runtime.syscalls.document_rules import Document, encode_document, own_fields, without_system
from runtime.syscalls.pending import Pending, Reads
from runtime.syscalls.reading.cursors import Cursors
from runtime.syscalls.reading.pages import merge, seen_of
from runtime.syscalls.reading.spans import Bounds, Index, built_in_index, read_part, rest, span_of
from runtime.syscalls.scheduling.duties import earliest
from runtime.syscalls.schemas.catalog import CREATION_TIME, TableRules, built_in_number, id_key
from runtime.syscalls.schemas.document_types import SYSTEM_TABLES
from runtime.syscalls.schemas.tables import BY_NUMBER, FIRST_TABLE, RulesMemo, Tables

_PAGE_DOCUMENTS = 1_024
_PAGE_BYTES = 1 * limits.MIB


@dataclass(frozen=True, slots=True)
class Scanned:
    """Some documents of a range, encoded, in its order, and where to go on; ``None`` when there are no more."""

    documents: list[bytes]
    cursor: bytes | None
    middle: bytes | None = None  # the key of the document in the middle


class Transactions:
    """Where transactions begin."""

    def __init__(
        self, store: DocumentStore, clock: Clock, secret: bytes | None = None, agenda: Agenda | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self._agenda = agenda
        self.listeners: list[Callable[[DeploymentName, Sequence[Write]], None]] = []
        self.random = RandomBytes()
        self.memo = RulesMemo()
        # Without a secret of the installation, cursors live as long as the process.
        self.cursors = Cursors(secret or os.urandom(32))

    async def begin(self, name: DeploymentName) -> "Transaction":
        """A transaction that sees everything that anybody was told is committed."""
        return Transaction(self, name, await self.store.snapshot(name), self.clock.now())

    def at(self, name: DeploymentName, moment: Snapshot) -> "Transaction":
        """A transaction that sees what ``moment`` shows, whose holder keeps it."""
        return Transaction(self, name, moment.share(), self.clock.now())

    def note(self, name: DeploymentName, writes: Sequence[Write]) -> None:
        """These writes are durable: whoever does what is due is told of it, and whoever listens."""
        if self._agenda is not None and (at := earliest(writes)) is not None:
            self._agenda.note(name, at)
        for listener in self.listeners:
            listener(name, writes)

    async def table_name(self, name: DeploymentName, number: int) -> str:
        """What a table with this number is called, for somebody who is told about it."""
        snapshot = await self.store.snapshot(name)
        key = BY_NUMBER + encode_value(number)
        page = await snapshot.read(KeyRange(key, key + NEXT), Order.ASCENDING, 1, 1)
        snapshot.release()
        return str(values.decode(page.entries[0][1])["name"]) if page.entries else "_tables"


class Transaction:
    """One transaction. ``now`` is its frozen clock, in milliseconds since 1970. ``journal`` is where a page that is
    read again ends (or ``None``), and after a query that read a page where that one ended."""

    __slots__ = (
        "_committed",
        "_creation_time",
        "_ended",
        "_name",
        "_origin",
        "_pending",
        "_place",
        "_reads",
        "_snapshot",
        "_tables",
        "journal",
        "looked_at_identity",
        "now",
        "paginations",
        "scheduled",
    )

    def __init__(self, origin: Transactions, name: DeploymentName, snapshot: Snapshot, now: float) -> None:
        self.now = now
        self.journal: str | None = None
        self.paginations = 0
        self.scheduled = 0  # functions; what a savepoint takes back counts all the same
        self._origin = origin
        self._name = name
        self._snapshot = snapshot
        # In a convoy others see what is written here before it is committed.
        self._place = snapshot if isinstance(snapshot, Place) else None
        self._reads = Reads()
        self._pending = Pending()
        self._tables = Tables(origin.memo, snapshot, self._reads, self._pending)
        self._creation_time = 0.0
        self._ended = False
        self._committed: int | None = None
        self.looked_at_identity = False

    # --- its end ------------------------------------------------------------------------------------------------------

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
        self._committed = done
        self._origin.note(self._name, writes)

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

    @property
    def position(self) -> int:
        """The last commit that it shows, and once it has committed its own."""
        return self._snapshot.position if self._committed is None else self._committed

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> DeploymentName:
        """Whose documents these are."""
        return self._name

    @property
    def is_awaited(self) -> bool:
        """Whether others cannot go on before this one has written something."""
        return self._place is not None and self._place.is_awaited

    @property
    def cursors(self) -> Cursors:
        """Who seals positions."""
        return self._origin.cursors

    async def get(self, id: str) -> bytes | None:
        """The encoded document with this id, or ``None``."""
        parsed = _require_id(id)
        return None if parsed.table < FIRST_TABLE else await self._find(id_key(parsed))

    async def get_system(self, id: str) -> bytes | None:
        """The encoded document of a table of the system that tenants may read, or ``None``."""
        parsed = _require_id(id)
        if parsed.table not in SYSTEM_TABLES.values():
            raise SyscallRefused(f"{parsed.text} is not the id of a document of the system: use ctx.db.get")
        return await self._find(id_key(parsed))

    async def table_numbers(self, tables: Iterable[str]) -> dict[str, int | None]:
        """The numbers of these tables, ``None`` for those that do not exist."""
        return {table: await self._tables.number(table) for table in tables}

    async def normalize_id(self, table: str, text: str) -> str | None:
        """``text`` as an id of this table, in its one spelling, or ``None`` when it is not one."""
        parsed = parse_document_id(text)
        if parsed is None or await self._tables.number(table) != parsed.table:
            return None
        return parsed.text

    async def scan(
        self, table: str, index: str | Index, bounds: Bounds, order: Order, cursor: bytes | None, limit: int
    ) -> Scanned:
        """At most ``limit`` documents of a range of an index; fewer when they are large."""
        if limit < 1:
            raise SyscallRefused(f"a scan reads one document or more, not {limit}")
        if not isinstance(index, Index):
            index = built_in_index(table, index)
        number = await self._tables.number(table)
        if number is None:
            return Scanned([], None)
        span = span_of(await self._prefix(table, number, index), bounds, order)
        if cursor is not None:
            span = rest(span, order, cursor)
        if span.lower >= span.upper:
            return Scanned([], None)
        return await self._scan(span, order, min(limit, _PAGE_DOCUMENTS))

    async def _prefix(self, table: str, number: int, index: Index) -> bytes:
        place = built_in_number(index.fields)
        if place is None:
            place = (await self._tables.rules(number)).number(index.fields)
        if place is None:
            raise SyscallRefused(
                f"index {index.name!r} of table {table!r} is gone with the version that declared it: try again",
                "RuntimeError",
            )
        return index_prefix(number, place)

    async def _scan(self, span: KeyRange, order: Order, limit: int) -> Scanned:
        page = await self._snapshot.read(span, order, limit, min(_PAGE_BYTES, max(self._reads.bytes_left, 0)))
        self._require_open()
        merged = self._merge(page, span, order)
        complete = page.complete and len(merged) <= limit
        if not complete:
            # What lies behind the last document was not looked at, and may change without harm.
            last = merged[limit - 1][0] if len(merged) >= limit else page.entries[-1][0]
            span = read_part(span, order, last)
        documents = [document for _, document in merged[:limit]]
        self._reads.add(span, max(len(documents), len(page.entries)), sum(map(len, documents)))
        middle = merged[(len(documents) - 1) // 2][0] if len(documents) > 1 else None
        return Scanned(documents, None if complete else last, middle)

    def _merge(self, page: Page, span: KeyRange, order: Order) -> list[tuple[bytes, bytes]]:
        written = self._pending.within(seen_of(span, page, order))
        return merge(page, written, order) if written else page.entries

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
        number = await self._tables.number(table)
        if number is None:
            await self._tables.create([table], self._origin.random, self.now)
            number = await self._tables.number(table)
        assert number is not None, "it was made a moment ago"
        if number < FIRST_TABLE:
            raise SyscallRefused(f"table {table!r} is the system's: it can be read with ctx.db.system")
        rules = await self._tables.rules(number)
        numbers = await self._tables.numbers(rules)
        self._require_open()
        id, creation_time = self.new_document(number)
        encoded = encode_document(fields, id.text, creation_time)
        self._tables.check(id, rules, numbers, fields)
        keys = rules.keys(id, {**fields, CREATION_TIME: creation_time})
        self._put(keys[0], Write((), keys, encoded))
        return id.text

    def new_document(self, table: int) -> tuple[DocumentId, float]:
        """The id and the creation time of a document that is about to be added: later than that of any seen here."""
        place = self._place
        seen = self._creation_time if place is None else place.latest
        self._creation_time = max(self.now, math.nextafter(seen, math.inf))
        if place is not None:
            place.latest = self._creation_time
        return make_document_id(table, self._origin.random.next()), self._creation_time

    async def patch(self, id: str, fields: Document, removed: list[str]) -> None:
        """Set some fields of a document and remove others; raise `SyscallRefused` when it does not exist."""
        found = await self._require_document(id, "patch")
        changed = {**without_system(found.current), **own_fields(fields, found.current)}
        for name in removed:
            if name in found.current and name.startswith("_"):
                raise SyscallRefused(f"the field {name} is set by the system: it cannot be removed")
            changed.pop(name, None)
        self._rewrite(found, changed)

    async def replace(self, id: str, document: Document) -> None:
        """Put other fields in the place of a document's; raise `SyscallRefused` when it does not exist."""
        found = await self._require_document(id, "replace")
        self._rewrite(found, own_fields(document, found.current))

    async def delete(self, id: str) -> None:
        """Remove a document; raise `SyscallRefused` when it does not exist."""
        found = await self._require_document(id, "delete")
        key = id_key(found.id)
        self._put(key, Write(self._keys_before(key, found), (), None))

    def _rewrite(self, found: "_Found", fields: Document) -> None:
        id, rules, creation_time = found.id, found.rules, found.current[CREATION_TIME]
        encoded = encode_document(fields, id.text, creation_time)
        self._tables.check(id, rules, found.numbers, fields)
        keys = rules.keys(id, {**fields, CREATION_TIME: creation_time})
        self._put(keys[0], Write(self._keys_before(keys[0], found), keys, encoded))

    def _put(self, key: bytes, write: Write) -> None:
        self._pending.put(key, write)
        if self._place is not None:
            self._place.show(key, write)

    def _keys_before(self, key: bytes, found: "_Found") -> tuple[bytes, ...]:
        pending = self._pending.find(key)
        return found.rules.keys_before(found.id, found.current) if pending is None else pending.before

    async def _require_document(self, id: str, verb: str) -> "_Found":
        parsed = _require_id(id)
        if parsed.table < FIRST_TABLE:
            raise SyscallRefused(f"cannot {verb} {parsed.text}: there is no document with this id")
        rules = await self._tables.rules(parsed.table)
        numbers = await self._tables.numbers(rules)
        found = await self._find(id_key(parsed))
        self._require_open()
        if found is None:
            raise SyscallRefused(f"cannot {verb} {parsed.text}: there is no document with this id")
        return _Found(parsed, values.decode(found), rules, numbers)

    # --- records of the system, which no tenant sees ------------------------------------------------------------------

    async def find_record(self, key: bytes) -> bytes | None:
        """What is kept under this key."""
        return await self._find(key)

    async def records(self, span: KeyRange, most: int, order: Order = Order.ASCENDING) -> list[bytes]:
        """The first records of a range."""
        return (await self._scan(span, order, most)).documents

    async def count(self, span: KeyRange, most: int) -> int:
        """How many records the snapshot holds there, up to ``most``. Nobody loses when that changes."""
        return await self._snapshot.count(span, most)

    def charge(self, size: int) -> None:
        """Count what is written for the tenant as a record; raise `SyscallRefused` past a limit."""
        self._pending.charge(size)

    def put_record(self, before: tuple[bytes, ...], after: tuple[bytes, ...], content: bytes | None) -> None:
        """Keep a record under the keys ``after``, in the place of one that was found under ``before``."""
        self._require_open()
        key = (before or after)[0]
        pending = self._pending.find(key)
        self._pending.place(key, Write(before if pending is None else pending.before, after, content))

    def _require_open(self) -> None:
        if self._ended:
            advice = "await every call of ctx.db before the function returns"
            raise SyscallRefused(f"this transaction has ended: {advice}", "RuntimeError")


class _Found(NamedTuple):
    """A document that is about to change, and what is true of its table."""

    id: DocumentId
    current: Document
    rules: TableRules
    numbers: dict[str, int | None]


def _require_id(id: str) -> DocumentId:
    parsed = parse_document_id(id)
    if parsed is None:
        raise SyscallRefused(f"{id[:80]!r} is not the id of a document")
    return parsed
