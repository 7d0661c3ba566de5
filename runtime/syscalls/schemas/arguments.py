"""Are the ids among these arguments ids of the right tables?

A guest compares its arguments with its validators itself; what an id is an id of, only the host knows. So a function
that asks for ids has them looked at before it is run.

Rules
1. Only ids are looked at here. What else is wrong, the guest says, in words of its own language.
2. An action has no transaction: of its ids it is only asked whether they are any.
3. A function that asks for no id costs one look into a dict.
"""

from typing import Any
from weakref import WeakKeyDictionary

from runtime.errors import SyscallRefused
from runtime.invocation import Invocation, Version
from runtime.protocol import values
from runtime.syscalls.schemas.document_types import DocumentType, InvalidType, Look, Reader
from runtime.syscalls.transaction import Transaction

_WRONG_ID = " an id of table "


class _Asked:
    """What one function asks for, when ids are part of it."""

    __slots__ = ("kind", "tables")

    def __init__(self, kind: DocumentType, tables: frozenset[str]) -> None:
        self.kind = kind
        self.tables = tables


class ArgumentIds:
    """Looks at the ids in arguments."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Version, dict[str, _Asked]] = WeakKeyDictionary()

    async def refusal(self, invocation: Invocation, transaction: Transaction | None) -> str | None:
        """What is wrong with an id among the arguments of a call, or ``None``."""
        asked = self._of(invocation.version).get(str(invocation.path))
        if asked is None:
            return None
        try:
            args = values.decode(invocation.args)
            tables = {} if transaction is None else await transaction.table_numbers(asked.tables)
            misfit = asked.kind.misfit(args, Look(tables))
        except (values.InvalidValue, SyscallRefused):
            return None
        if misfit is None or _WRONG_ID not in misfit.problem:
            return None
        return f"{invocation.path}: {misfit.text('args')}"

    def _of(self, version: Version) -> dict[str, _Asked]:
        asked = self._asked.get(version)
        if asked is None:
            read = {function.path: _read(function.args) for function in version.declaration.functions}
            asked = self._asked[version] = {path: found for path, found in read.items() if found is not None}
        return asked


def _read(written: Any) -> _Asked | None:
    reader = Reader()
    try:
        kind = None if written is None else reader.read(written)
    except InvalidType:
        # A function's validator is the guest's own business; one that we cannot read speaks of no id.
        return None
    return _Asked(kind, frozenset(reader.tables)) if kind is not None and reader.tables else None
