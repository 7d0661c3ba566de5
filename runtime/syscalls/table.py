"""What may a guest ask for, and which kinds of function may ask?

Every syscall is one `Entry`; the whole list is put together in `main.py`. Who asks is known from the conversation the
question came through (`Caller`), never from what the question says.

Rules
1. A name that is not listed, or not for this kind of function, is refused with a sentence that says what to use.
2. Arguments are decoded into the entry's own type before its server sees them; what does not fit is refused.
3. A server raises `SyscallRefused` for the tenant's mistakes. Anything else is ours: the guest hears only that.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from runtime.errors import SyscallRefused
from runtime.identity import NOBODY, Identity
from runtime.invocation import Deployment, Version
from runtime.names import RequestId
from runtime.protocol.declaration import Kind
from runtime.syscalls.transaction import Transaction

Arguments = TypeVar("Arguments", bound=msgspec.Struct)

Good = TypeVar("Good", bound="Closable")

QUERIES = frozenset({Kind.QUERY, Kind.MUTATION})
MUTATIONS = frozenset({Kind.MUTATION})
ACTIONS = frozenset({Kind.ACTION, Kind.HTTP_ACTION})
EVERYONE = frozenset(Kind)


class Belongings:
    """What is held on the host for one invocation, and goes when it ends."""

    __slots__ = ("_goods", "_over")

    def __init__(self) -> None:
        self._goods: dict[type, Closable] | None = None
        self._over = False

    def of(self, kind: type[Good]) -> Good:
        """The one thing of this kind, made when it is first asked for; raise `SyscallRefused` when all is over."""
        if self._over:
            raise SyscallRefused("the call that this belongs to has ended", "RuntimeError")
        if self._goods is None:
            self._goods = {}
        found = self._goods.get(kind)
        if found is None:
            found = self._goods[kind] = kind()
        assert isinstance(found, kind)
        return found

    def let_go(self) -> None:
        """The invocation is over."""
        self._over = True
        goods, self._goods = self._goods, None
        for good in (goods or {}).values():
            good.close()


class Closable(Protocol):
    """Something that can be held."""

    def close(self) -> None:
        """Let go of it, now and without waiting."""
        ...


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who stands at the counter. ``transaction`` is set for queries and mutations, ``belongings`` for the others."""

    deployment: Deployment
    version: Version
    kind: Kind
    request_id: RequestId
    depth: int
    transaction: Transaction | None
    identity: Identity = NOBODY
    job: str = ""
    belongings: Belongings | None = None

    def require_transaction(self) -> Transaction:
        """The caller's transaction; entries for queries and mutations may rely on it."""
        assert self.transaction is not None, f"{self.kind} without a transaction"
        return self.transaction


@dataclass(frozen=True, slots=True)
class Entry(Generic[Arguments]):
    """One syscall. ``arguments`` is an array-like Struct; ``serve`` returns the encoded result."""

    name: str
    arguments: type[Arguments]
    kinds: frozenset[Kind]
    serve: Callable[[Caller, Arguments], Awaitable[bytes]]


class Table:
    """The list of syscalls, ready to be served from."""

    def __init__(self, entries: Iterable[Entry[Any]]) -> None:
        self._entries: Mapping[str, tuple[Entry[Any], msgspec.msgpack.Decoder[Any]]] = {
            entry.name: (entry, msgspec.msgpack.Decoder(entry.arguments)) for entry in entries
        }

    async def serve(self, caller: Caller, name: str, args: msgspec.Raw) -> bytes:
        """Serve one syscall for ``caller``; raise `SyscallRefused` with what was wrong."""
        found = self._entries.get(name)
        if found is None:
            raise SyscallRefused(f"there is no syscall {name[:80]!r}", "RuntimeError")
        entry, decoder = found
        if caller.kind not in entry.kinds:
            raise SyscallRefused(_wrong_kind(name, caller.kind), "RuntimeError")
        try:
            arguments = decoder.decode(args)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
            raise SyscallRefused(f"{name}: {error}", "TypeError") from None
        return await entry.serve(caller, arguments)


def _wrong_kind(name: str, kind: Kind) -> str:
    article = "an" if kind is Kind.ACTION or kind is Kind.HTTP_ACTION else "a"
    if kind is Kind.QUERY:
        advice = "a query only reads: use a mutation or an action"
    elif kind is Kind.MUTATION:
        advice = "use an action for it"
    else:
        advice = "call a query or mutation with ctx.run_query or ctx.run_mutation"
    return f"ctx.{name} cannot be used in {article} {kind.value.replace('_', ' ')}; {advice}"
