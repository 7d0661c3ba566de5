"""A deployment's documents with everything that stands between them and ``ctx.db``, but for the wall.

What a function asks for is encoded, served at the real counter by a real transaction, and decoded, as for a guest.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from runtime.errors import SyscallRefused
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.ports import DocumentStore
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Kind, SchemaDeclaration
from runtime.sdk.data.database import DatabaseReader, DatabaseWriter
from runtime.sdk.data.schema import Schema
from runtime.sdk.functions import ApplicationError, LimitExceeded
from runtime.sdk.running import Running
from runtime.syscalls.documents import ENTRIES
from runtime.syscalls.schemas.keeper import Look, Schemas
from runtime.syscalls.table import Caller, Table
from runtime.syscalls.transaction import Transaction, Transactions

NAME = DeploymentName("happy-otter-123")
_RAISED = {"TypeError": TypeError, "RuntimeError": RuntimeError, "LimitExceeded": LimitExceeded}
_encode = msgspec.msgpack.Encoder().encode


class RisingClock:
    """A clock that is a millisecond further at every look."""

    def __init__(self) -> None:
        self._now = 1_700_000_000_000.0

    def now(self) -> float:
        """Milliseconds since 1970."""
        self._now += 1
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self.now() / 1000


class DataHouse:
    """One deployment: its documents, its live version, and what ``ctx.db`` is in its functions."""

    def __init__(self, store: DocumentStore, secret: bytes = bytes(32)) -> None:
        self.store = store
        clock = RisingClock()
        self.transactions = Transactions(store, clock, secret)
        self.schemas = Schemas(store, clock)
        self.version = Version(VersionNumber(1), "", {}, Declaration())
        self._table = Table(ENTRIES)

    async def push(self, schema: Schema | None, look: Look = Look.COMPARED) -> None:
        """Make a version with this schema the live one; raises `PushRefused`."""
        new, old = (schema.declare() if schema is not None else None), self.version.declaration.schema
        async with self.schemas.changing(NAME, new, old, look):
            self.version = self.next_version(new)

    def next_version(self, schema: SchemaDeclaration | None) -> Version:
        """A version with this schema, which is not live yet."""
        return Version(VersionNumber(self.version.number + 1), "", {}, Declaration(schema=schema))

    @asynccontextmanager
    async def mutation(self) -> AsyncIterator[DatabaseWriter]:
        """``ctx.db`` of a mutation, committed at the end."""
        transaction = await self.transactions.begin(NAME)
        try:
            yield DatabaseWriter(self.running(Kind.MUTATION, transaction))
            await transaction.commit()
        finally:
            transaction.abandon()

    @asynccontextmanager
    async def query(self, journal: str | None = None) -> AsyncIterator[DatabaseReader]:
        """``ctx.db`` of a query."""
        transaction = await self.transactions.begin(NAME)
        transaction.journal = journal
        try:
            yield DatabaseReader(self.running(Kind.QUERY, transaction))
        finally:
            transaction.abandon()

    def running(self, kind: Kind, transaction: Transaction) -> Running:
        """What the functions of this version find as their invocation."""
        caller = Caller(Deployment(NAME, None, {}), self.version, kind, RequestId("0" * 16), 0, transaction)

        async def syscall(name: str, *args: Any) -> Any:
            try:
                return values.decode_own(await self._table.serve(caller, name, msgspec.Raw(_encode(args))))
            except SyscallRefused as refused:
                if refused.exception == "ApplicationError" and refused.data is not None:
                    raise ApplicationError(values.decode(refused.data)) from None
                raise _RAISED.get(refused.exception, ValueError)(str(refused)) from None

        return Running(kind, "0" * 16, NAME, syscall, lambda level, text: None)
