"""An OpenID Connect provider, as a process of its own: the library `oidc-provider-mock`, with keys that can be rotated.

Run as a program it serves; imported it is how a test starts one and logs people in, with the authorization code flow
and over HTTP like any browser and application.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx

APPLICATION = "shop"
_BACK = "https://app.example.org/back"


class IdentityProvider:
    """A running provider."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.issuer = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self._http = httpx.Client(base_url=self.issuer, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()
        self._process.kill()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def log_in(self, subject: str, claims: Mapping[str, Any] | None = None, application: str = APPLICATION) -> str:
        """Somebody logs in to an application; the ID token that it gets."""
        if claims is not None:
            self._http.put(f"/users/{subject}", json={**claims, "sub": subject}).raise_for_status()
        asked = {"client_id": application, "redirect_uri": _BACK, "response_type": "code"}
        asked["scope"] = "openid profile email"
        sent_back = self._http.post("/oauth2/authorize", params=asked, data={"sub": subject})
        code = parse_qs(urlsplit(sent_back.headers["location"]).query)["code"][0]
        given = self._http.post(
            "/oauth2/token",
            data={"grant_type": "authorization_code", "code": code, "redirect_uri": _BACK},
            auth=(application, "secret"),
        )
        return str(given.raise_for_status().json()["id_token"])

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish only that."""
        self._http.post("/rotate").raise_for_status()


def _serve() -> None:
    import flask
    import oidc_provider_mock  # type: ignore[import-untyped]  # a library without types
    from authlib.jose import RSAKey  # type: ignore[import-untyped]  # the same
    from werkzeug.serving import make_server

    app: flask.Flask = oidc_provider_mock.app()

    @app.post("/rotate")
    def rotate() -> str:
        flask.g.oidc_provider_mock_storage.jwk = RSAKey.generate_key(is_private=True)
        return "ok"

    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve()
