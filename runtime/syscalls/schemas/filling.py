"""How is something done to every document of a table while it is being used?

In pieces: each is one small transaction that reads some documents, and writes where they stand in an index. Between two
pieces the loop does other things, and others write.

Rules
1. A piece says of its documents that it has read them, and nothing of what lies between: a document that is added
   meanwhile is written by the rules of now, and looks after itself.
2. A piece that has lost a race is tried again, smaller. A document that others write all the time is put into its place
   by them.
3. Documents are walked by creation time, which never changes, so none is missed and none is met twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from runtime.document_ids import DocumentId, parse_document_id
from runtime.errors import CommitConflict
from runtime.index_keys import LAST, NEXT, index_prefix
from runtime.names import DeploymentName
from runtime.ports import DocumentStore, KeyRange, Order, Write
from runtime.protocol import values
from runtime.syscalls.document_rules import without_system
from runtime.syscalls.pending import Pending, Reads
from runtime.syscalls.schemas.catalog import BY_CREATION_TIME, TableRules, compare, id_key
from runtime.syscalls.schemas.tables import RulesMemo, Tables

T = TypeVar("T")

_PIECE = 128
_PIECE_BYTES = 256 * 1024
_ATTEMPTS = 1_000


class DoesNotFit(Exception):
    """A document does not fit the schema that is asked for; the message names it and the field."""


class Sitting:
    """One transaction of our own: no limits of a tenant, and the range that was read is ours to name."""

    def __init__(self, memo: RulesMemo, snapshot: Any) -> None:
        self.snapshot = snapshot
        self.reads = Reads()
        self.pending = Pending()
        self.tables = Tables(memo, snapshot, self.reads, self.pending)


class Work:
    """Sittings on one deployment's documents, until they succeed."""

    def __init__(self, store: DocumentStore, memo: RulesMemo, name: DeploymentName) -> None:
        self._store = store
        self._memo = memo
        self._name = name

    async def sit(self, what: Callable[[Sitting], Awaitable[T]]) -> T:
        """Do this in one transaction, again when it loses a race."""
        for _ in range(_ATTEMPTS):
            done, result = await self._try(what)
            if done:
                return result
            await asyncio.sleep(0)
        raise CommitConflict("_schema")

    async def _try(self, what: Callable[[Sitting], Awaitable[T]]) -> tuple[bool, T]:
        sitting = Sitting(self._memo, await self._store.snapshot(self._name))
        try:
            result = await what(sitting)
        except BaseException:
            sitting.snapshot.release()
            raise
        writes = sitting.pending.writes()
        if not writes:
            sitting.snapshot.release()
            return True, result
        return not isinstance(await sitting.snapshot.commit(sitting.reads.ranges, writes), KeyRange), result

    async def fill(self, table: int) -> None:
        """Put every document of a table into the indexes that are being built, and compare it with what is pending.

        Raises `DoesNotFit` for the first document that does not.
        """
        prefix = index_prefix(table, BY_CREATION_TIME)
        await self._walk(KeyRange(prefix, prefix + LAST), lambda sitting, page: _fill(sitting, table, page))

    async def clear(self, table: int, index: int) -> None:
        """Take every document of a table out of an index that is going."""
        prefix = index_prefix(table, index)
        await self._walk(KeyRange(prefix, prefix + LAST), _clear)

    async def _walk(self, span: KeyRange, do: Callable[[Sitting, list[tuple[bytes, bytes]]], Awaitable[None]]) -> None:
        most, complete = _PIECE, False
        while not complete:
            sought, asked = span, most

            async def piece(sitting: Sitting, sought: KeyRange = sought, asked: int = asked) -> KeyRange | None:
                page = await sitting.snapshot.read(sought, Order.ASCENDING, asked, _PIECE_BYTES)
                await do(sitting, page.entries)
                return None if page.complete else KeyRange(page.entries[-1][0] + NEXT, sought.upper)

            done, rest = await self._try(piece)
            if done:
                complete, span, most = rest is None, rest or span, min(_PIECE, most * 2)
            else:
                most = max(1, most // 2)
            # Whoever waited has the loop now.
            await asyncio.sleep(0)


async def _fill(sitting: Sitting, table: int, page: list[tuple[bytes, bytes]]) -> None:
    rules = await sitting.tables.rules(table)
    if rules.catalog.misfit is not None:
        raise DoesNotFit(rules.catalog.misfit)
    numbers = await sitting.tables.numbers(rules)
    for _, content in page:
        document = values.decode(content)
        id = _id(document)
        misfit = compare(rules.pending, without_system(document), numbers)
        if misfit is not None:
            raise DoesNotFit(f"document {id.text}: {misfit.text('document')}")
        missing = await _missing(sitting, rules, id, document)
        if missing:
            key = id_key(id)
            sitting.reads.add(KeyRange(key, key + NEXT), 0, 0)
            sitting.pending.put(key, Write((key,), (key, *missing), content))


async def _missing(sitting: Sitting, rules: TableRules, id: DocumentId, document: dict[str, Any]) -> list[bytes]:
    """The places that it has not been put into yet, by us or by whoever has written it since."""
    missing = []
    for key in rules.keys_to_fill(id, document):
        page = await sitting.snapshot.read(KeyRange(key, key + NEXT), Order.ASCENDING, 1, 1)
        if not page.entries:
            missing.append(key)
    return missing


async def _clear(sitting: Sitting, page: list[tuple[bytes, bytes]]) -> None:
    places: dict[bytes, tuple[bytes, list[bytes]]] = {}
    for place, content in page:
        key = id_key(_id(values.decode(content)))
        places.setdefault(key, (content, []))[1].append(place)
    for key, (content, gone) in places.items():
        sitting.reads.add(KeyRange(key, key + NEXT), 0, 0)
        sitting.pending.put(key, Write((key, *gone), (key,), content))


def _id(document: dict[str, Any]) -> DocumentId:
    id = parse_document_id(document["_id"])
    assert id is not None, "a stored document has the id of one"
    return id
