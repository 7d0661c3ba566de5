"""What is in a table, and how does an administrator change one document?

Each is a transaction like a function's, with a function's limits and the same schema.

Rules
1. A page is one moment. With conditions it may hold fewer documents than asked for, or none, and still not be the last.
2. A write that lost a race is tried again; what cannot be stored is the caller's mistake and says which field.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from control_plane.data.filters import Condition
from control_plane.refusals import InvalidField
from runtime import limits
from runtime.document_ids import parse_document_id
from runtime.errors import CommitConflict, NotFound, SyscallRefused
from runtime.names import DeploymentName, InvalidName, parse_table_name
from runtime.ports import Order
from runtime.protocol import values
from runtime.syscalls.reading.spans import Bounds
from runtime.syscalls.restoring import Restoring
from runtime.syscalls.schemas.catalog import TableCatalog, TableRules
from runtime.syscalls.transaction import Transaction, Transactions

T = TypeVar("T")

_EVERYTHING = Bounds([], True, [], True)
_PIECE = 256
_LOOKED_AT = 4_096
_LOOKED_AT_BYTES = 4 * limits.MIB
_COUNTED = 1_000


class TablePage(NamedTuple):
    """Some documents, and where to go on; ``None`` at the end."""

    documents: list[dict[str, Any]]
    cursor: str | None


class TableFacts(NamedTuple):
    """A table: how many documents it has (``more`` when there are more than were counted), its indexes, its schema."""

    name: str
    documents: int
    more: bool
    indexes: list[list[str]]
    schema: Any


class Browsing:
    """The documents of every deployment."""

    def __init__(self, transactions: Transactions, restoring: Restoring) -> None:
        self._transactions = transactions
        self._restoring = restoring

    async def tables(self, name: DeploymentName) -> list[TableFacts]:
        """Every table, by name."""
        found = []
        for table, known in sorted((await self._restoring.tables(name)).items()):
            count, more = await self._count(name, table)
            indexes = [list(index.fields) for index in known.catalog.indexes]
            found.append(TableFacts(table, count, more, indexes, known.catalog.enforced))
        return found

    async def page(
        self,
        name: DeploymentName,
        table: str,
        order: Order,
        cursor: str | None,
        limit: int,
        conditions: Sequence[Condition],
    ) -> TablePage:
        """One page of a table; raise `NotFound`."""
        place = _open(cursor)
        transaction = await self._transactions.begin(name)
        try:
            await _require(transaction, table)
            found: list[dict[str, Any]] = []
            looked_at, size = 0, 0
            while True:
                asked = _PIECE if conditions else limit - len(found)
                scanned = await transaction.scan(table, "by_creation_time", _EVERYTHING, order, place, asked)
                for content in scanned.documents:
                    document: dict[str, Any] = values.decode(content)
                    looked_at, size = looked_at + 1, size + len(content)
                    if all(condition.holds(document) for condition in conditions):
                        found.append(document)
                        if conditions and len(found) == limit:
                            return TablePage(found, _seal(_place_of(document)))
                place = scanned.cursor
                if place is None or len(found) >= limit or looked_at >= _LOOKED_AT or size >= _LOOKED_AT_BYTES:
                    return TablePage(found, None if place is None else _seal(place))
        finally:
            transaction.abandon()

    async def get(self, name: DeploymentName, table: str, id: str) -> dict[str, Any]:
        """One document; raise `NotFound`."""
        transaction = await self._transactions.begin(name)
        try:
            content = await transaction.get(await _require_id(transaction, table, id))
        finally:
            transaction.abandon()
        if content is None:
            raise NotFound(f"there is no document {id} in table {table!r}")
        document: dict[str, Any] = values.decode(content)
        return document

    async def insert(self, name: DeploymentName, table: str, document: dict[str, Any]) -> str:
        """Add a document and say its id. A table comes into being with its first document."""
        _require_name(table)

        async def change(transaction: Transaction) -> str:
            return await transaction.insert(table, document)

        return await self._change(name, change)

    async def patch(
        self, name: DeploymentName, table: str, id: str, fields: dict[str, Any], removed: Sequence[str]
    ) -> None:
        """Set some fields and remove others; raise `NotFound`."""

        async def change(transaction: Transaction) -> None:
            found = await _require_document(transaction, table, id)
            await transaction.patch(found, fields, list(removed))

        await self._change(name, change)

    async def delete(self, name: DeploymentName, table: str, id: str) -> None:
        """Remove a document; raise `NotFound`."""

        async def change(transaction: Transaction) -> None:
            await transaction.delete(await _require_document(transaction, table, id))

        await self._change(name, change)

    async def _change(self, name: DeploymentName, change: Callable[[Transaction], Awaitable[T]]) -> T:
        for attempt in range(limits.COMMIT_ATTEMPTS):
            transaction = await self._transactions.begin(name)
            try:
                result = await change(transaction)
                await transaction.commit()
                return result
            except SyscallRefused as refused:
                raise InvalidField("document", str(refused)) from None
            except CommitConflict:
                if attempt == limits.COMMIT_ATTEMPTS - 1:
                    raise
            finally:
                transaction.abandon()
        raise AssertionError("the last attempt has raised")

    async def _count(self, name: DeploymentName, table: str) -> tuple[int, bool]:
        transaction = await self._transactions.begin(name)
        try:
            found, place = 0, None
            while True:
                piece = await transaction.scan(
                    table, "by_creation_time", _EVERYTHING, Order.ASCENDING, place, _COUNTED + 1 - found
                )
                found, place = found + len(piece.documents), piece.cursor
                if found > _COUNTED:
                    return _COUNTED, True
                if place is None:
                    return found, False
        except SyscallRefused:
            return found, True  # they are large: what was read is what one transaction may read
        finally:
            transaction.abandon()


def _require_name(table: str) -> None:
    try:
        parse_table_name(table)
    except InvalidName as error:
        raise InvalidField("table", str(error)) from None


async def _require(transaction: Transaction, table: str) -> None:
    _require_name(table)
    if (await transaction.table_numbers([table]))[table] is None:
        raise NotFound(f"there is no table {table!r}")


async def _require_id(transaction: Transaction, table: str, id: str) -> str:
    await _require(transaction, table)
    found = await transaction.normalize_id(table, id)
    if found is None:
        raise NotFound(f"{id[:80]!r} is not the id of a document of table {table!r}")
    return found


async def _require_document(transaction: Transaction, table: str, id: str) -> str:
    found = await _require_id(transaction, table, id)
    if await transaction.get(found) is None:
        raise NotFound(f"there is no document {id} in table {table!r}")
    return found


def _place_of(document: dict[str, Any]) -> bytes:
    """Where a document stands in the order of creation."""
    id = parse_document_id(document["_id"])
    assert id is not None, "a stored document has the id of one"
    return TableRules(id.table, TableCatalog("")).keys(id, document)[1]


def _seal(place: bytes) -> str:
    return base64.urlsafe_b64encode(place).decode()


def _open(cursor: str | None) -> bytes | None:
    try:
        return None if cursor is None else base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidField("cursor", "this cursor is none: begin again without one") from None
