"""Where the Node-style actions of a deployment may connect to."""

import pytest

from runtime.egress.policy import EgressPolicy, parse_policy
from runtime.egress.rules import NotAllowed, Rules, parse_exceptions
from worker.node_style.egress import PolicyJudge

PUBLIC = ["93.184.215.14"]


class Known:
    """What is known of a deployment."""

    policy: EgressPolicy | None = None


def made(known: Known, exceptions: str = "") -> PolicyJudge:
    return PolicyJudge(Rules(parse_exceptions(exceptions)), lambda: known.policy, lambda reason: None)


def test_an_open_deployment_reaches_what_the_rules_allow_and_nothing_inside() -> None:
    known = Known()
    known.policy = parse_policy(None)
    judge = made(known)
    judge.check_name("api.example.com")
    assert judge.permitted("api.example.com", PUBLIC, None) == PUBLIC
    assert judge.permitted("api.example.com", PUBLIC, 5432) == PUBLIC
    assert judge.permitted(None, PUBLIC, 443) == PUBLIC
    for inside in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"):
        for host, port in (("rebound.example.com", 443), ("rebound.example.com", None), (None, 443)):
            with pytest.raises(NotAllowed):
                judge.permitted(host, [inside], port)


def test_a_list_lets_through_its_hosts_at_their_ports() -> None:
    known = Known()
    known.policy = parse_policy(["api.example.com", "db.example.com:5432"])
    judge = made(known)
    for name in ("api.example.com", "API.example.com", "db.example.com"):
        judge.check_name(name)
    assert judge.permitted("db.example.com", PUBLIC, 5432) == PUBLIC
    for host, port in (("db.example.com", 443), ("other.example.com", 443), (None, 443)):
        with pytest.raises(NotAllowed):
            judge.permitted(host, PUBLIC, port)
    with pytest.raises(NotAllowed, match="a list of 2 hosts without it"):
        judge.check_name("secrets.evil.example")


def test_a_policy_that_changes_holds_for_the_next_connection() -> None:
    known = Known()
    known.policy = parse_policy(None)
    judge = made(known)
    judge.check_name("api.example.com")
    known.policy = parse_policy([])
    with pytest.raises(NotAllowed, match="closed"):
        judge.check_name("api.example.com")
    with pytest.raises(NotAllowed, match="closed"):
        judge.permitted(None, PUBLIC, 443)


def test_until_a_policy_is_known_nothing_may_be_reached_and_then_the_last_one_holds() -> None:
    known = Known()
    judge = made(known)
    with pytest.raises(NotAllowed):
        judge.check_name("api.example.com")
    known.policy = parse_policy(["api.example.com"])
    judge.check_name("api.example.com")
    known.policy = None
    judge.check_name("api.example.com")
    with pytest.raises(NotAllowed):
        judge.check_name("other.example.com")


def test_the_operators_exceptions_are_within_reach_of_the_open_alone() -> None:
    known = Known()
    known.policy = parse_policy(None)
    judge = made(known, "10.1.0.0/16")
    assert judge.permitted(None, ["10.1.2.3"], 80) == ["10.1.2.3"]
    known.policy = parse_policy(["api.example.com"])
    with pytest.raises(NotAllowed):
        judge.permitted(None, ["10.1.2.3"], 80)
