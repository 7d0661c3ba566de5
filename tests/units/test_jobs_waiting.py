"""How long until the next time?"""

import pytest

from runtime.execution.jobs.waiting import until_next_attempt, until_tried_again
from runtime.syscalls.scheduling.records import RetryTerms


def test_what_lost_a_race_waits_from_a_tenth_of_a_second_to_a_minute() -> None:
    assert [until_tried_again(tries) for tries in range(4)] == [100, 200, 400, 800]
    assert until_tried_again(10) == until_tried_again(10_000) == 60_000


def test_attempts_are_twice_as_far_apart_each_time_up_to_the_longest_wait() -> None:
    terms = RetryTerms(10, 1_000, 5_000, 0)
    assert [until_next_attempt(terms, attempts, lambda: 1) for attempts in (1, 2, 3, 4, 100)] == [
        *(1_000, 2_000, 4_000),
        *(5_000, 5_000),
    ]


@pytest.mark.parametrize("chance, wait", [(0.0, 1_000), (0.5, 750), (1.0, 500)])
def test_chance_takes_off_a_part_of_the_wait(chance: float, wait: float) -> None:
    assert until_next_attempt(RetryTerms(3, 1_000, 9_000, 0.5), 1, lambda: chance) == wait
