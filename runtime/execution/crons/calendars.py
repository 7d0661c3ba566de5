"""When does a cron run next?

Pure: a schedule and a moment in, a moment out; times are milliseconds since 1970. The one place that knows `cronsim`,
which reads the five fields and walks along a calendar that has no clocks; what clocks do is done here.

Rules (what Debian's cron does)
1. A line whose minute or hour field begins with a star follows the clock on the wall: an hour that is skipped is
   skipped, and one that comes twice is run twice.
2. Any other line names times of the day. One that is skipped runs at the end of the gap, one that comes twice runs the
   first time.
3. What is returned is later than the moment that was asked about, always.
4. A line that never fires, or a zone that nobody knows, is an `UnknownSchedule`, found when it is pushed.
"""

import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from runtime import limits
from runtime.protocol.declaration import Calendar, Interval

COUNTED = 100
"""So many missed runs of a calendar are counted, and no more: each is looked for."""

_FIELDS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
# Any day will do: a line is looked at for 50 years from here.
_SOME_DAY = datetime(2024, 1, 1)


class UnknownSchedule(ValueError):
    """This schedule names no moments; the message says why."""


def check(schedule: Interval | Calendar) -> None:
    """Raise `UnknownSchedule` unless there is a next run. The schedule may come from a stranger."""
    if isinstance(schedule, Interval):
        if not 1 <= schedule.seconds <= limits.CRON_PERIOD:
            text = f"an interval has 1 to {int(limits.CRON_PERIOD)} seconds (limit CRON_PERIOD)"
            raise UnknownSchedule(f"{text}, not {str(schedule.seconds)[:20]}")
        return
    _zone(schedule.timezone)
    if next(_moments(schedule.expression, _SOME_DAY), None) is None:
        raise _never(schedule.expression)


def first_run(schedule: Interval | Calendar, now: float) -> float:
    """When it runs for the first time, if it is deployed now: an interval at once."""
    return now if isinstance(schedule, Interval) else next_run(schedule, now)


def next_run(schedule: Calendar, moment: float) -> float:
    """The first run after this moment."""
    zone = _zone(schedule.timezone)
    # Whole seconds: a line knows no others.
    after = _EPOCH + timedelta(seconds=moment // 1000)
    minute, hour = schedule.expression.split()[:2]
    follows_the_clock = minute.startswith("*") or hour.startswith("*")
    found = (_along_the_clock if follows_the_clock else _by_time_of_day)(schedule.expression, zone, after)
    return (found - _EPOCH) / _SECOND * 1000


class Beat(NamedTuple):
    """The last run up to now, how many there were from the one that was due to it, and the first one after now."""

    last: float
    runs: int
    following: float


def beat(schedule: Interval | Calendar, due: float, now: float) -> Beat:
    """Where a cron stands at ``now`` whose next run was due at ``due``, which is not later.

    Of a calendar no more than `COUNTED` runs are counted; ``last`` is then the one that was counted last.
    """
    if isinstance(schedule, Interval):
        period = schedule.seconds * 1000.0
        runs = int((now - due) // period) + 1
        return Beat(due + (runs - 1) * period, runs, due + runs * period)
    last, runs = due, 1
    while runs < COUNTED and (following := next_run(schedule, last)) <= now:
        last, runs = following, runs + 1
    return Beat(last, runs, next_run(schedule, now))


# --- the walk along a calendar ----------------------------------------------------------------------------------------


def _by_time_of_day(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    for local in _moments(expression, after.astimezone(zone).replace(tzinfo=None)):
        moment = _instant(local, zone)
        if moment > after:
            return moment
    raise _never(expression)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks show this time first, or have just gone past it."""
    while True:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local:
            return moment
        local += _MINUTE


def _along_the_clock(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Walk as if the clocks were never changed, from one change of them to the next."""
    offset = _offset(after, zone)
    local = after + offset
    while True:
        found = next(_moments(expression, local.replace(tzinfo=None)), None)
        if found is None:
            raise _never(expression)
        moment = found.replace(tzinfo=UTC) - offset
        change = _first_change(after, moment, zone)
        if change is None:
            return moment
        after, offset = change, _offset(change, zone)
        local = change + offset - _SECOND


def _first_change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The first second up to ``until`` at which the clocks are not as far from UTC as they were at ``after``."""
    offset = _offset(after, zone)
    while after < until:
        later = min(after + _DAY, until)
        if _offset(later, zone) != offset:
            while later - after > _SECOND:
                middle = after + (later - after) // _SECOND // 2 * _SECOND
                after, later = (middle, later) if _offset(middle, zone) == offset else (after, middle)
            return later
        after = later
    return None


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _moments(expression: str, after: datetime) -> Iterator[datetime]:
    """The times after this one that the five fields name, in a place where no clock is ever changed."""
    # Six fields would be seconds, too; and Python refuses to read very long numbers with an error of its own.
    if len(expression) > limits.CRON_LINE_CHARACTERS or len(expression.split()) != _FIELDS:
        raise UnknownSchedule(
            f"{_shown(expression)} is no cron line: it has five fields, as in '0 9 * * MON-FRI', and up to "
            f"{int(limits.CRON_LINE_CHARACTERS)} characters (limit CRON_LINE_CHARACTERS)"
        )
    try:
        return CronSim(expression, after)
    except CronSimError as error:
        raise UnknownSchedule(f"{_shown(expression)} is no cron line: {_said(error, expression)}") from None


def _said(error: CronSimError, expression: str) -> str:
    """What is wrong with a line, with the field itself."""
    names = ("minute", "hour", "day-of-month", "month", "day-of-week")
    name = str(error).removeprefix("Bad ")
    if name not in names:
        return str(error)
    field = expression.split()[names.index(name)]
    spoken = name.replace("-", " ").replace("of", "of the")
    return f"there is no {spoken} {field[:40]!r}" + (" in these months" if field in ("30", "31") else "")


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> ZoneInfo:
    if name not in _zones():
        meant = next((known for known in _zones() if known.lower() == name.lower()), "Europe/Lisbon")
        raise UnknownSchedule(f"there is no time zone {_shown(name)}: write it as in {meant!r}")
    return ZoneInfo(name)


def _never(expression: str) -> UnknownSchedule:
    return UnknownSchedule(f"{_shown(expression)} never fires: there is no such day")


def _shown(text: str) -> str:
    return ascii(text[:80])
