"""What can a function do, given its kind?

``ctx`` is the first argument of every function. Each kind has its own class, and an attribute that a kind does not have
says why and what to use instead. The host enforces the same table; this page is the polite version of it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from msgspec import Raw

from runtime.protocol import values
from runtime.sdk.auth.identity import Auth
from runtime.sdk.data.database import DatabaseReader, DatabaseWriter
from runtime.sdk.references import function_path
from runtime.sdk.running import Running
from runtime.sdk.scheduling.scheduler import Scheduler
from runtime.sdk.storage.storage import StorageActions, StorageReader, StorageWriter

_KNOWN = frozenset({"db", "scheduler", "run_query", "run_mutation", "run_action"})


class _Context:
    """What every kind of function has."""

    __slots__ = ("_running",)
    _noun: ClassVar = "a function"
    _advice: ClassVar[Mapping[str, str]] = {}

    def __init__(self, running: Running) -> None:
        self._running = running

    @property
    def request_id(self) -> str:
        """The id of the request this call belongs to, as the log shows it."""
        return self._running.request_id

    @property
    def deployment(self) -> str:
        """The name of the deployment."""
        return self._running.deployment

    @property
    def auth(self) -> Auth:
        """Who the end user is."""
        return Auth(self._running)

    async def run_query(self, ref: Any, args: Mapping[str, Any] | None = None, /, **kwargs: Any) -> Any:
        """Call a query and return its result."""
        return await _run(self._running, "run.query", ref, args, kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _KNOWN:
            raise AttributeError(f"{self._noun} has no ctx.{name}: {self._advice[name]}")
        raise AttributeError(f"{self._noun} has no ctx.{name}")


async def _run(
    running: Running, syscall: str, ref: Any, args: Mapping[str, Any] | None, kwargs: Mapping[str, Any]
) -> Any:
    if args is not None and kwargs:
        raise TypeError("arguments are given as one dict or as keywords, not both")
    if args is not None and not isinstance(args, Mapping):
        raise TypeError(f"the arguments of a function are a dict, not {type(args).__name__}")
    given = dict(kwargs if args is None else args)
    return await running.syscall(syscall, function_path(ref), Raw(values.encode(given, "args")))


class QueryCtx(_Context):
    """What a query can do: read."""

    __slots__ = ("db",)
    _noun = "a query"
    _advice: ClassVar[Mapping[str, str]] = {
        "run_mutation": "a query only reads; make this function a mutation or an action",
        "run_action": "a query only reads; make this function an action",
        "scheduler": "a query only reads; make this function a mutation or an action",
    }

    def __init__(self, running: Running) -> None:
        self._running = running
        self.db = DatabaseReader(running)

    @property
    def storage(self) -> StorageReader:
        """Stored files: their URLs and metadata."""
        return StorageReader(self._running)


class MutationCtx(_Context):
    """What a mutation can do: read and write, all or nothing."""

    __slots__ = ("db",)
    _noun = "a mutation"
    _advice: ClassVar[Mapping[str, str]] = {
        "run_action": "a mutation may run more than once; call the action from an action instead"
    }

    def __init__(self, running: Running) -> None:
        self._running = running
        self.db = DatabaseWriter(running)

    @property
    def storage(self) -> StorageWriter:
        """Stored files; deleting one is part of this transaction."""
        return StorageWriter(self._running)

    @property
    def scheduler(self) -> Scheduler:
        """What runs later; part of this transaction."""
        return Scheduler(self._running)

    async def run_mutation(self, ref: Any, args: Mapping[str, Any] | None = None, /, **kwargs: Any) -> Any:
        """Call a mutation as a part of this one; when it raises, only its own writes are undone."""
        return await _run(self._running, "run.mutation", ref, args, kwargs)


class ActionCtx(_Context):
    """What an action or HTTP action can do: call the others, and the world outside."""

    __slots__ = ()
    _noun = "an action"
    _advice: ClassVar[Mapping[str, str]] = {
        "db": "it runs outside any transaction; call a query or mutation with ctx.run_query or ctx.run_mutation"
    }

    @property
    def storage(self) -> StorageActions:
        """Stored files, their contents included."""
        return StorageActions(self._running)

    @property
    def scheduler(self) -> Scheduler:
        """What runs later; durable when the call returns."""
        return Scheduler(self._running)

    async def run_mutation(self, ref: Any, args: Mapping[str, Any] | None = None, /, **kwargs: Any) -> Any:
        """Call a mutation and return its result once it is durable."""
        return await _run(self._running, "run.mutation", ref, args, kwargs)

    async def run_action(self, ref: Any, args: Mapping[str, Any] | None = None, /, **kwargs: Any) -> Any:
        """Call an action and return its result."""
        return await _run(self._running, "run.action", ref, args, kwargs)
