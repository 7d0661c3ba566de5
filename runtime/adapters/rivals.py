"""Who gets in whose way?

Transactions are compared by what one has read and the other has written; every store that is not memory does it with
these. Knows keys and ranges, and nothing of where they are kept.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, TypeVarTuple, Unpack

from runtime.ports import KeyRange, Write

Heard = TypeVarTuple("Heard")

Keys = list[bytes]
"""Sorted, of everything that was written."""


class Attempt(Protocol):
    """A transaction that wants to be committed."""

    position: int
    reads: Collection[KeyRange]
    writes: Sequence[Write]
    lost: KeyRange | None


def overlap(reads: Collection[KeyRange], keys: Keys) -> KeyRange | None:
    """The first of these ranges that holds one of these sorted keys."""
    if keys:
        for span in reads:
            at = bisect_left(keys, span.lower)
            if at < len(keys) and keys[at] < span.upper:
                return span
    return None


def keys_of(writes: Sequence[Write]) -> Iterator[bytes]:
    """Every key that these writes touch; some may come twice."""
    for write in writes:
        yield from write.before
        if write.after != write.before:
            yield from write.after


def after_committers(tell: Callable[[Unpack[Heard]], object], *heard: *Heard) -> None:
    """Tell others of a commit after those who have just been woken because of it, and those whom they wake at once:
    some commit for many, and let others in before they wake those."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, loop.call_soon, tell, *heard)
