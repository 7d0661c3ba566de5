"""Where may this server be sent?"""

from ipaddress import ip_address

import pytest

from runtime.egress.rules import Exceptions, NotAllowed, Plain, Rules, destination, is_public, parse_exceptions

NONE = Rules(Exceptions())

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1"),
    *("2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "2606:4700::1%eth0"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_special_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(NotAllowed):
        NONE.permitted(destination("https://id.example.org/"), [address])


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert NONE.permitted(destination("https://id.example.org/"), [address]) == [address]


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/"),
        *(
            "https://0/",
            "https://①②⑦.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://169.254.169.254/x",
        ),
    ],
)
def test_every_spelling_of_a_private_address_is_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(NotAllowed, match="WARREN_EGRESS_ALLOW"):
        NONE.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "//id.example.org", "ftp://id.example.org/", "file:///etc/passwd", "data:,x", "https://"),
        *("https://user@id.example.org/", "https://:pw@id.example.org/", "https://id.example.org/\x00", "https://a b/"),
        *("https://id.example.org/\n", "javascript:1", "https://id.example.org:99999/", "https://" + "a" * 3000),
    ],
)
def test_what_is_no_address_on_the_web_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed):
        NONE.check_url(url)


def test_a_url_is_read_once_and_shown_as_it_was_read() -> None:
    where = NONE.check_url("HTTPS://ID.Example.ORG.:443/a/../b?c=d#e")
    assert (where.scheme, where.host, where.port, where.target) == ("https", "id.example.org", 443, "/b?c=d")
    assert where.shown == "https://id.example.org/b?c=d"
    assert destination("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"


def test_keys_come_over_tls_and_other_things_may_not() -> None:
    with pytest.raises(NotAllowed, match="https"):
        NONE.check_url("http://id.example.org/")
    assert Rules(Exceptions(), Plain.ALLOWED).check_url("http://id.example.org/").port == 80


def test_the_ports_of_the_systems_own_services_are_refused() -> None:
    for port in (22, 25, 80, 443, 587, 1024, 8443):
        allowed = port in (80, 443) or port >= 1024
        try:
            NONE.check_url(f"https://id.example.org:{port}/")
            assert allowed
        except NotAllowed:
            assert not allowed


def test_what_the_operator_lists_may_be_reached_on_any_port_and_without_tls() -> None:
    rules = Rules(parse_exceptions("id.internal, 10.1.0.0/16 ,[::1], 127.0.0.1"))
    for url in ("http://id.internal:25/", "http://10.1.2.3/", "http://[::1]:8080/", "http://127.0.0.1:1/"):
        rules.check_url(url)
    with pytest.raises(NotAllowed):
        rules.check_url("https://10.2.0.1/")
    with pytest.raises(NotAllowed):
        rules.check_url("https://127.0.0.2/")


def test_a_name_that_leads_to_a_listed_address_is_known_only_when_it_is_resolved() -> None:
    rules = Rules(parse_exceptions("127.0.0.1"))
    where = rules.check_url("http://localhost:8080/")
    assert rules.permitted(where, ["::1", "127.0.0.1"]) == ["127.0.0.1"]
    with pytest.raises(NotAllowed):
        rules.permitted(where, ["::1"])
    with pytest.raises(NotAllowed, match="encrypted"):
        rules.permitted(where, ["93.184.216.34"])


def test_a_name_that_leads_inside_and_outside_leads_nowhere() -> None:
    where = destination("https://id.example.org/")
    with pytest.raises(NotAllowed):
        NONE.permitted(where, ["93.184.216.34", "169.254.169.254"])


@pytest.mark.parametrize("text", ["10.0.0.0/40", "a b", "http://x", "1.2.3.4.5", "host:80", "-x", "exa$mple"])
def test_an_exception_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="CIDR"):
        parse_exceptions(f"ok.example, {text}")
    assert parse_exceptions(" , ") == Exceptions()
