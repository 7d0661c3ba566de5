"""What does ``ctx.scheduler`` ask of the host, and what does it refuse by itself?"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from runtime.protocol.declaration import Kind
from runtime.sdk.scheduling.scheduler import Retry
from tests.units.guests import NOW, Host


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def load(host: Host, line: str, kind: str = "mutation") -> None:
    head = "from datetime import datetime, timedelta, timezone, UTC\nfrom runtime import *\n"
    host.load({"m.py": f"{head}@{kind}\nasync def f(ctx):\n    return await ctx.scheduler.{line}"})


@pytest.mark.parametrize(
    "line, asked",
    [
        ("run_after(1.5, 'm:g', {'a': 1})", ["m:g", {"a": 1}, "after", 1_500, None]),
        ("run_after(timedelta(minutes=1), internal.jobs.g, a=1)", ["jobs:g", {"a": 1}, "after", 60_000, None]),
        ("run_after(0, f)", ["m:f", {}, "after", 0, None]),
        ("run_at(1700000000, 'm:g')", ["m:g", {}, "at", NOW, None]),
        ("run_at(datetime.fromtimestamp(1700000000, UTC), 'm:g')", ["m:g", {}, "at", NOW, None]),
        ("run_at(datetime.now(UTC) + timedelta(days=1), 'm:g')", ["m:g", {}, "at", NOW + 86_400_000, None]),
        (
            "run_after(0, 'm:g', {'retry': 3}, retry=Retry(max_attempts=5, backoff=timedelta(seconds=2)))",
            ["m:g", {"retry": 3}, "after", 0, [5, 2_000, 3_600_000, 0.5]],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["mutation", "action"])
def test_what_is_scheduled_is_asked_of_the_host(host: Host, line: str, asked: list[Any], kind: str) -> None:
    # The clock of an action is the real one.
    if kind == "action" and "now" in line:
        return
    load(host, line, kind)
    host.call("m:f", Kind(kind))
    syscall, args = host.asked()
    assert (syscall.name, args) == ("scheduler.schedule", asked)
    host.answer(syscall, "an-id")
    assert host.returned() == "an-id"


def test_cancelling_is_asked_of_the_host(host: Host) -> None:
    load(host, "cancel('an-id')")
    host.call("m:f", Kind.MUTATION)
    syscall, args = host.asked()
    assert (syscall.name, args) == ("scheduler.cancel", ["an-id"])
    host.answer(syscall, None)
    assert host.returned() is None


@pytest.mark.parametrize(
    "line, exception, words",
    [
        ("run_after(-1, 'm:g')", "ValueError", "0 or more seconds, not -1"),
        ("run_after(float('nan'), 'm:g')", "ValueError", "0 or more seconds, not nan"),
        ("run_after(float('inf'), 'm:g')", "ValueError", "0 or more seconds, not inf"),
        ("run_after(True, 'm:g')", "TypeError", "a number of seconds or a timedelta, not bool"),
        ("run_after('5', 'm:g')", "TypeError", "a number of seconds or a timedelta, not str"),
        ("run_at(datetime(2030, 1, 1), 'm:g')", "ValueError", "no time zone"),
        ("run_at('2030-01-01', 'm:g')", "TypeError", "a datetime or seconds since 1970, not str"),
        ("run_at(float('nan'), 'm:g')", "ValueError", "takes a moment, not nan"),
        ("run_after(0, 'm:g', {'a': 1}, b=2)", "TypeError", "as one dict or as keywords, not both"),
        ("run_after(0, 'm:g', [1])", "TypeError", "are a dict, not list"),
        ("run_after(0, 'm:g', retry=3)", "TypeError", "given in a dict"),
        ("run_after(0, 5)", "TypeError", "named by api.module.name"),
        ("run_after(0, 'm:g', a=object())", "InvalidValue", "args.a is of type object"),
        ("cancel(5)", "TypeError", "by its id, not by int"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(host: Host, line: str, exception: str, words: str) -> None:
    load(host, line)
    host.call("m:f", Kind.MUTATION)
    failure = host.failed()
    assert failure.exception == exception
    assert words in failure.message


def test_a_query_has_no_scheduler_and_is_told_what_has(host: Host) -> None:
    load(host, "run_after(0, 'm:g')", "query")
    host.call("m:f")
    failure = host.failed()
    assert failure.exception == "AttributeError"
    assert "a query only reads; make this function a mutation or an action" in failure.message


@pytest.mark.parametrize(
    "terms, words",
    [
        ({"max_attempts": 0}, "from 1 to 100, not 0"),
        ({"max_attempts": 101}, "from 1 to 100, not 101"),
        ({"max_attempts": 2.0}, "a whole number"),
        ({"max_attempts": 2, "backoff": -1}, "Retry(backoff=) is from 0"),
        ({"max_attempts": 2, "max_backoff": timedelta(days=8)}, "Retry(max_backoff=) is from 0 to 604800 seconds"),
        ({"max_attempts": 2, "jitter": 1.5}, "Retry(jitter=) is a part, from 0 to 1, not 1.5"),
        ({"max_attempts": 2, "jitter": float("nan")}, "Retry(jitter=)"),
    ],
)
def test_terms_that_make_no_sense_are_refused_where_they_are_written(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as raised:
        Retry(**terms)
    assert words in str(raised.value)


def test_terms_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Retry(max_attempts=2).max_attempts = 3  # type: ignore[misc]  # that it is refused is what is tried
