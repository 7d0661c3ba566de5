"""The next run of a cron, compared with a watch that looks at every minute."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import limits
from runtime.execution.crons.calendars import COUNTED, UnknownSchedule, beat, check, first_run, next_run
from runtime.protocol.declaration import Calendar, Interval

MINUTE = timedelta(minutes=1)


def at(text: str) -> float:
    """Milliseconds since 1970 of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def runs(line: str, zone: str, after: str, number: int) -> list[str]:
    """The next runs, as the clocks there show them, with their distance from UTC."""
    moment, found = at(after), []
    for _ in range(number):
        moment = next_run(Calendar(line, zone), moment)
        found.append(f"{datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)):%m-%d %H:%M%z}")
    return found


# --- when clocks are changed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone, after, expected",
    [
        ("Europe/Lisbon", "2026-03-28", ["03-28 01:30+0000", "03-29 02:00+0100", "03-30 01:30+0100"]),
        ("America/New_York", "2026-03-07", ["03-07 01:30-0500", "03-08 01:30-0500", "03-09 01:30-0400"]),
    ],
)
def test_a_time_of_day_that_is_skipped_runs_at_the_end_of_the_gap(zone: str, after: str, expected: list[str]) -> None:
    assert runs("30 1 * * *", zone, after, 3) == expected


def test_in_new_york_the_gap_is_an_hour_later() -> None:
    expected = ["03-07 02:30-0500", "03-08 03:00-0400", "03-09 02:30-0400"]
    assert runs("30 2 * * *", "America/New_York", "2026-03-07", 3) == expected


def test_two_times_in_one_gap_are_one_run() -> None:
    expected = ["03-29 02:00+0100", "03-30 01:10+0100", "03-30 01:40+0100"]
    assert runs("10,40 1 * * *", "Europe/Lisbon", "2026-03-29", 3) == expected


@pytest.mark.parametrize(
    "zone, after, expected",
    [
        ("Europe/Lisbon", "2026-10-24", ["10-24 01:30+0100", "10-25 01:30+0100", "10-26 01:30+0000"]),
        ("America/New_York", "2026-10-31", ["10-31 01:30-0400", "11-01 01:30-0400", "11-02 01:30-0500"]),
    ],
)
def test_a_time_of_day_that_comes_twice_runs_the_first_time(zone: str, after: str, expected: list[str]) -> None:
    assert runs("30 1 * * *", zone, after, 3) == expected


def test_what_is_asked_in_the_second_of_two_equal_hours_does_not_go_back() -> None:
    # 01:10 for the second time: 01:30 was run an hour ago.
    assert runs("30 1 * * *", "Europe/Lisbon", "2026-10-25T01:10", 1) == ["10-26 01:30+0000"]


def test_a_line_with_a_star_follows_the_clock_on_the_wall() -> None:
    twice = ["10-25 01:00+0100", "10-25 01:30+0100", "10-25 01:00+0000", "10-25 01:30+0000", "10-26 01:00+0000"]
    assert runs("*/30 1 * * *", "Europe/Lisbon", "2026-10-24T12:00", 5) == twice
    skipped = ["03-28 01:00+0000", "03-28 01:30+0000", "03-30 01:00+0100"]
    assert runs("*/30 1 * * *", "Europe/Lisbon", "2026-03-28", 3) == skipped
    hourly = ["11-01 00:05-0400", "11-01 01:05-0400", "11-01 01:05-0500", "11-01 02:05-0500"]
    assert runs("5 * * * *", "America/New_York", "2026-11-01T03:30", 4) == hourly
    hourly = ["03-08 01:05-0500", "03-08 03:05-0400"]
    assert runs("5 * * * *", "America/New_York", "2026-03-08T06:00", 2) == hourly


def test_clocks_that_are_changed_by_half_an_hour_or_at_midnight_hide_nothing() -> None:
    three = ["04-05 03:00+1030", "04-05 03:10+1030"]
    assert runs("*/10 3 * * *", "Australia/Lord_Howe", "2026-04-04T14:00", 2) == three
    # In Cairo the 24th of April begins at one o'clock.
    assert runs("*/20 0 * * *", "Africa/Cairo", "2026-04-23T21:50", 1) == ["04-25 00:00+0300"]
    assert runs("0 0 24 4 *", "Africa/Cairo", "2026-04-01", 1) == ["04-24 01:00+0300"]


def test_a_day_that_a_month_does_not_have_skips_the_month() -> None:
    expected = ["01-31 09:00+0000", "03-31 09:00+0000", "05-31 09:00+0000", "07-31 09:00+0000"]
    assert runs("0 9 31 * *", "UTC", "2026-01-01", 4) == expected
    assert next_run(Calendar("0 0 29 2 *"), at("2097-01-01")) == at("2104-02-29")


# --- the watch --------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """Five fields as sets, and as they are written."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def follows_the_clock(self) -> bool:
        minute, hour, *_ = self.text.split()
        return minute[0] == "*" or hour[0] == "*"

    def names(self, local: datetime) -> bool:
        """Whether these fields are what a clock and a calendar on the wall show."""
        _, _, day, _, weekday = self.text.split()
        of_month, of_week = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        days = of_month and of_week if "*" in (day[0], weekday[0]) else of_month or of_week
        return local.minute in self.minutes and local.hour in self.hours and local.month in self.months and days


