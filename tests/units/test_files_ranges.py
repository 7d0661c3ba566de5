"""Which part of a file a request wants, and whether it has it already (RFC 9110)."""

import pytest

from runtime.edge.files.ranges import Part, Unsatisfiable, is_known, wanted_part

TAG = '"abc"'


@pytest.mark.parametrize(
    "header, part",
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-1000", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("BYTES=5-6", (5, 7)),
        ("bytes= 5-6 ", (5, 7)),
        ("bytes=9223372036854775807-9223372036854775807", Unsatisfiable),
        ("bytes=100-", Unsatisfiable),
        ("bytes=100-200", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=6-5", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("bytes=1-2x", None),
        ("bytes=1-99999999999999999999", None),
        ("bytes=\u0661-\u0662", None),
        (None, None),
    ],
)
def test_one_part_or_all_of_it(header: str | None, part: tuple[int, int] | type[Exception] | None) -> None:
    if isinstance(part, type):
        with pytest.raises(part):
            wanted_part(header, None, TAG, 100)
    else:
        assert wanted_part(header, None, TAG, 100) == (None if part is None else Part(*part))


def test_an_empty_file_has_no_parts() -> None:
    assert wanted_part("bytes=0-0", None, TAG, 0) is None
    assert wanted_part("bytes=-5", None, TAG, 0) is None


@pytest.mark.parametrize("if_range, whole", [(TAG, False), (f" {TAG} ", False), ('"old"', True), (f"W/{TAG}", True)])
def test_a_part_of_another_file_is_not_wanted(if_range: str, whole: bool) -> None:
    assert (wanted_part("bytes=0-1", if_range, TAG, 100) is None) is whole


@pytest.mark.parametrize(
    "header, known",
    [
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"x", {TAG}', True),
        ("*", True),
        ('"abcd"', False),
        ("abc", False),
        ("", False),
        (None, False),
    ],
)
def test_what_a_client_has_is_not_sent_again(header: str | None, known: bool) -> None:
    assert is_known(header, TAG) is known
