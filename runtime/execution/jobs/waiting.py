"""How long until the next time? Pure."""

from collections.abc import Callable

from runtime.syscalls.scheduling.records import RetryTerms

_FIRST = 100.0  # ms
_LONGEST = 60_000.0  # ms


def until_tried_again(tries: int) -> float:
    """Milliseconds until something is tried again that could not be begun, or lost a race, so many times before."""
    return min(_FIRST * 2.0 ** min(tries, 16), _LONGEST)


def until_next_attempt(terms: RetryTerms, attempts: int, chance: Callable[[], float]) -> float:
    """Milliseconds until the next attempt of an action, after so many; ``chance`` gives a number from 0 to 1."""
    longest = min(terms.backoff * 2.0 ** min(attempts - 1, 64), terms.max_backoff)
    return longest * (1 - terms.jitter * chance())
