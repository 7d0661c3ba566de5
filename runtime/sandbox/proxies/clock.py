"""What time is it, for the call that is running?

The tenant's `time` and `datetime`: the real clock in actions, the moment the call began in queries, mutations and at
import. Subclasses stand in for ``datetime`` and ``date``; everything the standard library makes counts as an instance.

Rules
1. Whatever asks for "now" without saying when asks `_seconds`. All else is the standard library's own.
2. Without a running call (tests, the zygote) the clock is the real one.
"""

import datetime as real
import time as clock
from collections.abc import Mapping
from typing import Any, Self

from runtime.sdk.running import RUNNING


def _frozen() -> float | None:
    running = RUNNING.get()
    return None if running is None or running.now is None else running.now / 1000


def _seconds() -> float:
    frozen = _frozen()
    return clock.time() if frozen is None else frozen


def _nanoseconds() -> int:
    running = RUNNING.get()
    return clock.time_ns() if running is None or running.now is None else round(running.now * 1_000_000)


def _monotonic() -> float:
    frozen = _frozen()
    return clock.monotonic() if frozen is None else frozen


def _monotonic_ns() -> int:
    return clock.monotonic_ns() if _frozen() is None else _nanoseconds()


def _perf_counter() -> float:
    frozen = _frozen()
    return clock.perf_counter() if frozen is None else frozen


def _perf_counter_ns() -> int:
    return clock.perf_counter_ns() if _frozen() is None else _nanoseconds()


def _gmtime(seconds: float | None = None, /) -> clock.struct_time:
    return clock.gmtime(_seconds() if seconds is None else seconds)


def _localtime(seconds: float | None = None, /) -> clock.struct_time:
    return clock.localtime(_seconds() if seconds is None else seconds)


def _ctime(seconds: float | None = None, /) -> str:
    return clock.ctime(_seconds() if seconds is None else seconds)


def _asctime(moment: Any = None, /) -> str:
    return clock.asctime(_localtime() if moment is None else moment)


def _strftime(template: str, moment: Any = None, /) -> str:
    return clock.strftime(template, _localtime() if moment is None else moment)


class _Standing(type):
    """Makes a stand-in accept what it stands for: what the standard library makes is an instance of it, too."""

    def __instancecheck__(cls, value: object) -> bool:
        stands_for = _STANDS_FOR.get(cls)
        return type.__instancecheck__(cls, value) if stands_for is None else isinstance(value, stands_for)

    def __subclasscheck__(cls, other: type) -> bool:
        stands_for = _STANDS_FOR.get(cls)
        return type.__subclasscheck__(cls, other) if stands_for is None else issubclass(other, stands_for)


class date(real.date, metaclass=_Standing):
    """The standard date, with the running call's idea of today."""

    __slots__ = ()

    @classmethod
    def today(cls) -> Self:
        """The day on which the call began."""
        return cls.fromtimestamp(_seconds())

    def __repr__(self) -> str:
        return _represent(self, super().__repr__())


class datetime(real.datetime, metaclass=_Standing):
    """The standard datetime, with the running call's idea of now."""

    __slots__ = ()

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> Self:
        """The moment at which the call began."""
        return cls.fromtimestamp(_seconds(), tz)

    @classmethod
    def today(cls) -> Self:
        """The same, without a time zone."""
        return cls.fromtimestamp(_seconds())

    @classmethod
    def utcnow(cls) -> Self:
        """The same in UTC, without a time zone."""
        return cls.fromtimestamp(_seconds(), real.UTC).replace(tzinfo=None)

    def date(self) -> real.date:
        """The day, as the tenant's own kind of date."""
        return date(self.year, self.month, self.day)

    def __repr__(self) -> str:
        return _represent(self, super().__repr__())


_STANDS_FOR: dict[type, type] = {date: real.date, datetime: real.datetime}
# Tracebacks, reprs and copies name them as everybody knows them.
date.__module__ = datetime.__module__ = "datetime"
date.min, date.max = date(1, 1, 1), date(9999, 12, 31)
datetime.min, datetime.max = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)


def _represent(value: object, text: str) -> str:
    # Of a subclass, C code writes the bare name; the standard types write their module, too.
    return f"datetime.{text}" if type(value) in _STANDS_FOR else text


TIME: Mapping[str, object] = {
    "time": _seconds,
    "time_ns": _nanoseconds,
    "monotonic": _monotonic,
    "monotonic_ns": _monotonic_ns,
    "perf_counter": _perf_counter,
    "perf_counter_ns": _perf_counter_ns,
    "gmtime": _gmtime,
    "localtime": _localtime,
    "ctime": _ctime,
    "asctime": _asctime,
    "strftime": _strftime,
}
DATETIME: Mapping[str, object] = {"date": date, "datetime": datetime}
