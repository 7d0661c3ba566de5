"""May a lane ask for this name, and connect to that address?"""

import pytest

from runtime.egress.policy import parse_policy
from runtime.egress.rules import NotAllowed, Rules, parse_exceptions
from worker.lane.judging import NoNetwork, OpenJudge, PolicyJudge

PUBLIC = "93.184.216.34"


def _judge(allow: list[str] | None, exceptions: str = "") -> PolicyJudge:
    return PolicyJudge(parse_policy(allow), Rules(parse_exceptions(exceptions)), lambda _: None)


def test_an_open_deployment_asks_for_any_name_and_is_told_public_addresses_only() -> None:
    judge = OpenJudge(Rules(parse_exceptions("")), lambda _: None)
    judge.check_name("anything.example")
    assert judge.permitted("anything.example", [PUBLIC], None) == [PUBLIC]
    for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fe80::1", "64:ff9b::7f00:1"):
        for port in (None, 443):
            with pytest.raises(NotAllowed):
                judge.permitted("anything.example", [address], port)
            with pytest.raises(NotAllowed):
                judge.permitted(None, [address], port)


def test_a_listed_host_is_asked_for_and_connected_to_at_its_port_only() -> None:
    judge = _judge(["db.example:5432", "*.wide.example"])
    judge.check_name("db.example")
    judge.check_name("a.wide.example")
    assert judge.permitted("db.example", [PUBLIC], None) == [PUBLIC]
    assert judge.permitted("db.example", [PUBLIC], 5432) == [PUBLIC]
    with pytest.raises(NotAllowed):
        judge.permitted("db.example", [PUBLIC], 443)
    with pytest.raises(NotAllowed):
        judge.permitted(None, [PUBLIC], 5432)


@pytest.mark.parametrize("allow", [["db.example:5432"], []], ids=["a list", "closed"])
def test_what_is_not_listed_is_not_even_asked_for(allow: list[str]) -> None:
    with pytest.raises(NotAllowed):
        _judge(allow).check_name("secret.evil.example")


def test_a_list_does_not_open_what_the_rules_close() -> None:
    with pytest.raises(NotAllowed):
        _judge(["inside.example"]).permitted("inside.example", ["10.0.0.1"], 443)
    assert _judge(["inside.example"], "10.0.0.0/8").permitted("inside.example", ["10.0.0.1"], 443) == ["10.0.0.1"]


def test_without_a_network_nothing_is_allowed() -> None:
    with pytest.raises(NotAllowed):
        NoNetwork().check_name("a.example")
    with pytest.raises(NotAllowed):
        NoNetwork().permitted(None, [PUBLIC], 443)
