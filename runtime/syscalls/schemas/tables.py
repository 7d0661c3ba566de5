"""Which tables are there, and what is true of them?

A table comes into being with its first document, or with a push whose schema names it. The registry of tables is a
table like others (number 1), and what is true of one is kept beside it (`schemas.catalog`): both are read and written
by the rules of every transaction.

Rules
1. That a table is missing, and what its catalog says, is read: who decided by it loses when it changes.
2. Numbers below ``FIRST_TABLE`` are the system's and do not exist for tenants; some of those can be read by name.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from runtime import limits
from runtime.document_ids import DocumentId, RandomBytes, make_document_id
from runtime.errors import SyscallRefused
from runtime.index_keys import LAST, NEXT, encode_value, index_prefix
from runtime.names import InvalidName, parse_table_name
from runtime.ports import KeyRange, Order, Snapshot, Write
from runtime.protocol import values
from runtime.syscalls.document_rules import encode_document
from runtime.syscalls.pending import Pending, Reads
from runtime.syscalls.schemas.catalog import (
    CATALOG,
    TableCatalog,
    TableRules,
    catalog_key,
    compare,
    decode_catalog,
    encode_catalog,
    id_key,
)
from runtime.syscalls.schemas.document_types import SYSTEM_TABLES

FIRST_TABLE = 32
TABLES = 1
BY_NAME = index_prefix(TABLES, 2)
BY_NUMBER = index_prefix(TABLES, 3)
_REGISTRY = KeyRange(BY_NUMBER, BY_NUMBER + LAST)
_CATALOGS = KeyRange(index_prefix(CATALOG, 0), index_prefix(CATALOG, 0) + LAST)
_REMEMBERED = 4_096
_PAGE = 1_024


class RulesMemo:
    """Rules that were made from a catalog, by its bytes: made once, for everybody who reads the same."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, bytes], TableRules] = {}

    def rules(self, table: int, encoded: bytes) -> TableRules:
        """The rules that this catalog means."""
        found = self._made.get((table, encoded))
        if found is None:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            found = self._made[table, encoded] = TableRules(table, decode_catalog(encoded))
        return found


class Known(NamedTuple):
    """A table that is there: its number, what is true of it, and whether that is written down."""

    number: int
    catalog: TableCatalog
    is_kept: bool


