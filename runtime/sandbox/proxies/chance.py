"""Where does chance come from, for the call that is running?

The tenant's `random`, `secrets` and `uuid`: the kernel's randomness in actions, the call's own seeded stream in
queries, mutations and at import, so that a run repeated by the system decides the same.

Rules
1. Every draw asks `_source`. No generator of ours keeps anything between two calls (``gauss`` keeps half a pair).
2. A generator that the tenant seeds (``random.Random(7)``) is the standard one and knows no call.
3. ``random.seed`` reseeds the running call's stream; outside of one there is nothing to seed, and it does nothing.
"""

import base64
import random as real
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from runtime.sandbox import policy
from runtime.sdk.running import RUNNING

Item = TypeVar("Item")
_KERNEL = real.SystemRandom()


def _source() -> real.Random:
    running = RUNNING.get()
    return _KERNEL if running is None or running.random is None else running.random


class Random(real.Random):
    """The standard generator; without a seed it begins where the running call's chance says."""

    def seed(self, a: Any = None, version: int = 2) -> None:
        """Begin again at ``a``, or anywhere."""
        super().seed(_source().getrandbits(256) if a is None else a, version)


class SystemRandom(real.Random):
    """A generator without a state of its own: every draw is the running call's."""

    def random(self) -> float:
        """Draw a number from [0, 1)."""
        return _source().random()

    def getrandbits(self, k: int, /) -> int:
        """Draw ``k`` bits."""
        return _source().getrandbits(k)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Draw from a normal distribution."""
        return _source().gauss(mu, sigma)

    def seed(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: there is no state to set."""


def _drawn(name: str) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        return getattr(_source(), name)(*args, **kwargs)

    draw.__name__ = draw.__qualname__ = name
    return draw


def _token_bytes(nbytes: int | None = None) -> bytes:
    return _source().randbytes(secrets.DEFAULT_ENTROPY if nbytes is None else nbytes)


def _token_hex(nbytes: int | None = None) -> str:
    return _token_bytes(nbytes).hex()


def _token_urlsafe(nbytes: int | None = None) -> str:
    return base64.urlsafe_b64encode(_token_bytes(nbytes)).rstrip(b"=").decode()


def _randbelow(exclusive_upper_bound: int) -> int:
    if exclusive_upper_bound <= 0:
        raise ValueError("Upper bound must be positive.")
    return _source().randrange(exclusive_upper_bound)


def _randbits(k: int) -> int:
    return _source().getrandbits(k)


def _choice(sequence: Sequence[Item]) -> Item:
    return _source().choice(sequence)


def _uuid4() -> uuid.UUID:
    return uuid.UUID(bytes=_source().randbytes(16), version=4)


_DISTRIBUTIONS = policy.MODULES["random"] - {"Random", "SystemRandom"}
RANDOM: Mapping[str, object] = {
    "Random": Random,
    "SystemRandom": SystemRandom,
    **{name: _drawn(name) for name in _DISTRIBUTIONS if hasattr(real.Random, name)},
}
SECRETS: Mapping[str, object] = {
    "SystemRandom": SystemRandom,
    "choice": _choice,
    "randbelow": _randbelow,
    "randbits": _randbits,
    "token_bytes": _token_bytes,
    "token_hex": _token_hex,
    "token_urlsafe": _token_urlsafe,
}
UUID: Mapping[str, object] = {"uuid4": _uuid4}


class _Generators:
    """What `statistics` finds when it asks its `random` for a stream: module functions and ``Random``."""

    Random = Random
    random = staticmethod(_drawn("random"))
    gauss = staticmethod(_drawn("gauss"))
    choices = staticmethod(_drawn("choices"))


def tame_statistics(module: Any) -> None:
    """Let ``NormalDist.samples`` draw from the running call: `statistics` holds the real `random` as a global."""
    module.random = _Generators
