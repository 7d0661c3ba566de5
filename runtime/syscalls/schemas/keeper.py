"""How does another schema come into force?

A push says what its tables look like. Before its code goes live the indexes that it needs are built, every document is
compared with what it asks for, and then one transaction makes it so; everybody who writes at that moment reads the
catalogs too, and has written by the old rules before it or writes by the new ones after it.

Rules
1. While documents are compared, who writes one that would not fit writes it all the same, and a note beside it: the
   push is refused, not the write.
2. An index that no version needs is taken down after the switch. Those of the version that was live before are kept for
   one more push: going back to it is instant, and calls of it that are still running find them.
3. Going back never refuses: documents that the newer version has written stay as they are, and writes are compared
   again.
4. What a crash leaves half done, the next push or rollback finishes.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import msgspec

from runtime.document_ids import RandomBytes
from runtime.errors import PushRefused, SyscallRefused, WarrenError
from runtime.names import DeploymentName
from runtime.ports import Clock, DocumentStore
from runtime.protocol.declaration import Diagnostic, SchemaDeclaration
from runtime.syscalls.schemas.catalog import CatalogIndex, IndexState
from runtime.syscalls.schemas.filling import DoesNotFit, Sitting, Work
from runtime.syscalls.schemas.tables import Known, RulesMemo

log = logging.getLogger("warren")

_EMPTY = SchemaDeclaration()


class Look(Enum):
    """What happens to the documents that are there."""

    COMPARED = "compared"  # one that does not fit refuses the change
    LEFT = "left"


class Schemas:
    """Brings schemas into force."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._memo = RulesMemo()
        self._random = RandomBytes()

    @asynccontextmanager
    async def changing(
        self,
        name: DeploymentName,
        new: SchemaDeclaration | None,
        old: SchemaDeclaration | None,
        look: Look = Look.COMPARED,
    ) -> AsyncIterator[None]:
        """Bring ``new`` into force, then do what stands in the ``with``; when that fails, ``old`` is in force again."""
        await self.prepare(name, new, old, look)
        try:
            yield
        except BaseException:
            await self.prepare(name, old, new, Look.LEFT)
            raise
        if new is not None or old is not None:
            try:
                await self._take_down(
                    name, lambda one, table: one.fields in _indexes(new, table) | _indexes(old, table)
                )
            except WarrenError as error:
                # The change has been made. What is left over, the next one takes down.
                log.warning("indexes of %s that nobody needs are still there: %s", name, error)

    async def prepare(
        self, name: DeploymentName, new: SchemaDeclaration | None, old: SchemaDeclaration | None, look: Look
    ) -> None:
        """Bring ``new`` into force, or raise `PushRefused` and leave ``old``; doing it twice is harmless."""
        if new is None and old is None:
            return
        schema, work = new or _EMPTY, Work(self._store, self._memo, name)
        try:
            await work.sit(lambda sitting: self._make_tables(sitting, schema))
            for table in await work.sit(lambda sitting: _announce(sitting, schema, look)):
                try:
                    await work.fill(table.number)
                except DoesNotFit as misfit:
                    raise _refusal(table.catalog.name, str(misfit)) from None
            await work.sit(lambda sitting: _switch(sitting, schema))
        except SyscallRefused as refused:
            raise PushRefused([Diagnostic("schema.py", 1, str(refused))]) from None
        except BaseException:
            await work.sit(_withdraw)
            await self._take_down(
                name, lambda index, table: index.state is IndexState.READY or index.fields in _indexes(old, table)
            )
            raise

    async def _make_tables(self, sitting: Sitting, schema: SchemaDeclaration) -> None:
        there = await sitting.tables.everything()
        missing = [table.name for table in schema.tables if table.name not in there]
        if missing:
            await sitting.tables.create(missing, self._random, self._clock.now())

    async def _take_down(self, name: DeploymentName, keeps: "Keeps") -> None:
        """Take down the indexes that need not be kept, and forget them."""
        work = Work(self._store, self._memo, name)
        going = await work.sit(lambda sitting: _give_notice(sitting, keeps))
        for table, index in going:
            await work.clear(table, index)
        if going:
            await work.sit(_forget)


Keeps = Callable[[CatalogIndex, str], bool]


async def _announce(sitting: Sitting, schema: SchemaDeclaration, look: Look) -> list[Known]:
    """Begin the indexes that are missing and say what is asked for; the tables whose documents must be walked."""
    asked = _asked(schema)
    to_walk = []
    for table, known in (await sitting.tables.everything()).items():
        catalog, wanted, wants = known.catalog, _indexes(schema, table), asked.get(table)
        for fields in sorted(wanted):
            if catalog.wanted(fields) is None:
                catalog = catalog.with_index(fields)
        pending = wants if look is Look.COMPARED and wants != catalog.enforced else None
        catalog = msgspec.structs.replace(catalog, pending=pending, misfit=None)
        sitting.tables.keep(known, catalog)
        unbuilt = {one.fields for one in catalog.indexes if one.state is IndexState.BUILDING}
        if pending is not None or unbuilt & wanted:
            to_walk.append(Known(known.number, catalog, True))
    return to_walk


async def _switch(sitting: Sitting, schema: SchemaDeclaration) -> None:
    asked = _asked(schema)
    for table, known in (await sitting.tables.everything()).items():
        if known.catalog.misfit is not None:
            raise _refusal(table, known.catalog.misfit)
        wanted = _indexes(schema, table)
        indexes = tuple(
            msgspec.structs.replace(one, state=IndexState.READY)
            if one.state is IndexState.BUILDING and one.fields in wanted
            else one
            for one in known.catalog.indexes
        )
        changed = msgspec.structs.replace(known.catalog, indexes=indexes, enforced=asked.get(table), pending=None)
        sitting.tables.keep(known, changed)


async def _withdraw(sitting: Sitting) -> None:
    for known in (await sitting.tables.everything()).values():
        sitting.tables.keep(known, msgspec.structs.replace(known.catalog, pending=None, misfit=None))


async def _give_notice(sitting: Sitting, keeps: Keeps) -> list[tuple[int, int]]:
    going = []
    for table, known in (await sitting.tables.everything()).items():
        indexes = tuple(
            one if keeps(one, table) else msgspec.structs.replace(one, state=IndexState.GOING)
            for one in known.catalog.indexes
        )
        sitting.tables.keep(known, msgspec.structs.replace(known.catalog, indexes=indexes))
        going += [(known.number, one.number) for one in indexes if one.state is IndexState.GOING]
    return going


async def _forget(sitting: Sitting) -> None:
    for known in (await sitting.tables.everything()).values():
        left = tuple(one for one in known.catalog.indexes if one.state is not IndexState.GOING)
        sitting.tables.keep(known, msgspec.structs.replace(known.catalog, indexes=left))


def _asked(schema: SchemaDeclaration) -> dict[str, Any]:
    """What documents must look like, by table; those that may be anything are left out."""
    if not schema.validation:
        return {}
    return {table.name: table.document for table in schema.tables if table.document["type"] != "any"}


def _indexes(schema: SchemaDeclaration | None, table: str) -> set[tuple[str, ...]]:
    tables = schema.tables if schema is not None else ()
    return {index.fields for one in tables if one.name == table for index in one.indexes}


def _refusal(table: str, misfit: str) -> PushRefused:
    message = (
        f"table {table!r} holds a document that does not fit this schema: {misfit}. Change the document or the schema; "
        "nothing was changed"
    )
    return PushRefused([Diagnostic("schema.py", 1, message)])