def fields(least: int, most: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    numbers = st.integers(least, most)
    everything = frozenset(range(least, most + 1))
    lists = st.frozensets(numbers, min_size=1, max_size=4)
    return st.one_of(
        st.just(("*", everything)),
        st.integers(2, 30).map(lambda step: (f"*/{step}", frozenset(range(least, most + 1, step)))),
        lists.map(lambda chosen: (",".join(map(str, sorted(chosen))), chosen)),
        st.tuples(numbers, numbers)
        .map(sorted)
        .map(lambda ends: (f"{ends[0]}-{ends[1]}", frozenset(range(ends[0], ends[1] + 1)))),
    )


@st.composite
def lines(draw: st.DrawFn) -> Line:
    drawn = [draw(fields(*bounds)) for bounds in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))]
    # A line that fires seldom would only prove that nothing happens.
    drawn[3] = draw(st.sampled_from([drawn[3], ("*", frozenset(range(1, 13)))]))
    return Line(" ".join(text for text, _ in drawn), *(numbers for _, numbers in drawn))


def watched(line: Line, zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """Look at the clock on the wall every minute, with Debian's manners when somebody has turned it."""
    moment = after.replace(second=0, microsecond=0)
    while (moment := moment + MINUTE) <= until:
        local = moment.astimezone(zone)
        shown = local.replace(tzinfo=None, fold=0)
        if line.follows_the_clock:
            if line.names(shown):
                return moment
            continue
        before = (moment - MINUTE).astimezone(zone).replace(tzinfo=None, fold=0)
        skipped = int((shown - before) / MINUTE)
        if line.names(shown) and local.fold == 0:
            return moment
        if any(line.names(before + MINUTE * number) for number in range(1, skipped)):
            return moment
    return None


CHANGES = {
    "Europe/Lisbon": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Africa/Cairo": ("2026-04-23T22:00", "2026-10-29T21:00"),
    "UTC": ("2026-01-01T00:00", "2028-02-29T00:00"),
}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), line=lines(), zone=st.sampled_from(sorted(CHANGES)))
def test_the_next_run_is_what_a_watch_on_the_wall_finds(data: st.DataObject, line: Line, zone: str) -> None:
    change = datetime.fromisoformat(data.draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    after = change + timedelta(seconds=data.draw(st.integers(-30 * 3600, 4 * 3600)))
    until = after + timedelta(days=3)
    expected = watched(line, ZoneInfo(zone), after, until)
    try:
        found = next_run(Calendar(line.text, zone), after.timestamp() * 1000)
    except UnknownSchedule:
        assert expected is None
        return
    if expected is None:
        assert found > until.timestamp() * 1000
    else:
        assert found == expected.timestamp() * 1000


# --- what is no schedule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, zone, words",
    [
        ("0 0 30 2 *", "UTC", "no day of the month '30' in these months"),
        ("0 0 31 4,6 *", "UTC", "no day of the month '31' in these months"),
        ("0 0 */40 * MON#5", "UTC", "never fires"),
        ("61 * * * *", "UTC", "no minute '61'"),
        ("* 24 * * *", "UTC", "no hour '24'"),
        ("* * * * FUNDAY", "UTC", "no day of the week 'FUNDAY'"),
        ("0 * * * * *", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("", "UTC", "five fields"),
        ("0" * 5000 + " * * * *", "UTC", "CRON_LINE_CHARACTERS"),
        ("* * * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("* * * * *", "europe/lisbon", "write it as in 'Europe/Lisbon'"),
        ("* * * * *", "../../etc/passwd", "no time zone"),
        ("* * * * *", "", "no time zone"),
    ],
)
def test_a_line_that_makes_no_sense_says_why(line: str, zone: str, words: str) -> None:
    with pytest.raises(UnknownSchedule, match=words):
        check(Calendar(line, zone))


@pytest.mark.parametrize("seconds", [0, -1, limits.CRON_PERIOD + 1, 10**30])
def test_an_interval_has_bounds(seconds: int) -> None:
    with pytest.raises(UnknownSchedule, match="CRON_PERIOD"):
        check(Interval(seconds))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789*,-/L#W?MONFEB²", max_size=8), min_size=5, max_size=5).map(" ".join))
def test_whatever_a_stranger_writes_is_a_schedule_or_refused(line: str) -> None:
    try:
        check(Calendar(line))
    except UnknownSchedule:
        return
    assert next_run(Calendar(line), at("2026-01-01")) > at("2026-01-01")


# --- intervals and what was missed ------------------------------------------------------------------------------------


def test_an_interval_runs_at_once_and_a_line_at_its_time() -> None:
    assert first_run(Interval(30), 1_234.5) == 1_234.5
    assert first_run(Calendar("0 * * * *"), at("2026-01-01T00:30")) == at("2026-01-01T01:00")


def test_an_interval_keeps_its_beat() -> None:
    assert beat(Interval(10), 5_000.5, 5_000.5) == (5_000.5, 1, 15_000.5)
    assert beat(Interval(10), 5_000.5, 34_999.0) == (25_000.5, 3, 35_000.5)
    assert beat(Interval(1), 0.0, 1e12) == (1e12, 10**9 + 1, 1e12 + 1_000)


def test_the_last_of_several_runs_that_are_due_is_found_with_their_number() -> None:
    hourly, noon = Calendar("0 * * * *"), at("2026-01-01T12:00")
    assert beat(hourly, noon, noon + 5) == (noon, 1, at("2026-01-01T13:00"))
    two = at("2026-01-01T14:00")
    assert beat(hourly, noon, at("2026-01-01T14:59")) == (two, 3, at("2026-01-01T15:00"))


def test_no_more_than_a_hundred_missed_runs_are_looked_for() -> None:
    start, now = at("2026-01-01"), at("2027-01-01")
    assert beat(Calendar("* * * * *"), start, now) == (start + (COUNTED - 1) * 60_000, COUNTED, now + 60_000)


def test_runs_of_a_line_only_move_on() -> None:
    moment, found = at("2026-10-24T22:00"), []
    for _ in range(200):
        found.append(moment := next_run(Calendar("*/7 * * * *", "America/New_York"), moment))
    assert all(one < other for one, other in pairwise(found))
