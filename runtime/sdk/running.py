"""Whose turn is it?

The invocation that the code now running belongs to, found through a context variable: clock, random, log and the way to
the counter. Set by the guest around every call (and around import time); read by what tenants import. A hostile bundle
can change it, and gains nothing: the host believes only the channel.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from random import Random
from typing import Any

from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level


class Running:
    """One invocation, seen from inside.

    ``kind`` is ``None`` at import time. ``now`` is the frozen clock in milliseconds since 1970 (``None``: the real
    one), ``random`` the seeded generator (``None``: the kernel's). ``syscall(name, *args)`` asks the host and returns
    the decoded answer; ``log`` keeps a line.
    """

    __slots__ = ("__weakref__", "deployment", "kind", "log", "now", "random", "request_id", "syscall")

    def __init__(
        self,
        kind: Kind | None,
        request_id: str,
        deployment: str,
        syscall: Callable[..., Awaitable[Any]],
        log: Callable[[Level, str], None],
        now: float | None = None,
        random: Random | None = None,
    ) -> None:
        self.kind = kind
        self.request_id = request_id
        self.deployment = deployment
        self.syscall = syscall
        self.log = log
        self.now = now
        self.random = random

    @property
    def deterministic(self) -> bool:
        """Whether clock and random must repeat: in queries, mutations and at import time."""
        return self.now is not None


RUNNING: ContextVar[Running | None] = ContextVar("RUNNING", default=None)
