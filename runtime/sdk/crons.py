"""What runs again and again, and when?

What a tenant fills in ``crons.py``. It checks and it lists; whether a line of cron syntax makes sense, a time zone is
there and a function exists is looked up by the host, which reports it with the same file and line. Knows no clock.

Rules
1. Every mistake is raised by the call that makes it, so that it fails the push and never a run.
2. Arguments are what they were when the cron was written: changing the dict afterwards changes nothing.
3. ``hourly`` to ``monthly`` are spellings of a cron line, and behave like one.
"""

import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

from runtime import limits
from runtime.protocol import values
from runtime.protocol.declaration import Calendar, Interval, Kind
from runtime.sdk.functions import RegisteredFunction
from runtime.sdk.references import function_path

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3_600}


class CronError(ValueError):
    """A cron that cannot be; ``file`` and ``line`` say where it was written."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class CronEntry:
    """One cron as it was written. A function of the bundle gets its path only after everything is imported."""

    name: str
    schedule: Interval | Calendar
    function: RegisteredFunction | str
    args: bytes
    file: str
    line: int

    @property
    def path(self) -> str:
        """The path of the function; `CronError` when it has none."""
        try:
            return function_path(self.function)
        except (TypeError, ValueError) as error:
            raise CronError(f"cron {self.name!r}: {error}", self.file, self.line) from None


class Crons:
    """The crons of a deployment: ``crons = Crons()`` in ``crons.py``."""

    def __init__(self) -> None:
        self._entries: dict[str, CronEntry] = {}

    @property
    def entries(self) -> list[CronEntry]:
        """Every cron, in the order in which they were written."""
        return list(self._entries.values())

    def interval(
        self,
        name: str,
        ref: Any,
        args: dict[str, Any] | None = None,
        *,
        seconds: int | None = None,
        minutes: int | None = None,
        hours: int | None = None,
    ) -> None:
        """Run first when it is deployed, then again and again after so much time."""
        given = {unit: n for unit, n in (("seconds", seconds), ("minutes", minutes), ("hours", hours)) if n is not None}
        if len(given) != 1:
            raise ValueError(f"an interval is given in seconds, minutes or hours: one of them, not {len(given)}")
        ((unit, number),) = given.items()
        period = _whole(unit, number, 1, limits.CRON_PERIOD // _SECONDS[unit]) * _SECONDS[unit]
        self._add(name, Interval(period), ref, args, sys._getframe(1))

    def cron(
        self, name: str, line: str, ref: Any, args: dict[str, Any] | None = None, *, timezone: str = "UTC"
    ) -> None:
        """Run when the five fields of ``line`` say so: minute, hour, day of the month, month, day of the week."""
        self._add(name, Calendar(_line(line), _text("timezone", timezone)), ref, args, sys._getframe(1))

    def hourly(
        self, name: str, ref: Any, args: dict[str, Any] | None = None, *, minute: int = 0, timezone: str = "UTC"
    ) -> None:
        """Run at this minute of every hour."""
        line = f"{_whole('minute', minute, 0, 59)} * * * *"
        self._add(name, Calendar(line, _text("timezone", timezone)), ref, args, sys._getframe(1))

    def daily(
        self,
        name: str,
        ref: Any,
        args: dict[str, Any] | None = None,
        *,
        hour: int,
        minute: int = 0,
        timezone: str = "UTC",
    ) -> None:
        """Run every day at this time."""
        line = f"{_time(hour, minute)} * * *"
        self._add(name, Calendar(line, _text("timezone", timezone)), ref, args, sys._getframe(1))

    def weekly(
        self,
        name: str,
        ref: Any,
        args: dict[str, Any] | None = None,
        *,
        day_of_week: str = "monday",
        hour: int,
        minute: int = 0,
        timezone: str = "UTC",
    ) -> None:
        """Run on this day of every week, written ``"monday"``."""
        if day_of_week not in DAYS:
            raise ValueError(f"day_of_week is one of {', '.join(DAYS)}, not {repr(day_of_week)[:40]}")
        line = f"{_time(hour, minute)} * * {DAYS.index(day_of_week)}"
        self._add(name, Calendar(line, _text("timezone", timezone)), ref, args, sys._getframe(1))

    def monthly(
        self,
        name: str,
        ref: Any,
        args: dict[str, Any] | None = None,
        *,
        day: int,
        hour: int,
        minute: int = 0,
        timezone: str = "UTC",
    ) -> None:
        """Run on this day of every month that has it."""
        line = f"{_time(hour, minute)} {_whole('day', day, 1, 31)} * *"
        self._add(name, Calendar(line, _text("timezone", timezone)), ref, args, sys._getframe(1))

    def _add(
        self, name: object, schedule: Interval | Calendar, ref: Any, args: dict[str, Any] | None, where: FrameType
    ) -> None:
        name = _name(name)
        earlier = self._entries.get(name)
        if earlier is not None:
            file = earlier.file.removeprefix("bundle:")
            raise ValueError(f"there is a cron {name!r} already, in {file}, line {earlier.line}: each has its own name")
        function, encoded = _function(ref), _arguments(args)
        self._entries[name] = CronEntry(name, schedule, function, encoded, where.f_code.co_filename, where.f_lineno)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a cron is a string, not {type(name).__name__}")
    if not (0 < len(name) <= limits.CRON_NAME_CHARACTERS and name.isascii() and name.isprintable()):
        most = int(limits.CRON_NAME_CHARACTERS)
        raise ValueError(f"the name of a cron is 1 to {most} printable ASCII characters, not {ascii(name)[:80]}")
    return str(name)


def _function(ref: Any) -> RegisteredFunction | str:
    if not isinstance(ref, RegisteredFunction):
        return function_path(ref)
    if ref.kind not in (Kind.MUTATION, Kind.ACTION):
        kind = "an HTTP action" if ref.kind is Kind.HTTP_ACTION else f"a {ref.kind.value}"
        raise TypeError(f"a cron runs a mutation or an action, and {ref.__name__} is {kind}")
    return ref


def _arguments(args: object) -> bytes:
    if args is not None and type(args) is not dict:
        raise TypeError(f"the arguments of a cron are a dict or None, not {type(args).__name__}")
    encoded = values.encode(args or {}, "args")
    if len(encoded) >= limits.CRON_ARGUMENT_BYTES:
        limit = int(limits.CRON_ARGUMENT_BYTES)
        raise ValueError(f"the arguments of a cron have {len(encoded)} bytes, limit CRON_ARGUMENT_BYTES is {limit}")
    return encoded


def _time(hour: object, minute: object) -> str:
    return f"{_whole('minute', minute, 0, 59)} {_whole('hour', hour, 0, 23)}"


def _whole(what: str, number: object, least: int, most: int) -> int:
    if type(number) is not int:
        raise TypeError(f"{what} is a whole number, not {repr(number)[:40]}")
    if not least <= number <= most:
        raise ValueError(f"{what} is {str(number)[:40]}; it can be {least} to {most}")
    return number


def _line(line: object) -> str:
    text = _text("a cron line", line)
    if len(text.split()) != 5:
        raise ValueError(
            f"the cron line {text[:80]!r} has {len(text.split())} fields; it has five, as in '0 9 * * MON-FRI': "
            "minute, hour, day of the month, month, day of the week"
        )
    return text


def _text(what: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a string, not {type(text).__name__}")
    if not (0 < len(text) <= limits.CRON_LINE_CHARACTERS and text.isprintable()):
        most = int(limits.CRON_LINE_CHARACTERS)
        raise ValueError(f"{what} is 1 to {most} printable characters, not {ascii(text)[:80]}")
    return str(text)
