"""Where may one deployment be sent, and who decides?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.egress.policy import CLOSED, OPEN, EgressPolicy, Entry, judge, parse_policy
from runtime.egress.rules import Exceptions, NotAllowed, Plain, Rules, parse_exceptions

RULES = Rules(Exceptions(), Plain.ALLOWED)
PUBLIC = "93.184.216.34"
LABEL = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
NAMES = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
PORTS = st.integers(1, 65_535)


def permits(policy: EgressPolicy, host: str, port: int = 443) -> bool:
    try:
        policy.check(host, port)
    except NotAllowed:
        return False
    return True


@given(NAMES, PORTS)
def test_an_open_policy_takes_nothing_away_and_a_closed_one_everything(host: str, port: int) -> None:
    assert permits(OPEN, host, port)
    assert not permits(CLOSED, host, port)


@given(NAMES, NAMES, PORTS, PORTS)
def test_an_entry_means_its_host_and_its_port_and_no_other(host: str, other: str, port: int, another: int) -> None:
    anywhere, there = parse_policy([host]), parse_policy([f"{host}:{port}"])
    assert permits(anywhere, host, another) and permits(there, host, port)
    assert permits(there, host, another) == (port == another)
    assert permits(anywhere, other) == (host == other)


@given(NAMES, LABEL, st.lists(LABEL, max_size=3))
def test_a_star_means_everything_below_and_not_the_name_itself(host: str, label: str, more: list[str]) -> None:
    policy = parse_policy([f"*.{host}"])
    below = ".".join([*more, label, host])
    assert permits(policy, below)
    assert not permits(policy, host)
    assert not permits(policy, f"{label}{host}")
    assert not permits(policy, f"{host}.{label}x")


@given(st.lists(st.builds(Entry, NAMES, st.booleans(), st.none() | PORTS), max_size=5))
def test_a_list_comes_back_as_it_was_kept(entries: list[Entry]) -> None:
    policy = EgressPolicy(tuple(dict.fromkeys(entries)))
    assert parse_policy(policy.texts()) == policy


@given(st.text(max_size=30))
def test_any_text_is_an_entry_or_named_as_none(text: str) -> None:
    try:
        policy = parse_policy([text])
    except ValueError as error:
        assert "entry" in str(error) or "ports" in str(error)
    else:
        assert parse_policy(policy.texts()) == policy
        assert permits(policy, "unlisted.example") <= (text.strip().lower().rstrip(".") == "unlisted.example")


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "*.", "https://example.com", "example.com/path", "user@example.com", "example.com:0", "a:b:c"),
        *("example.com:99999", "*.1.2.3.4", "10.0.0.0/8", "a b", "a..b", "*.*.com", "ex*mple.com", "[::1", ":443"),
    ],
)
def test_what_is_no_entry_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry|ports"):
        parse_policy([text])


def test_there_are_only_so_many_entries() -> None:
    with pytest.raises(ValueError, match="EGRESS_ENTRIES"):
        parse_policy([f"h{number}.example" for number in range(limits.EGRESS_ENTRIES + 1)])


def test_a_host_is_written_as_the_parser_of_urls_writes_it() -> None:
    policy = parse_policy(["API.Stripe.COM.", "bücher.example", "[2606:4700:0::1]:8443", "127.1"])
    assert policy.texts() == ["api.stripe.com", "xn--bcher-kva.example", "[2606:4700::1]:8443", "127.0.0.1"]
    assert permits(policy, "2606:4700::1", 8443)
    assert permits(policy, "::ffff:127.0.0.1")


def test_what_a_list_leads_to_is_still_judged_by_the_rules() -> None:
    policy = parse_policy(["inside.example", "10.0.0.1"])
    assert judge(policy, RULES, "inside.example", 443, [PUBLIC]) == [PUBLIC]
    for host, address in (("inside.example", "10.0.0.1"), ("10.0.0.1", "10.0.0.1"), (None, "10.0.0.1")):
        with pytest.raises(NotAllowed, match="WARREN_EGRESS_ALLOW"):
            judge(policy, RULES, host, 443, [address])


def test_the_operators_exceptions_go_before_the_rules_and_not_before_a_list() -> None:
    rules = Rules(parse_exceptions("10.0.0.0/8, db.internal"), Plain.ALLOWED)
    assert judge(OPEN, rules, "db.internal", 25, ["10.0.0.1"]) == ["10.0.0.1"]
    with pytest.raises(NotAllowed, match="egress policy"):
        judge(CLOSED, rules, "db.internal", 25, ["10.0.0.1"])
    with pytest.raises(NotAllowed, match="egress policy"):
        judge(parse_policy(["api.example"]), rules, None, 443, ["10.0.0.1"])


def test_without_a_name_an_address_must_be_listed_itself() -> None:
    policy = parse_policy(["api.example", PUBLIC])
    assert judge(policy, RULES, None, 443, [PUBLIC]) == [PUBLIC]
    assert judge(OPEN, RULES, None, 443, ["1.1.1.1"]) == ["1.1.1.1"]
    with pytest.raises(NotAllowed, match=r"1\.1\.1\.1"):
        judge(policy, RULES, None, 443, [PUBLIC, "1.1.1.1"])
    with pytest.raises(NotAllowed, match="no address"):
        judge(OPEN, RULES, None, 443, [])


@pytest.mark.parametrize("port", [22, 25, 53, 139])
def test_the_ports_of_the_systems_services_stay_closed_whatever_is_listed(port: int) -> None:
    with pytest.raises(NotAllowed, match=f"port {port}"):
        judge(parse_policy([f"api.example:{port}"]), RULES, "api.example", port, [PUBLIC])


def test_the_servers_own_ports_stay_closed_even_where_the_operator_allows_the_address() -> None:
    rules = Rules(parse_exceptions("127.0.0.1, ::1, 10.0.0.7, localhost"), Plain.ALLOWED, frozenset({3210}))
    for host, address in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "127.0.0.1"), ("x", "0.0.0.0")):
        with pytest.raises(NotAllowed, match="own"):
            judge(OPEN, rules, host, 3210, [address])
    assert judge(OPEN, rules, "localhost", 3211, ["127.0.0.1"]) == ["127.0.0.1"]
    rules.check_not_own("10.0.0.7", 3210, "10.0.0.8")
    with pytest.raises(NotAllowed, match="own"):
        rules.check_not_own("10.0.0.7", 3210, "10.0.0.7")


def test_a_refusal_tells_nothing_of_where_a_name_leads() -> None:
    with pytest.raises(NotAllowed) as refused:
        judge(OPEN, RULES, "redis", 6379, ["172.18.0.3"])
    assert "172.18" not in str(refused.value)
