"""How does a guest read and write documents?

The ``db.*`` entries: arguments are decoded and looked at here, the work is done by the caller's `Transaction`. Knows no
index and no storage.

Rules
1. Every argument is hostile. A value that is none is refused with its path; nothing is believed because the guest's own
   runtime would have refused it.
2. Documents leave as they are stored, encoded; they are never decoded only to be encoded again.
3. Reading is for queries and mutations, writing for mutations.
"""

from typing import Any

import msgspec

from runtime.errors import SyscallRefused
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.document_rules import Document
from runtime.syscalls.table import MUTATIONS, QUERIES, Caller, Entry
from runtime.syscalls.transaction import Bounds

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
    """``db.scan``: part of an index, in its order; ``cursor`` is from an earlier answer of this transaction."""

    table: str
    index: str
    lower: msgspec.Raw
    lower_inclusive: bool
    upper: msgspec.Raw
    upper_inclusive: bool
    order: Order
    cursor: bytes | None
    limit: int


async def _get(caller: Caller, arguments: GetArguments) -> bytes:
    return await caller.require_transaction().get(arguments.id) or _NONE


async def _normalize_id(caller: Caller, arguments: NormalizeArguments) -> bytes:
    return _encoder.encode(await caller.require_transaction().normalize_id(arguments.table, arguments.text))


async def _scan(caller: Caller, arguments: ScanArguments) -> bytes:
    bounds = Bounds(
        _list(arguments.lower, "lower bound"),
        arguments.lower_inclusive,
        _list(arguments.upper, "upper bound"),
        arguments.upper_inclusive,
    )
    found = await caller.require_transaction().scan(
        arguments.table, arguments.index, bounds, arguments.order, arguments.cursor, arguments.limit
    )
    documents = [msgspec.Raw(document) for document in found.documents]
    return _encoder.encode({"documents": documents, "cursor": found.cursor})


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
    Entry("db.scan", ScanArguments, QUERIES, _scan),
    Entry("db.insert", InsertArguments, MUTATIONS, _insert),
    Entry("db.patch", PatchArguments, MUTATIONS, _patch),
    Entry("db.replace", ReplaceArguments, MUTATIONS, _replace),
    Entry("db.delete", GetArguments, MUTATIONS, _delete),
)


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
