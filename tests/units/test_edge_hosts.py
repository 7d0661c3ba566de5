"""Does every spelling of a host lead where it should?"""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.edge.hosts import Addresses, Face, Hosts, Listener, Place
from runtime.errors import BadRequest

HOSTS = Hosts(Addresses("Warren.Site", "warren.cloud"), Listener.MAIN)


def find(host: str, hosts: Hosts = HOSTS) -> Place:
    return hosts.find([(b"accept", b"*/*"), (b"host", host.encode("latin-1"))])


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True),
    st.sampled_from(["", ":80", ":3210", ":"]),
    st.booleans(),
    st.booleans(),
)
def test_case_port_and_a_trailing_dot_do_not_matter(label: str, port: str, dot: bool, upper: bool) -> None:
    host = f"{label}.warren.site" + ("." if dot else "")
    place = find((host.upper() if upper else host) + port)
    assert (place.face, place.name) == (Face.SITE, label)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_place_or_a_bad_request(host: bytes) -> None:
    try:
        place = HOSTS.find([(b"host", host)])
    except BadRequest:
        return
    assert place.name is None or place.face in (Face.SITE, Face.FUNCTIONS)


@pytest.mark.parametrize("host", [".warren.site", "a.b.warren.site", "a_b.warren.cloud", "-a.warren.site"])
def test_what_is_not_one_label_is_nowhere(host: str) -> None:
    assert find(host).face is Face.NOWHERE


@pytest.mark.parametrize("host", ["warren.site", "xwarren.site", "localhost", "127.0.0.1", "[::1]:3210", "a.example"])
def test_other_hosts_are_elsewhere(host: str) -> None:
    assert find(host).face is Face.ELSEWHERE


@pytest.mark.parametrize(("host", "may"), [("a.example", True), ("localhost", False), ("127.0.0.1", False)])
def test_only_a_real_domain_is_looked_up_as_a_custom_one(host: str, may: bool) -> None:
    assert find(host).may_be_custom is may


@pytest.mark.parametrize(
    ("host", "http", "https"),
    [
        ("A.example", "http://a.example", "https://a.example"),
        ("a.example:80", "http://a.example", "https://a.example:80"),
        ("a.example:443", "http://a.example:443", "https://a.example"),
        ("[::1]:3210", "http://[::1]:3210", "https://[::1]:3210"),
    ],
)
def test_a_requests_url_begins_with_its_origin(host: str, http: str, https: str) -> None:
    assert find(host).origins == {"http": http, "https": https}


def test_the_cloud_domain_means_nothing_on_the_second_port() -> None:
    hosts = Hosts(Addresses("warren.site", "warren.cloud"), Listener.SITE)
    assert find("fox.warren.cloud", hosts).face is Face.ELSEWHERE
    assert find("fox.warren.site", hosts).face is Face.SITE


def test_a_flood_of_hosts_does_not_fill_the_memory() -> None:
    hosts = Hosts(Addresses("warren.site", "warren.cloud"), Listener.MAIN)
    for number in range(10_000):
        find(f"a{number}.warren.site", hosts)
    assert len(hosts._known) <= 4_096


def scope(peer: str, **headers: str) -> dict[str, Any]:
    listed = [(b"host", b"lb")]
    listed += [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in headers.items()]
    return {"client": (peer, 1), "scheme": "http", "headers": listed}


TRUSTING = Hosts(Addresses("s", "c", None, (ip_network("10.0.0.0/8"),)), Listener.MAIN)


def test_the_last_value_of_a_listed_proxy_is_believed() -> None:
    told = TRUSTING.believe(scope("10.1.1.1", host="evil, fox.s", proto="ftp, https"))
    assert TRUSTING.find(told["headers"]).name == "fox"
    assert told["scheme"] == "https"


def test_the_client_is_the_first_address_that_is_no_proxy() -> None:
    assert TRUSTING.believe(scope("10.1.1.1", **{"for": "1.1.1.1, 2.2.2.2, 10.2.2.2"}))["client"][0] == "2.2.2.2"


@pytest.mark.parametrize("peer", ["11.0.0.1", "::1", "", "unix"])
def test_nobody_else_is_believed(peer: str) -> None:
    asked = scope(peer, host="fox.s", proto="https")
    assert TRUSTING.believe(asked) is asked
