"""How does a function have another one run later?

``ctx.scheduler`` of mutations, actions and HTTP actions. In a mutation what is scheduled is part of the transaction; in
an action it is durable when the call returns. Knows no queue: the host writes down what is due, and when.

Rules
1. ``retry`` is the scheduler's own keyword and never an argument of the function. A function that has an argument of
   that name is given its arguments as one dict.
2. A moment is exact: a ``datetime`` without a time zone means none, and is refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw

from runtime.protocol import values
from runtime.sdk.references import function_path
from runtime.sdk.running import Running

_LONGEST = 86_400.0 * 7  # seconds between two attempts
_MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an action is tried, and how long to wait in between.

    ``backoff`` is the wait after the first attempt (seconds or a ``timedelta``); it doubles with each further one, up
    to ``max_backoff``. Of each wait up to the part ``jitter`` (0 to 1) is taken off by chance, so that many do not come
    at once.
    """

    max_attempts: int
    backoff: float | timedelta = 1.0
    max_backoff: float | timedelta = 3_600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        attempts = self.max_attempts
        if type(attempts) is not int or not 1 <= attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"Retry(max_attempts=) is a whole number from 1 to {_MOST_ATTEMPTS}, not {attempts!r}")
        for name in ("backoff", "max_backoff"):
            seconds = _seconds(getattr(self, name), f"Retry({name}=)")
            if not 0 <= seconds <= _LONGEST:
                raise ValueError(f"Retry({name}=) is from 0 to {_LONGEST:.0f} seconds, not {seconds!r}")
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry(jitter=) is a part, from 0 to 1, not {self.jitter!r}")

    def _terms(self) -> list[Any]:
        backoff, longest = _seconds(self.backoff, "backoff"), _seconds(self.max_backoff, "max_backoff")
        return [self.max_attempts, backoff * 1000, longest * 1000, float(self.jitter)]


class Scheduler:
    """What runs later."""

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    async def run_after(
        self,
        delay: float | timedelta,
        ref: Any,
        args: Mapping[str, Any] | None = None,
        /,
        *,
        retry: Retry | None = None,
        **kwargs: Any,
    ) -> str:
        """Run a mutation or action after so many seconds (or a ``timedelta``), and return the id of its record."""
        seconds = _seconds(delay, "the delay of run_after")
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"the delay of run_after is 0 or more seconds, not {delay!r}")
        return await self._schedule(("after", seconds * 1000), ref, _given(args, kwargs), retry)

    async def run_at(
        self,
        moment: datetime | float,
        ref: Any,
        args: Mapping[str, Any] | None = None,
        /,
        *,
        retry: Retry | None = None,
        **kwargs: Any,
    ) -> str:
        """Run a mutation or action at a ``datetime`` with a time zone, or at so many seconds since 1970; when that is
        past, at once."""
        return await self._schedule(("at", _unix(moment) * 1000), ref, _given(args, kwargs), retry)

    async def cancel(self, id: str) -> None:
        """Let what waits never run. A running action goes on, but what it schedules from now on is cancelled too; what
        has ended stays as it is."""
        if not isinstance(id, str):
            raise TypeError(f"a scheduled function is named by its id, not by {type(id).__name__}")
        await self._running.syscall("scheduler.cancel", id)

    async def _schedule(self, when: tuple[str, float], ref: Any, args: Mapping[str, Any], retry: Retry | None) -> str:
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(
                f"retry= of the scheduler is a Retry(...), not {type(retry).__name__}; an argument of the function "
                "that is called retry is given in a dict: run_after(5, ref, {'retry': ...})"
            )
        terms = None if retry is None else retry._terms()
        encoded = Raw(values.encode(dict(args), "args"))
        scheduled = await self._running.syscall("scheduler.schedule", function_path(ref), encoded, *when, terms)
        return str(scheduled)


def _given(args: Mapping[str, Any] | None, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    if args is None:
        return kwargs
    if kwargs:
        raise TypeError("arguments are given as one dict or as keywords, not both")
    if not isinstance(args, Mapping):
        raise TypeError(f"the arguments of a function are a dict, not {type(args).__name__}")
    return args


def _seconds(given: Any, what: str) -> float:
    if isinstance(given, timedelta):
        return given.total_seconds()
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{what} is a number of seconds or a timedelta, not {type(given).__name__}")
    return float(given)


def _unix(moment: Any) -> float:
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ValueError(
                "this datetime has no time zone, so it is no moment: write datetime.now(UTC) or "
                "datetime(2030, 1, 1, 9, tzinfo=ZoneInfo('Europe/Lisbon'))"
            )
        return moment.timestamp()
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise TypeError(f"run_at takes a datetime or seconds since 1970, not {type(moment).__name__}")
    if not math.isfinite(moment):
        raise ValueError(f"run_at takes a moment, not {moment!r}")
    return float(moment)
