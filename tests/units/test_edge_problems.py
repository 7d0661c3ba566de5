"""Does every error have a status, and does none tell a stranger what is not theirs?"""

from collections.abc import Iterator

import pytest

from runtime import errors
from runtime.edge.problems import STATUSES, json_problem, site_problem, status_of, to_json
from runtime.names import RequestId

ID = RequestId("0123456789abcdef")


def every(kind: type[errors.WarrenError]) -> Iterator[type[errors.WarrenError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every(child)


def test_every_error_of_the_tree_has_a_line_in_the_table() -> None:
    own = [kind for kind in every(errors.WarrenError) if kind.__module__ == errors.__name__]
    assert {kind.__name__ for kind in own} - {kind.__name__ for kind in STATUSES} == {"WarrenError", "SyscallRefused"}


@pytest.mark.parametrize(
    "error",
    [errors.OurMistake("secret"), errors.IsolateLost("secret"), errors.CommitConflict("secret"), OSError("secret")],
)
def test_the_words_of_our_mistakes_stay_with_us(error: Exception) -> None:
    problem = json_problem(error, ID)
    assert b"secret" not in problem.body
    assert ID.encode() in problem.body
    assert status_of(error) >= 500


def test_a_callers_mistake_is_told_in_its_own_words() -> None:
    assert json_problem(errors.BadRequest("say it again"), ID).body == b'{"code":"BadRequest","message":"say it again"}'


def test_what_a_person_meets_in_a_browser_is_a_sentence() -> None:
    problem = site_problem(errors.MethodNotAllowed("no", ["GET", "HEAD"]), ID)
    assert (problem.status, problem.content_type, problem.body) == (405, b"text/plain; charset=utf-8", b"no\n")
    assert (b"allow", b"GET, HEAD") in problem.headers


def test_lone_surrogates_do_not_break_an_answer() -> None:
    assert to_json({"a": "é\ud800"}) == b'{"a":"\\u00e9\\ud800"}'
