"""Crons refuse every mistake where it is written, and list the right ones."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime import limits
from runtime.protocol import values
from runtime.protocol.declaration import Calendar, Interval
from runtime.sdk.crons import CronError, Crons
from runtime.sdk.functions import action, http_action, mutation, query
from runtime.sdk.references import api, internal


@mutation
async def sweep(ctx: Any) -> None: ...


@query
async def look(ctx: Any) -> None: ...


@http_action
async def answer(ctx: Any, request: Any) -> None: ...


def schedules(crons: Crons) -> dict[str, Interval | Calendar]:
    return {entry.name: entry.schedule for entry in crons.entries}


def test_every_form_is_a_period_or_a_line() -> None:
    crons = Crons()
    ref = internal.jobs.sweep
    crons.interval("i1", ref, seconds=30)
    crons.interval("i2", ref, minutes=5)
    crons.interval("i3", ref, hours=2)
    crons.cron("c", "0 9 * * MON-FRI", ref, {"kind": "daily"}, timezone="Europe/Lisbon")
    crons.hourly("h", ref)
    crons.hourly("h5", ref, minute=5, timezone="Asia/Kathmandu")
    crons.daily("d", ref, hour=3)
    crons.weekly("w", ref, hour=3, minute=4)
    crons.weekly("w0", ref, day_of_week="sunday", hour=0)
    crons.monthly("m", ref, day=31, hour=23, minute=59)
    assert schedules(crons) == {
        "i1": Interval(30),
        "i2": Interval(300),
        "i3": Interval(7200),
        "c": Calendar("0 9 * * MON-FRI", "Europe/Lisbon"),
        "h": Calendar("0 * * * *"),
        "h5": Calendar("5 * * * *", "Asia/Kathmandu"),
        "d": Calendar("0 3 * * *"),
        "w": Calendar("4 3 * * 1"),
        "w0": Calendar("0 0 * * 0"),
        "m": Calendar("59 23 31 * *"),
    }


def test_a_cron_knows_where_it_was_written() -> None:
    crons = Crons()
    crons.interval("a", api.jobs.sweep, seconds=1)
    crons.daily("b", api.jobs.sweep, hour=1)
    line = test_a_cron_knows_where_it_was_written.__code__.co_firstlineno
    assert [(entry.file, entry.line) for entry in crons.entries] == [(__file__, line + 2), (__file__, line + 3)]


def test_arguments_are_those_of_the_moment_at_which_it_was_written() -> None:
    crons, args = Crons(), {"kinds": ["daily"]}
    crons.daily("a", api.jobs.sweep, args, hour=1)
    args["kinds"].append("weekly")
    assert values.decode(crons.entries[0].args) == {"kinds": ["daily"]}


def test_a_function_is_named_in_every_way() -> None:
    crons = Crons()
    crons.daily("a", "admin/jobs:sweep", hour=1)
    crons.daily("b", internal.admin.jobs.sweep, hour=1)
    crons.daily("c", sweep, hour=1)
    with pytest.raises(CronError, match="cron 'c': this function has no path"):
        _ = crons.entries[2].path
    sweep.path = "admin/jobs:sweep"
    try:
        assert [entry.path for entry in crons.entries] == ["admin/jobs:sweep"] * 3
    finally:
        sweep.path = ""


@pytest.mark.parametrize(
    "write, error, words",
    [
        (lambda c: c.interval("a", sweep), ValueError, "one of them, not 0"),
        (lambda c: c.interval("a", sweep, seconds=1, hours=1), ValueError, "one of them, not 2"),
        (lambda c: c.interval("a", sweep, seconds=0), ValueError, "seconds is 0"),
        (lambda c: c.interval("a", sweep, minutes=-1), ValueError, "minutes is -1"),
        (lambda c: c.interval("a", sweep, hours=8_785), ValueError, "1 to 8784"),
        (lambda c: c.interval("a", sweep, seconds=1.5), TypeError, "whole number"),
        (lambda c: c.interval("a", sweep, seconds=True), TypeError, "whole number"),
        (lambda c: c.interval(5, sweep, seconds=1), TypeError, "name of a cron is a string"),
        (lambda c: c.interval("", sweep, seconds=1), ValueError, "printable ASCII"),
        (lambda c: c.interval("é", sweep, seconds=1), ValueError, "printable ASCII"),
        (lambda c: c.interval("a\n", sweep, seconds=1), ValueError, "printable ASCII"),
        (lambda c: c.interval("a" * 257, sweep, seconds=1), ValueError, "1 to 256"),
        (lambda c: c.interval("a", look, seconds=1), TypeError, "look is a query"),
        (lambda c: c.interval("a", answer, seconds=1), TypeError, "answer is an HTTP action"),
        (lambda c: c.interval("a", "nothing here", seconds=1), ValueError, "not a function path"),
        (lambda c: c.interval("a", api, seconds=1), ValueError, "names no function"),
        (lambda c: c.interval("a", print, seconds=1), TypeError, "a function is named by"),
        (lambda c: c.interval("a", sweep, [1], seconds=1), TypeError, "a dict or None, not list"),
        (lambda c: c.interval("a", sweep, {"x": object()}, seconds=1), ValueError, "args.x"),
        (lambda c: c.interval("a", sweep, {"x": "a" * limits.MIB}, seconds=1), ValueError, "CRON_ARGUMENT_BYTES"),
        (lambda c: c.cron("a", "* * * *", sweep), ValueError, "has 4 fields; it has five"),
        (lambda c: c.cron("a", "0 * * * * *", sweep), ValueError, "has 6 fields"),
        (lambda c: c.cron("a", "@daily", sweep), ValueError, "has 1 fields"),
        (lambda c: c.cron("a", None, sweep), TypeError, "a cron line is a string"),
        (lambda c: c.cron("a", "* * * * *", sweep, timezone=1), TypeError, "timezone is a string"),
        (lambda c: c.cron("a", "* * * * *", sweep, timezone=""), ValueError, "timezone is 1 to 256"),
        (lambda c: c.hourly("a", sweep, minute=60), ValueError, "minute is 60; it can be 0 to 59"),
        (lambda c: c.daily("a", sweep, hour=24), ValueError, "hour is 24; it can be 0 to 23"),
        (lambda c: c.weekly("a", sweep, hour=1, day_of_week="Monday"), ValueError, "day_of_week is one of sunday"),
        (lambda c: c.weekly("a", sweep, hour=1, day_of_week=[]), ValueError, "day_of_week is one of sunday"),
        (lambda c: c.monthly("a", sweep, hour=1, day=0), ValueError, "day is 0; it can be 1 to 31"),
        (lambda c: c.monthly("a", sweep, hour=1, day=32), ValueError, "day is 32"),
    ],
)
def test_a_mistake_is_raised_by_the_call_that_makes_it(
    write: Callable[[Any], None], error: type[Exception], words: str
) -> None:
    crons = Crons()
    with pytest.raises(error, match=words):
        write(crons)
    assert crons.entries == []


def test_a_name_is_taken_once_and_says_where() -> None:
    crons = Crons()
    crons.daily("a", action(look.handler), hour=1)
    line = crons.entries[0].line
    with pytest.raises(ValueError, match=f"there is a cron 'a' already, in {__file__}, line {line}"):
        crons.interval("a", sweep, seconds=1)
