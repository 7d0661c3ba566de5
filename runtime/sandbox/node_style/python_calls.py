"""How is one call of a Node-style action carried through, where there are threads?

The same `FunctionCall` as in an isolate, on an event loop of the standard library and in a process with threads.

Rules
1. Everything that is said to the host is said in the loop's thread, so that nothing follows a last word.
2. A plain `def` runs in a thread, and other calls go on meanwhile. There ``ctx`` may be used with a loop of its own.
3. What a call leaves running runs on: packages keep connections that way. It can ask nothing of the host any more.
"""

import asyncio
import inspect
import threading
from typing import Any

from runtime import limits
from runtime.protocol.messages import CallFunction, Level
from runtime.sandbox.guest.calls import Desk, FunctionCall, settle
from runtime.sdk.functions import RegisteredFunction


class NodeStyleCall(FunctionCall):
    """One call of a Node-style action written in Python."""

    grace = limits.NODE_STOP_GRACE / 2000

    def __init__(self, desk: Desk, message: CallFunction, thread: int) -> None:
        super().__init__(desk, message)
        self._thread = thread

    async def syscall(self, name: str, *args: Any) -> Any:
        """Ask the host, from whichever loop the tenant's code runs on."""
        asked = super().syscall(name, *args)
        if threading.get_ident() == self._thread:
            return await asked
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self.desk.loop))

    def log(self, level: Level, text: str) -> None:
        """Keep a line, from whichever thread it was written in."""
        if threading.get_ident() == self._thread:
            super().log(level, text)
        else:
            self.desk.loop.call_soon_threadsafe(super().log, level, text)

    def _invoke(self, function: RegisteredFunction, args: Any) -> Any:
        if inspect.iscoroutinefunction(function.handler):
            return super()._invoke(function, args)
        return self._in_a_thread(function, args)

    async def _in_a_thread(self, function: RegisteredFunction, args: Any) -> Any:
        return await settle(await asyncio.to_thread(super()._invoke, function, args))
