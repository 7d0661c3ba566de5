"""What may this invocation have, and what did it say?

One window at the counter, made for one invocation: syscalls are served with the rights of its caller, log lines go to
the deployment's log under its request id. Implements the port `Desk`.

Rules
1. A mutation's syscalls are served one after the other: a nested mutation that is rolled back must not take along what
   its parent wrote meanwhile.
"""

import asyncio

import msgspec

from runtime import limits
from runtime.ports import Clock, LogEntry, Logs
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level
from runtime.syscalls.table import Caller, Table


class Window:
    """One invocation at the counter."""

    __slots__ = ("_caller", "_clock", "_function", "_logs", "_one_by_one", "_table", "lines")

    def __init__(self, table: Table, caller: Caller, function: str, logs: Logs, clock: Clock) -> None:
        self._table = table
        self._caller = caller
        self._function = function
        self._logs = logs
        self._clock = clock
        self._one_by_one = asyncio.Lock() if caller.kind is Kind.MUTATION else None
        self.lines: list[str] = []

    async def serve(self, name: str, args: msgspec.Raw) -> bytes:
        """Serve one syscall and return the encoded result."""
        if self._one_by_one is None:
            return await self._table.serve(self._caller, name, args)
        async with self._one_by_one:
            return await self._table.serve(self._caller, name, args)

    def is_awaited(self, name: str) -> bool:
        """Whether other mutations wait for what this one writes, and this touches nothing but its transaction."""
        transaction = self._caller.transaction
        return transaction is not None and transaction.is_awaited and name.startswith("db.")

    def log(self, level: Level, text: str) -> None:
        """Keep one log line of this invocation."""
        if len(self.lines) < limits.LOG_LINES:
            self.lines.append(f"[{level.upper()}] {text}")
        caller = self._caller
        entry = LogEntry(
            self._clock.now(),
            level,
            text,
            request_id=caller.request_id,
            function=self._function,
            function_kind=caller.kind,
        )
        self._logs.write(caller.deployment.name, entry)

    def ended(self) -> None:
        """The invocation is over."""
        if self._caller.belongings is not None:
            self._caller.belongings.let_go()
