"""Are settings read as they are documented, and refused by name?"""

from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from runtime.names import DeploymentName
from runtime.settings import InvalidSetting, Settings, document, read_settings, variable


def test_a_server_needs_no_setting() -> None:
    settings = read_settings({}, {})
    assert (settings.host, settings.port, settings.error_details) == ("127.0.0.1", 3210, "hide")
    assert settings.admin_key is None
    assert settings.trusted_proxies == ()


def test_the_command_line_goes_before_the_environment() -> None:
    environment = {"WARREN_PORT": "1", "WARREN_HOST": "::1", "WARREN_SPARES": ""}
    settings = read_settings({"port": "2"}, environment)
    assert (settings.port, settings.host, settings.spares) == (2, "::1", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WARREN_PORT", "x"),
        ("WARREN_PORT", "70000"),
        ("WARREN_PORT", "-1"),
        ("WARREN_ISOLATES", "0"),
        ("WARREN_SITE_DOMAIN", "not a domain"),
        ("WARREN_DEFAULT_DEPLOYMENT", "Not_A_Name"),
        ("WARREN_TRUSTED_PROXIES", "10.0.0.0/8, nonsense"),
        ("WARREN_ERROR_DETAILS", "maybe"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        read_settings({}, {name: value})


def test_the_two_domains_must_differ() -> None:
    with pytest.raises(InvalidSetting, match="WARREN_CLOUD_DOMAIN"):
        read_settings({}, {"WARREN_SITE_DOMAIN": "a.b", "WARREN_CLOUD_DOMAIN": "A.B."})


def test_an_unknown_choice_is_a_mistake_of_ours_and_loud() -> None:
    with pytest.raises(InvalidSetting, match="colour"):
        read_settings({"colour": "red"}, {})


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef-secret\n")
    settings = read_settings({}, {"WARREN_ADMIN_KEY_FILE": str(file)})
    assert settings.admin_key == "0123456789abcdef-secret"
    assert "secret" not in repr(settings)
    with pytest.raises(InvalidSetting, match="both set"):
        read_settings({}, {"WARREN_ADMIN_KEY_FILE": str(file), "WARREN_ADMIN_KEY": "x" * 20})
    with pytest.raises(InvalidSetting, match="WARREN_ADMIN_KEY_FILE"):
        read_settings({}, {"WARREN_ADMIN_KEY_FILE": str(tmp_path / "missing")})


def test_proxies_are_addresses_and_ranges() -> None:
    settings = read_settings({}, {"WARREN_TRUSTED_PROXIES": "10.0.0.1/8, ::1,"})
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("chosen", "site", "cloud"),
    [
        ({}, "http://fox.site.localhost:3210", "http://fox.cloud.localhost:3210"),
        ({"default_deployment": "fox"}, "http://127.0.0.1:3211", "http://127.0.0.1:3210"),
        ({"port": "80", "site_domain": "s.dev"}, "http://fox.s.dev", "http://fox.cloud.localhost"),
        ({"public_scheme": "https"}, "https://fox.site.localhost", "https://fox.cloud.localhost"),
        ({"public_port": "8080"}, "http://fox.site.localhost:8080", "http://fox.cloud.localhost:8080"),
    ],
)
def test_addresses_are_given_out_as_clients_reach_them(chosen: dict[str, str], site: str, cloud: str) -> None:
    settings = read_settings(chosen, {})
    fox = DeploymentName("fox")
    assert (settings.site_url(fox), settings.cloud_url(fox)) == (site, cloud)


def test_the_page_names_every_setting() -> None:
    page = document()
    for declared in fields(Settings):
        assert f"`{variable(declared.name)}`" in page
    assert "`WARREN_ADMIN_KEY_FILE`" in page


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://u:p@db.internal:6543/w", 6543),
        ("postgresql://db.internal/w", 5432),
        ("postgresql://a:1,b:2/w", 5432),
    ],
)
def test_the_ports_of_its_own_services_are_known(url: str, port: int) -> None:
    chosen = read_settings({"port": "4000", "site_port": "4001", "database_url": url}, {})
    assert chosen.own_ports() == {4000, 4001, port}
    assert read_settings({}, {}).own_ports() == {3210, 3211}
