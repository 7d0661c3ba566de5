"""How many at once, for one deployment?

A permit is taken for every call that comes from outside and given back when its conversation has ended. Calls that a
function makes run under the permit of the call above them, or a full house would wait for itself: they are counted, and
refused when they are too many.

Rules
1. Taking a free permit never waits and never allocates more than a counter.
2. Who waits is served in the order of arrival, for at most `PERMIT_WAIT`, then told how many run.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from runtime import limits
from runtime.errors import SyscallRefused, TooManyRequests
from runtime.invocation import Deployment
from runtime.names import DeploymentName


class _Turnstile:
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Admission:
    """Permits, counted by deployment."""

    def __init__(self) -> None:
        self._turnstiles: dict[DeploymentName, _Turnstile] = {}
        self._beneath: Counter[DeploymentName] = Counter()

    def take(self, deployment: Deployment) -> bool:
        """Take a permit if one is free now."""
        turnstile = self._turnstiles.get(deployment.name)
        if turnstile is None:
            turnstile = self._turnstiles[deployment.name] = _Turnstile()
        if turnstile.running >= ceiling(deployment) or turnstile.waiting:
            return False
        turnstile.running += 1
        return True

    async def wait(self, deployment: Deployment) -> None:
        """Take a permit when one comes free; raise `TooManyRequests` when none does in time."""
        turnstile = self._turnstiles[deployment.name]
        if len(turnstile.waiting) >= limits.WAITING_REQUESTS:
            raise _refusal(deployment, f"{limits.WAITING_REQUESTS} more wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turnstile.waiting.append(turn)
        try:
            async with asyncio.timeout(limits.PERMIT_WAIT / 1000):
                await turn
        except TimeoutError:
            if not _granted(turn):
                turnstile.waiting.remove(turn)
                raise _refusal(deployment, f"none ended within {limits.PERMIT_WAIT} ms") from None
        except asyncio.CancelledError:
            if _granted(turn):
                self.give_back(deployment.name)
            else:
                turnstile.waiting.remove(turn)
            raise

    def give_back(self, name: DeploymentName) -> None:
        """Return a permit; whoever waits longest gets it."""
        turnstile = self._turnstiles[name]
        while turnstile.waiting:
            turn = turnstile.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        turnstile.running -= 1
        if not turnstile.running:
            del self._turnstiles[name]

    @contextmanager
    def beneath(self, name: DeploymentName) -> Iterator[None]:
        """Count a call that a function makes, while it runs; raise `SyscallRefused` when there are too many."""
        if self._beneath[name] >= limits.NESTED_CALLS:
            text = f"{limits.NESTED_CALLS} calls from function to function are under way (limit NESTED_CALLS)"
            raise SyscallRefused(f"{text}: call fewer at once", "LimitExceeded")
        self._beneath[name] += 1
        try:
            yield
        finally:
            self._beneath[name] -= 1
            if not self._beneath[name]:
                del self._beneath[name]

    def running(self) -> int:
        """How many permits are out, of all deployments."""
        return sum(turnstile.running for turnstile in self._turnstiles.values())


def ceiling(deployment: Deployment) -> int:
    """How many calls from outside this deployment may run at once."""
    return deployment.concurrency if deployment.concurrency is not None else int(limits.CONCURRENT_REQUESTS)


def _granted(turn: "asyncio.Future[None]") -> bool:
    return turn.done() and not turn.cancelled()


def _refusal(deployment: Deployment, why: str) -> TooManyRequests:
    return TooManyRequests(f"deployment {deployment.name!r} runs {ceiling(deployment)} calls at once and {why}")
