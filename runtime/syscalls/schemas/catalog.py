"""What is true of one table now?

The schema that its documents must fit, the one that a push is about to ask for, and its indexes with what is being done
about them. Kept among the documents, one entry for each table, and read by every transaction that writes to the table
or walks along one of its indexes: who changes it makes everybody lose who decided by what was there before.

Rules
1. An index is known by its fields. Versions may call it different names, and two may call different ones the same.
2. A document's keys are written for indexes that are built or being built, and taken away for those that go.
3. Numbers of indexes are never used twice, so a key that is left behind belongs to nobody.
"""

from enum import StrEnum
from typing import Any

import msgspec

from runtime.document_ids import DocumentId
from runtime.index_keys import MISSING, encode, encode_value, index_prefix
from runtime.syscalls.schemas.document_types import DocumentType, Look, Misfit, Reader, Tables

CATALOG = 3
"""The number of the table in which this is kept; 1 is the registry of tables, 2 the tickets of sync clients."""

BY_ID = 0
BY_CREATION_TIME = 1
_FIRST_INDEX = 2
_LAST_INDEX = 0xFFFF

CREATION_TIME = "_creationTime"
BUILT_IN: dict[str, tuple[str, ...]] = {"by_id": ("_id",), "by_creation_time": (CREATION_TIME,)}
_BUILT_IN_NUMBERS: dict[tuple[str, ...], int] = {("_id",): BY_ID, (CREATION_TIME,): BY_CREATION_TIME}


class IndexState(StrEnum):
    """What is being done about an index."""

    BUILDING = "building"
    READY = "ready"
    GOING = "going"


class CatalogIndex(msgspec.Struct, frozen=True, array_like=True):
    """One index: its number in the keys, its fields (without the creation time), its state."""

    number: int
    fields: tuple[str, ...]
    state: IndexState


class TableCatalog(msgspec.Struct, frozen=True, array_like=True):
    """One table. ``enforced`` and ``pending`` are validators as JSON; ``misfit`` is why what is pending cannot be."""

    name: str
    indexes: tuple[CatalogIndex, ...] = ()
    next_index: int = _FIRST_INDEX
    enforced: Any = None
    pending: Any = None
    misfit: str | None = None

    def with_index(self, fields: tuple[str, ...]) -> "TableCatalog":
        """The same table, with this index begun."""
        if self.next_index > _LAST_INDEX:
            raise OverflowError(f"table {self.name!r} has had {_LAST_INDEX} indexes; move its documents to a new one")
        begun = CatalogIndex(self.next_index, fields, IndexState.BUILDING)
        return msgspec.structs.replace(self, indexes=(*self.indexes, begun), next_index=self.next_index + 1)

    def wanted(self, fields: tuple[str, ...]) -> CatalogIndex | None:
        """The index of these fields, unless it is going."""
        return next((one for one in self.indexes if one.fields == fields and one.state is not IndexState.GOING), None)


_decoder = msgspec.msgpack.Decoder(TableCatalog)
encode_catalog = msgspec.msgpack.Encoder().encode


def catalog_key(table: int) -> bytes:
    """Where the catalog of a table is kept."""
    return index_prefix(CATALOG, 0) + encode_value(table)


def decode_catalog(data: bytes) -> TableCatalog:
    """Read what `encode_catalog` wrote."""
    return _decoder.decode(data)


class _Place:
    """How a document's key in one index is made."""

    __slots__ = ("_paths", "_prefix")

    def __init__(self, table: int, index: CatalogIndex) -> None:
        self._prefix = index_prefix(table, index.number)
        self._paths = [field.split(".") for field in index.fields]

    def key(self, document: dict[str, Any], tail: bytes) -> bytes:
        return self._prefix + encode(_at(document, path) for path in self._paths) + tail


def _at(document: Any, path: list[str]) -> Any:
    for name in path:
        if type(document) is not dict or name not in document:
            return MISSING
        document = document[name]
    return document


class TableRules:
    """A catalog, ready to be used for the documents of its table."""

    __slots__ = ("_building", "_going", "_kept", "_numbers", "catalog", "enforced", "pending", "tables")

    def __init__(self, table: int, catalog: TableCatalog) -> None:
        reader = Reader()
        self.catalog = catalog
        self.enforced = _read(reader, catalog.enforced)
        # What has been found not to fit need not be looked for again.
        self.pending = None if catalog.misfit is not None else _read(reader, catalog.pending)
        self.tables = frozenset(reader.tables)
        self._numbers = {one.fields: one.number for one in catalog.indexes if one.state is IndexState.READY}
        places = {state: [_Place(table, one) for one in catalog.indexes if one.state is state] for state in IndexState}
        self._building, self._going = places[IndexState.BUILDING], places[IndexState.GOING]
        self._kept = places[IndexState.READY] + self._building

    def number(self, fields: tuple[str, ...]) -> int | None:
        """The number of the index of these fields, if it may be read."""
        return self._numbers.get(fields)

    def keys(self, id: DocumentId, document: dict[str, Any]) -> tuple[bytes, ...]:
        """Where a document is to stand; its first key names it."""
        tail = _tail(id, document)
        first = id_key(id), index_prefix(id.table, BY_CREATION_TIME) + tail
        return (*first, *[place.key(document, tail) for place in self._kept]) if self._kept else first

    def keys_before(self, id: DocumentId, document: dict[str, Any]) -> tuple[bytes, ...]:
        """Where a document may stand that was written before."""
        keys = self.keys(id, document)
        if not self._going:
            return keys
        tail = _tail(id, document)
        return (*keys, *[place.key(document, tail) for place in self._going])

    def keys_to_fill(self, id: DocumentId, document: dict[str, Any]) -> list[bytes]:
        """Where a document is to stand in the indexes that are being built."""
        tail = _tail(id, document)
        return [place.key(document, tail) for place in self._building]


def _tail(id: DocumentId, document: dict[str, Any]) -> bytes:
    return encode_value(document[CREATION_TIME]) + encode_value(id.random)


def id_key(id: DocumentId) -> bytes:
    """The key that names a document."""
    return index_prefix(id.table, BY_ID) + encode_value(id.text)


def built_in_number(fields: tuple[str, ...]) -> int | None:
    """The number of an index that every table has."""
    return _BUILT_IN_NUMBERS.get(fields)


def compare(kind: DocumentType | None, fields: dict[str, Any], tables: Tables) -> Misfit | None:
    """Where a document's own fields do not fit."""
    return None if kind is None else kind.misfit(fields, Look(tables))


def _read(reader: Reader, written: Any) -> DocumentType | None:
    return None if written is None else reader.read(written)
