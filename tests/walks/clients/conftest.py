"""A deployment that Convex's own clients find without a Host header, with a provider whose tokens it believes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LiveServer, Tenant, bundle_files
from tests.identity_provider import IdentityProvider
from tests.walks.clients.npm_packages import workshop

_CONFIG = """
from runtime import AuthConfig, OidcProvider, env

auth_config = AuthConfig(providers=[OidcProvider(domain=env["ISSUER"], application_id="shop")])
"""


class Deployment(Tenant):
    """The default deployment, and a token of somebody who logged in."""

    def __init__(self, server: LiveServer, name: str, key: str) -> None:
        super().__init__(server, name, key)
        self.url = f"http://127.0.0.1:{server.port}"
        self.token = ""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The bundle of the client checks on a server of its own."""
    live = LiveServer(
        tmp_path_factory.mktemp("clients"),
        WARREN_DEFAULT_DEPLOYMENT="main",
        WARREN_SITE_PORT="0",
        WARREN_EGRESS_ALLOW="127.0.0.1",
    )
    made = live.admin("POST", "/v1/deployments", json={"name": "main"})
    deployed = Deployment(live, "main", made.json()["deploy_key"])
    with IdentityProvider() as provider:
        assert deployed.control("PUT", "env/ISSUER", json={"value": provider.issuer}).status_code == 200
        pushed = deployed.push({**bundle_files("clients"), "auth_config.py": _CONFIG.encode()})
        assert pushed.status_code == 201, pushed.text
        deployed.token = provider.log_in("zed", {"name": "Zed", "email": "zed@example.org"})
        yield deployed
    live.stop()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of this folder, with the packages that they import."""
    return workshop(Path(__file__).parent, tmp_path_factory.mktemp("scripts"))
