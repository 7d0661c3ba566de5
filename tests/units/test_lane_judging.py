"""Where may a lane without a network go?"""

import pytest

from runtime.egress.rules import NotAllowed
from worker.lane.judging import NoNetwork


def test_without_a_network_nothing_is_allowed() -> None:
    with pytest.raises(NotAllowed):
        NoNetwork().check_name("a.example")
    with pytest.raises(NotAllowed):
        NoNetwork().permitted(None, ["93.184.216.34"], 443)
