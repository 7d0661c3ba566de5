"""How does a guest read and write documents?

The ``db.*`` entries: arguments are decoded and looked at here, the work is done by the caller's `Transaction`. Which
index a name means is said by the version that asks. Knows no storage.

Rules
1. Every argument is hostile. A value that is none is refused with its path; nothing is believed because the guest's own
   runtime would have refused it.
2. Documents leave as they are stored, encoded; they are never decoded only to be encoded again.
3. Reading is for queries and mutations, writing for mutations.
"""

from dataclasses import replace
from typing import Any

import msgspec

from runtime.errors import SyscallRefused
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.document_rules import Document
from runtime.syscalls.reading.cursors import END, question_of
from runtime.syscalls.reading.spans import Index, bounds_of, position_of
from runtime.syscalls.schemas.catalog import BUILT_IN
from runtime.syscalls.table import MUTATIONS, QUERIES, Caller, Entry
from runtime.syscalls.transaction import Scanned, Transaction

_NONE = msgspec.msgpack.encode(None)
_encoder = msgspec.msgpack.Encoder()


class _Arguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array with exactly these items."""


class GetArguments(_Arguments, frozen=True):
    """``db.get [id]`` and ``db.delete [id]``."""

    id: str


class NormalizeArguments(_Arguments, frozen=True):
    """``db.normalize_id [table, text]``."""

    table: str
    text: str


class InsertArguments(_Arguments, frozen=True):
    """``db.insert [table, document]``."""

    table: str
    document: msgspec.Raw


class PatchArguments(_Arguments, frozen=True):
    """``db.patch [id, fields, removed]``."""

    id: str
    fields: msgspec.Raw
    removed: list[str]


class ReplaceArguments(_Arguments, frozen=True):
    """``db.replace [id, document]``."""

    id: str
    document: msgspec.Raw


class ScanArguments(_Arguments, frozen=True):
    """``db.scan``: part of an index, in its order; ``cursor`` is from an earlier answer of this transaction.

    ``range`` is a list of ``[verb, field, value]``, or ``[verb, field]`` for a field that is missing.
    """

    table: str
    index: str
    range: msgspec.Raw
    order: Order
    cursor: bytes | None
    limit: int


class PageArguments(_Arguments, frozen=True):
    """``db.page``: the same for a client that reads page by page. ``first`` is said once for each page.

    ``cursor`` and ``end`` are sealed, and bound to the question: what comes after the one, up to and with the other.
    """

    table: str
    index: str
    range: msgspec.Raw
    order: Order
    cursor: str | None
    end: str | None
    limit: int
    first: bool


async def _get(caller: Caller, arguments: GetArguments) -> bytes:
    return await caller.require_transaction().get(arguments.id) or _NONE


async def _normalize_id(caller: Caller, arguments: NormalizeArguments) -> bytes:
    return _encoder.encode(await caller.require_transaction().normalize_id(arguments.table, arguments.text))


async def _get_system(caller: Caller, arguments: GetArguments) -> bytes:
    return await caller.require_transaction().get_system(arguments.id) or _NONE


async def _scan(caller: Caller, arguments: ScanArguments) -> bytes:
    index = _index(caller, arguments.table, arguments.index)
    bounds = bounds_of(arguments.table, index, _list(arguments.range, "range"))
    found = await caller.require_transaction().scan(
        arguments.table, index, bounds, arguments.order, arguments.cursor, arguments.limit
    )
    documents = [msgspec.Raw(document) for document in found.documents]
    return _encoder.encode({"documents": documents, "cursor": found.cursor})


async def _page(caller: Caller, arguments: PageArguments) -> bytes:
    transaction, table, order = caller.require_transaction(), arguments.table, arguments.order
    index = _index(caller, table, arguments.index)
    bounds = bounds_of(table, index, _list(arguments.range, "range"))
    question = question_of(transaction.name, table, index, bounds, order)
    cursors = transaction.cursors
    after = None if arguments.cursor is None else cursors.open(question, arguments.cursor)
    end = _end(transaction, arguments)
    until = None if end is None else cursors.open(question, end)
    found = Scanned([], None)
    if after is not END:
        bounds = replace(bounds, after=after, until=None if until is END else until)
        found = await transaction.scan(table, index, bounds, order, None, arguments.limit)
    complete = found.cursor is None
    here = END if found.cursor is None else position_of(found.cursor)
    cursor = end if complete and end is not None else cursors.seal(question, here)
    if transaction.paginations == 1:
        transaction.journal = end or cursor
    return _encoder.encode(
        {
            "documents": [msgspec.Raw(document) for document in found.documents],
            "cursor": cursor,
            "middle": None if found.middle is None else cursors.seal(question, position_of(found.middle)),
            "end": end,
            "complete": complete,
            "last": complete and (end is None or until is END),
        }
    )


def _end(transaction: Transaction, arguments: PageArguments) -> str | None:
    """Where a page ends: where it was asked to, or else where it ended when it was read before."""
    if arguments.first:
        transaction.paginations += 1
        if transaction.paginations == 1 and arguments.end is None:
            return transaction.journal
    return arguments.end


async def _insert(caller: Caller, arguments: InsertArguments) -> bytes:
    document = _dict(arguments.document, "document")
    return _encoder.encode(await caller.require_transaction().insert(arguments.table, document))


async def _patch(caller: Caller, arguments: PatchArguments) -> bytes:
    fields = _dict(arguments.fields, "fields of a patch")
    await caller.require_transaction().patch(arguments.id, fields, arguments.removed)
    return _NONE


async def _replace(caller: Caller, arguments: ReplaceArguments) -> bytes:
    await caller.require_transaction().replace(arguments.id, _dict(arguments.document, "document"))
    return _NONE


async def _delete(caller: Caller, arguments: GetArguments) -> bytes:
    await caller.require_transaction().delete(arguments.id)
    return _NONE


ENTRIES: tuple[Entry[Any], ...] = (
    Entry("db.get", GetArguments, QUERIES, _get),
    Entry("db.normalize_id", NormalizeArguments, QUERIES, _normalize_id),
    Entry("db.get_system", GetArguments, QUERIES, _get_system),
    Entry("db.scan", ScanArguments, QUERIES, _scan),
    Entry("db.page", PageArguments, QUERIES, _page),
    Entry("db.insert", InsertArguments, MUTATIONS, _insert),
    Entry("db.patch", PatchArguments, MUTATIONS, _patch),
    Entry("db.replace", ReplaceArguments, MUTATIONS, _replace),
    Entry("db.delete", GetArguments, MUTATIONS, _delete),
)


def _index(caller: Caller, table: str, name: str) -> Index:
    fields = BUILT_IN.get(name) or caller.version.indexes.get((table, name))
    if fields is None:
        there = [*BUILT_IN, *(index for of, index in caller.version.indexes if of == table)]
        raise SyscallRefused(f"table {table[:80]!r} has no index {name[:80]!r}: there are {', '.join(there)}")
    return Index(name, fields)


def _value(raw: msgspec.Raw, what: str) -> Any:
    try:
        return values.decode(raw)
    except values.InvalidValue as invalid:
        raise SyscallRefused(f"{what}: {invalid}") from None


def _dict(raw: msgspec.Raw, what: str) -> Document:
    value = _value(raw, what)
    if type(value) is not dict:
        raise SyscallRefused(f"{what}: needs a dict, not {type(value).__name__}", "TypeError")
    return value


def _list(raw: msgspec.Raw, what: str) -> list[Any]:
    value = _value(raw, what)
    if type(value) is not list:
        raise SyscallRefused(f"{what}: needs a list, not {type(value).__name__}", "TypeError")
    return value
