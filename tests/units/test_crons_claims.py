"""What a stranger declares as crons is looked at as if no SDK had been there."""

import msgspec
import pytest

from control_plane.push import look_over
from runtime import limits
from runtime.errors import PushRefused
from runtime.protocol import values
from runtime.protocol.declaration import (
    Calendar,
    CronDeclaration,
    Declaration,
    FunctionDeclaration,
    Interval,
    Kind,
    Visibility,
)

BUNDLE = {"crons.py": b"\n" * 200, "jobs.py": b"\n" * 9}
FUNCTIONS = tuple(
    FunctionDeclaration(f"jobs:{kind.value}", kind, visibility, "jobs.py", 1)
    for kind, visibility in zip(Kind, [Visibility.PUBLIC, Visibility.INTERNAL] * 2, strict=True)
)
CRON = CronDeclaration("a", Interval(1), "jobs:mutation", values.encode({}), "crons.py", 7)


def refused(*crons: CronDeclaration) -> list[tuple[str, int, str]]:
    with pytest.raises(PushRefused) as found:
        look_over(Declaration(FUNCTIONS, crons=crons), BUNDLE)
    return [(one.file, one.line, one.message) for one in found.value.diagnostics]


def test_public_and_internal_mutations_and_actions_may_be_run() -> None:
    fine = (CRON, msgspec.structs.replace(CRON, name="b", function="jobs:action", schedule=Calendar("* * * * *")))
    look_over(Declaration(FUNCTIONS, crons=fine), BUNDLE)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": ""}, "printable ASCII"),
        ({"name": "a\x1b[31m"}, "printable ASCII"),
        ({"name": "a" * 257}, "CRON_NAME_CHARACTERS"),
        ({"schedule": Interval(0)}, "cron 'a': an interval has 1 to"),
        ({"schedule": Interval(2**62)}, "CRON_PERIOD"),
        ({"schedule": Calendar("0 0 30 2 *")}, "'30' in these months"),
        ({"schedule": Calendar("* * * * *", "Nowhere")}, "no time zone 'Nowhere'"),
        ({"function": "jobs:nothing"}, "there is no such function"),
        ({"function": "\n" * 10_000}, "there is no such function"),
        ({"function": "jobs:query"}, "which is a query"),
        ({"function": "jobs:http_action"}, "which is an HTTP action"),
        ({"args": b"\xc1"}, "are no values"),
        ({"args": values.encode([1])}, "are no dict"),
        ({"args": b"x" * limits.MIB}, "CRON_ARGUMENT_BYTES"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_line(change: dict[str, object], words: str) -> None:
    ((file, line, message),) = refused(msgspec.structs.replace(CRON, **change))
    assert (file, line) == ("crons.py", 7)
    assert words in message


def test_every_wrong_cron_is_told_of_at_once() -> None:
    wrong = [msgspec.structs.replace(CRON, name=f"c{n}", schedule=Interval(0), line=n) for n in (1, 2)]
    assert [line for _, line, _ in refused(*wrong)] == [1, 2]


def test_two_crons_of_one_name_are_refused() -> None:
    ((_, line, message),) = refused(CRON, msgspec.structs.replace(CRON, line=8))
    assert line == 8
    assert "there is a cron 'a' already" in message


def test_a_place_outside_of_the_bundle_is_refused() -> None:
    assert "file or line that it does not have" in refused(msgspec.structs.replace(CRON, file="/etc/passwd"))[0][2]


def test_their_arguments_are_not_too_large_together() -> None:
    large = values.encode({"x": "a" * 900_000})
    many = [msgspec.structs.replace(CRON, name=str(n), args=large, line=n) for n in range(1, 7)]
    ((_, line, message),) = refused(*many)
    assert line == 5
    assert "limit CRONS_BYTES" in message


def test_there_are_not_too_many() -> None:
    many = [msgspec.structs.replace(CRON, name=str(n)) for n in range(limits.CRONS + 1)]
    assert "limit CRONS" in refused(*many)[0][2]
