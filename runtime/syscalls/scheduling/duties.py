"""When has somebody to look at what?

A duty is a small record beside the document that a tenant sees: the moment when somebody has to look at it next, and
who is at it now. For what waits that is when it is due, for a running action the end of its lease. All duties of a
deployment stand in one index, so what is to be done is the beginning of a range, however many there are.

Rules
1. Whoever has not ended has exactly one duty; whoever has ended has none. Both change in one transaction.
2. Renewing a lease or waiting longer touches the duty alone: the document, and who watches it, hear nothing.
3. A duty says all that is needed to decide whether it is for us. The arguments are elsewhere.
"""

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from runtime.index_keys import LAST, encode, encode_value, index_prefix
from runtime.ports import KeyRange, Write

QUEUE = 4
"""The number of the table of duties; 5 is that of the runs of crons (`records.CRON_RUNS`)."""

_BY_ID = index_prefix(QUEUE, 0)
_DUE = index_prefix(QUEUE, 1)
FINISHED = index_prefix(QUEUE, 2)
"""Where documents stand that have ended, by when."""

OUTSTANDING = KeyRange(_BY_ID, _BY_ID + LAST)
"""Every duty there is."""


class Pile(IntEnum):
    """What kind of thing is due: a worker takes from each pile what it has hands for."""

    CRONS = 0
    MUTATIONS = 1
    ACTIONS = 2


class Duty(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Look at ``id`` at the moment ``at`` (milliseconds since 1970).

    ``token`` is whose lease ends then; empty when nobody is at it. ``tries`` counts how often it was put off since it
    was due, ``lost`` how often its isolate died with it. What is in the pile of crons is named by whoever put it there.
    """

    pile: Pile
    at: float
    id: str
    function: str
    token: str = ""
    tries: int = 0
    lost: int = 0

    @property
    def keys(self) -> tuple[bytes, bytes]:
        """Where it stands."""
        return duty_key(self.id), _DUE + encode([int(self.pile), self.at, self.id])

    def put_off(self, at: float) -> "Duty":
        """The same, later, in nobody's hands."""
        return msgspec.structs.replace(self, at=at, token="", tries=self.tries + 1)


encode_duty = msgspec.msgpack.Encoder().encode
decode_duty = msgspec.msgpack.Decoder(Duty).decode


def duty_key(id: str) -> bytes:
    """The key that names a duty."""
    return _BY_ID + encode_value(id)


def due(pile: Pile, until: float | None = None) -> KeyRange:
    """The duties of a pile, the earliest first; those with a moment up to ``until``, or all."""
    prefix = _DUE + encode_value(int(pile))
    return KeyRange(prefix, (prefix if until is None else prefix + encode_value(until)) + LAST)


def after(duty: Duty) -> KeyRange:
    """The duties of a pile that come after this one."""
    return KeyRange(duty.keys[1] + LAST, due(duty.pile).upper)


def earliest(writes: Iterable[Write]) -> float | None:
    """The first moment at which somebody has to look because of these writes, or ``None``."""
    moments = [
        decode_duty(write.document).at
        for write in writes
        if write.document is not None and write.after[0].startswith(_BY_ID)
    ]
    return min(moments, default=None)