class Tables:
    """The tables as one transaction sees them."""

    __slots__ = ("_memo", "_pending", "_reads", "_rules", "_snapshot")

    def __init__(self, memo: RulesMemo, snapshot: Snapshot, reads: Reads, pending: Pending) -> None:
        self._memo = memo
        self._snapshot = snapshot
        self._reads = reads
        self._pending = pending
        self._rules: dict[int, TableRules] = {}

    async def number(self, table: str) -> int | None:
        """The number of a table, or ``None`` when there is none of this name."""
        known = self._snapshot.tables.get(table) or SYSTEM_TABLES.get(table)
        if known is not None:
            return known
        try:
            parse_table_name(table)
        except InvalidName as invalid:
            raise SyscallRefused(str(invalid)) from None
        key = BY_NAME + encode_value(table)
        page = await self._snapshot.read(KeyRange(key, key + NEXT), Order.ASCENDING, 1, 1)
        if page.entries:
            number: int = values.decode(page.entries[0][1])["number"]
            self._snapshot.tables[table] = number
            return number
        # That there is no such table is something this transaction relies on.
        self._reads.add(KeyRange(key, key + NEXT), 0, 0)
        return self.created(table)

    def created(self, table: str) -> int | None:
        """The number of a table that this transaction has made."""
        key = BY_NAME + encode_value(table)
        for _, document in self._pending.within(KeyRange(key, key + NEXT)):
            if document is not None:
                number: int = values.decode(document)["number"]
                return number
        return None

    async def create(self, tables: Sequence[str], random: RandomBytes, now: float) -> None:
        """Make these tables, but for those that another call of this transaction has made."""
        page = await self._snapshot.read(_REGISTRY, Order.DESCENDING, 1, 1)
        self._reads.add(_REGISTRY, 0, 0)
        last = [entry for entry in (*self._pending.within(_REGISTRY)[-1:], *page.entries) if entry[1] is not None]
        number = max((values.decode(entry)["number"] for _, entry in last if entry is not None), default=0)
        number = max(number + 1, FIRST_TABLE)
        for table in tables:
            if self.created(table) is not None:
                continue
            if number - FIRST_TABLE >= limits.TABLES:
                message = f"there are {limits.TABLES} tables, limit TABLES is {limits.TABLES}"
                raise SyscallRefused(message, "LimitExceeded")
            id = make_document_id(TABLES, random.next())
            keys = (id_key(id), BY_NAME + encode_value(table), BY_NUMBER + encode_value(number))
            document = encode_document({"name": table, "number": number}, id.text, now)
            self._pending.put(keys[0], Write((), keys, document))
            number += 1

    async def everything(self) -> "dict[str, Known]":
        """Every table there is, with its number and its catalog."""
        numbers = {
            str(registered["name"]): int(registered["number"])
            for registered in map(values.decode, await self._documents(_REGISTRY))
        }
        catalogs = {found.name: found for found in map(decode_catalog, await self._documents(_CATALOGS))}
        return {
            table: Known(number, catalogs.get(table, TableCatalog(table)), table in catalogs)
            for table, number in numbers.items()
        }

    async def _documents(self, span: KeyRange) -> list[bytes]:
        shown: dict[bytes, bytes | None] = {}
        part, complete = span, False
        while not complete:
            page = await self._snapshot.read(part, Order.ASCENDING, _PAGE, limits.READ_BYTES)
            shown.update(page.entries)
            complete = page.complete
            part = KeyRange(page.entries[-1][0] + NEXT, span.upper) if page.entries else part
        self._reads.add(span, 0, 0)
        shown.update(self._pending.within(span))
        return [document for document in shown.values() if document is not None]

    def keep(self, known: "Known", catalog: TableCatalog) -> None:
        """Let this be what is true of a table."""
        if catalog != known.catalog:
            key = catalog_key(known.number)
            self._pending.put(key, Write((key,) if known.is_kept else (), (key,), encode_catalog(catalog)))

    async def rules(self, number: int) -> TableRules:
        """What is true of a table."""
        known = self._rules.get(number)
        if known is None:
            key = catalog_key(number)
            span = KeyRange(key, key + NEXT)
            page = await self._snapshot.read(span, Order.ASCENDING, 1, 1)
            self._reads.add(span, 0, 0)
            encoded = page.entries[0][1] if page.entries else encode_catalog(TableCatalog(""))
            known = self._rules[number] = self._memo.rules(number, encoded)
        return known

    async def numbers(self, rules: TableRules) -> dict[str, int | None]:
        """The numbers of the tables whose ids a schema speaks of."""
        return {table: await self.number(table) for table in rules.tables} if rules.tables else {}

    def check(self, id: DocumentId, rules: TableRules, numbers: dict[str, int | None], fields: dict[str, Any]) -> None:
        """Compare a document with its table's schema, and with the one that a push is about to ask for."""
        misfit = compare(rules.enforced, fields, numbers)
        if misfit is not None:
            text = misfit.text("document")
            raise SyscallRefused(f"{text} (the schema of table {rules.catalog.name!r} says so)")
        misfit = compare(rules.pending, fields, numbers)
        if misfit is not None:
            self.keep_misfit(id.table, rules, f"document {id.text}: {misfit.text('document')}")

    def keep_misfit(self, number: int, rules: TableRules, text: str) -> None:
        """Remember, with this transaction, that a document does not fit the schema that a push is about to ask for."""
        if self._pending.find(catalog_key(number)) is None:
            known = Known(number, rules.catalog, is_kept=True)
            self.keep(known, msgspec.structs.replace(rules.catalog, misfit=text))
