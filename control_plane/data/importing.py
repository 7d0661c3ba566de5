"""How does a file of documents become documents?

It is read twice. First every line is looked at, and nothing is written; then it is written, a few hundred documents in
one transaction. In between the loop does other things.

Rules
1. A bad line means that nothing was imported, and is told with file, line and field.
2. Only a server that stops half way leaves a part. The same import with ``replace`` then makes it whole.
3. No push changes the schema meanwhile: it is one change of the deployment among others, and they take turns.
"""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from control_plane.data.reading import Line, Source
from control_plane.refusals import BadImport
from runtime import limits
from runtime.document_ids import parse_document_id
from runtime.errors import Conflict, SyscallRefused
from runtime.names import DeploymentName
from runtime.protocol.declaration import Diagnostic
from runtime.syscalls.restoring import Plan, Restored, Restoring

_TOLD = 20
_AT_ONCE = 256
_AT_ONCE_BYTES = 512 * 1024
_TURN = 32


class Mode(StrEnum):
    """What happens to the documents that are in the tables of the file."""

    REQUIRE_EMPTY = "require-empty"
    APPEND = "append"
    REPLACE = "replace"


class Importing:
    """Takes files of documents."""

    def __init__(self, restoring: Restoring) -> None:
        self._restoring = restoring

    async def take(self, name: DeploymentName, source: Source, mode: Mode) -> dict[str, int]:
        """Import a file, and say how many documents went into each table; raise `BadImport` or `Conflict`."""
        plan = await self._restoring.plan(name, _wanted(source))
        tables = source.tables()
        if mode is Mode.REQUIRE_EMPTY:
            await self._require_empty(name, plan, tables)
        schemas = {table: plan.enforced(table) for table in tables}
        await self._check(name, source, plan, schemas, mode)
        await self._restoring.begin(name, plan)
        if mode is Mode.REPLACE:
            for table in tables:
                await self._restoring.clear(name, plan.number(table))
        # What was seen while checking is seen again.
        plan = await self._restoring.plan(name, {table: plan.number(table) for table in tables})
        return await self._write(name, source, plan, schemas)

    async def _require_empty(self, name: DeploymentName, plan: Plan, tables: list[str]) -> None:
        new = plan.new_tables()
        for table in tables:
            if table not in new and not await self._restoring.is_empty(name, plan.number(table)):
                raise Conflict(
                    f"table {table!r} has documents already: say mode=append (--append) to add to them, "
                    "or mode=replace (--replace) to put the file's in their place"
                )

    async def _check(
        self, name: DeploymentName, source: Source, plan: Plan, schemas: Mapping[str, Any], mode: Mode
    ) -> None:
        diagnostics: list[Diagnostic] = []
        for count, line in enumerate(source.lines(schemas)):
            trouble = await self._trouble(name, plan, line, mode)
            if trouble is not None:
                diagnostics.append(Diagnostic(line.file, line.number, trouble))
                if len(diagnostics) >= _TOLD:
                    break
            if count % _TURN == 0:
                await asyncio.sleep(0)
        if diagnostics:
            raise BadImport(diagnostics)

    async def _trouble(self, name: DeploymentName, plan: Plan, line: Line, mode: Mode) -> str | None:
        if line.trouble is not None:
            return line.trouble
        try:
            document = plan.check(line.table, line.document)
        except SyscallRefused as refused:
            return str(refused)
        if mode is Mode.APPEND and document.id is not None and await self._restoring.has(name, document.id):
            return f"document._id is taken: there is a document {document.id.text} already"
        return None

    async def _write(
        self, name: DeploymentName, source: Source, plan: Plan, schemas: Mapping[str, Any]
    ) -> dict[str, int]:
        written = dict.fromkeys(source.tables(), 0)
        table, waiting, size = "", list[Restored](), 0
        for count, line in enumerate(source.lines(schemas)):
            if waiting and (line.table != table or len(waiting) >= _AT_ONCE or size >= _AT_ONCE_BYTES):
                await self._restoring.put(name, plan, table, waiting)
                waiting, size = [], 0
            table = line.table
            waiting.append(plan.check(line.table, line.document))
            written[line.table] += 1
            size += _size(line.document)
            if count % _TURN == 0:
                await asyncio.sleep(0)
        if waiting:
            await self._restoring.put(name, plan, table, waiting)
        return written


def _wanted(source: Source) -> dict[str, int | None]:
    """The tables of a file, and the number that the ids of each carry: that of its first document."""
    wanted: dict[str, int | None] = dict.fromkeys(source.tables())
    for line in source.heads():
        id = line.document.get("_id")
        parsed = parse_document_id(id) if type(id) is str else None
        wanted[line.table] = parsed.table if parsed is not None else None
    return wanted


def _size(value: Any) -> int:
    """About how many bytes a value has."""
    match value:
        case str() | bytes():
            return len(value) + 4
        case dict():
            return sum(len(key) + _size(item) for key, item in value.items())
        case list():
            return sum(_size(item) for item in value)
    return 8


assert _AT_ONCE_BYTES + limits.DOCUMENT_BYTES < limits.WRITE_BYTES
