"""What is one call of one function, and how can it end?

Frozen values. An invocation is made at a door (HTTP, the function API, another function) and from there on nobody looks
at a header to decide anything. Knows no process, no socket, no database.

Rules
1. A failed function is an `Outcome`, not an exception. Exceptions are for callers' mistakes and for ours.
2. `Version` and `Deployment` are replaced, never changed: who holds one sees one moment.
3. What is made for every call is a `msgspec.Struct`: a frozen dataclass takes ten times as long to make.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from runtime.egress.policy import OPEN, EgressPolicy
from runtime.identity import NOBODY, Identity
from runtime.names import DeploymentName, FunctionPath, RequestId, VersionNumber
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, Visibility
from runtime.protocol.messages import Failure, HeaderList


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Version:
    """One pushed bundle of one deployment: its number there, the hash of its content, its files, what it declared."""

    number: VersionNumber
    sha256: str
    bundle: Mapping[str, bytes]
    declaration: Declaration
    functions: Mapping[str, FunctionDeclaration] = field(init=False)
    indexes: Mapping[tuple[str, str], tuple[str, ...]] = field(init=False)  # table and name → fields

    def __post_init__(self) -> None:
        by_path = {function.path: function for function in self.declaration.functions}
        object.__setattr__(self, "functions", by_path)
        tables = self.declaration.schema.tables if self.declaration.schema is not None else ()
        indexes = {(table.name, index.name): index.fields for table in tables for index in table.indexes}
        object.__setattr__(self, "indexes", indexes)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Deployment:
    """A named instance as it is at this moment. ``version`` is ``None`` until the first push."""

    name: DeploymentName
    version: Version | None
    environment: Mapping[str, str]
    paused: bool = False
    concurrency: int | None = None  # calls from clients at once; None means the limit that everybody has
    egress: EgressPolicy = OPEN  # where its functions may connect to


class Invocation(msgspec.Struct, frozen=True, gc=False):
    """One call of a query, mutation or action. ``args`` is an encoded dict; ``depth`` counts the calls above it.
    ``job`` is the id of the scheduled function that all of it is done for, if it is."""

    deployment: Deployment
    version: Version
    path: FunctionPath
    kind: Kind
    args: bytes
    request_id: RequestId
    depth: int = 0
    identity: Identity = NOBODY
    job: str = ""


class Client:
    """Whether the client of an HTTP action is still there. One listener; told at once if it comes too late."""

    __slots__ = ("_listener", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._listener: Callable[[], None] | None = None

    def leave(self) -> None:
        """The client has closed its connection."""
        if not self.gone:
            self.gone = True
            if self._listener is not None:
                self._listener()

    def when_gone(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the client leaves."""
        self._listener = listener
        if self.gone:
            listener()

    def forget(self) -> None:
        """Nobody wants to know any more. Client and listener hold each other, and would wait for the collector."""
        self._listener = None


class RequestBody(Protocol):
    """The body of a request as it arrives."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class HttpInvocation(msgspec.Struct, frozen=True, gc=False):
    """One call of an HTTP action.

    ``body`` is ``None`` where the method has none; bytes when it is here already; else it arrives in pieces.
    """

    deployment: Deployment
    version: Version
    route: str
    method: str
    url: str
    headers: HeaderList
    parameters: dict[str, str]
    body: bytes | RequestBody | None
    request_id: RequestId
    client: Client
    identity: Identity = NOBODY


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """The function returned this encoded value. ``position`` is the commit that its writes are in, or for a query the
    last one that it saw; 0 for actions."""

    value: bytes
    lines: tuple[str, ...] = ()
    position: int = 0


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The function did not return; ``failure`` says how."""

    failure: Failure
    lines: tuple[str, ...] = ()


Outcome = Succeeded | Failed


def traceback_text(failure: Failure) -> str:
    """A failure as a person wants to read it: the tenant's own lines, outermost first, then the exception."""
    lines = [f"  {frame.file}:{frame.line} in {frame.function}\n    {frame.text}" for frame in failure.frames]
    what = f"{failure.exception}: {failure.message}" if failure.message else failure.exception
    return "\n".join(["Traceback (most recent call last):", *lines, what] if lines else [what])


__all__ = [
    "Client",
    "Deployment",
    "Failed",
    "FunctionDeclaration",
    "HttpInvocation",
    "Invocation",
    "Kind",
    "Outcome",
    "RequestBody",
    "Succeeded",
    "Version",
    "Visibility",
    "traceback_text",
]
