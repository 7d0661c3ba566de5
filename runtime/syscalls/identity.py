"""How does a function learn who called it?

The ``auth.identity`` entry. Who it is came with the invocation; a header that nobody has looked at is looked at now.

Rules
1. A token that proves nothing is raised where it was asked, with its reason; a call that never asks never sees it.
2. A transaction notes that somebody asked: its result is then good for this caller only.
"""

from typing import Any, assert_never

import msgspec

from runtime.errors import SyscallRefused
from runtime.identity import BadToken, KnownUser, NoIdentity, settled
from runtime.syscalls.table import EVERYONE, Caller, Entry

_NONE = msgspec.msgpack.encode(None)


class IdentityArguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``auth.identity []``."""


async def _identity(caller: Caller, arguments: IdentityArguments) -> bytes:
    if caller.transaction is not None:
        caller.transaction.looked_at_identity = True
    found = await settled(caller.identity)
    match found:
        case NoIdentity():
            return _NONE
        case KnownUser(claims):
            return claims
        case BadToken(code, message):
            raise SyscallRefused(f"{code}: {message}", "InvalidToken")
        case _:
            assert_never(found)


ENTRIES: tuple[Entry[Any], ...] = (Entry("auth.identity", IdentityArguments, EVERYONE, _identity),)
