"""A whole server, as an operator runs it, for the tests that walk through all of it.

Bundles are named folders of `tests/bundles/`, or files given in the test. One server serves a module's tests; each
deployment has a name of its own, so no test sees another's.
"""

import io
import itertools
import os
import re
import secrets
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres_server import postgres

__all__ = ["postgres"]

BUNDLES = Path(__file__).parent / "bundles"
_numbers = itertools.count(1)


def pack(files: Mapping[str, str | bytes]) -> bytes:
    """Files as the ``.tar.gz`` that a push takes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def bundle_files(name: str) -> dict[str, bytes]:
    """The modules of a folder in ``tests/bundles``."""
    root = BUNDLES / name
    assert root.is_dir(), root
    modules = [path for path in sorted(root.rglob("*")) if path.suffix in (".py", ".mjs")]
    return {str(path.relative_to(root)): path.read_bytes() for path in modules}


class Tenant:
    """One deployment on a running server, and what a client or its developer does with it."""

    def __init__(self, server: "LiveServer", name: str, key: str) -> None:
        self.server = server
        self.name = name
        self.key = key

    def push(self, files: str | Mapping[str, str | bytes]) -> httpx.Response:
        """Push a bundle; the control plane's answer, whatever it is."""
        content = pack(bundle_files(files) if isinstance(files, str) else files)
        return self.control("POST", "pushes", content=content)

    def control(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        """Call the control plane about this deployment with its deploy key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.server.http.request(
            method, f"/v1/deployments/{self.name}" + (f"/{path}" if path else ""), headers=headers, **more
        )

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the deployment's HTTP actions."""
        headers = {"Host": self.site, **dict(more.pop("headers", {}))}
        return self.server.http.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET one of its HTTP actions."""
        return self.request("GET", path, **more)

    def run(self, function: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Call a function as its administrator; the decoded answer of the function API."""
        headers = {"Host": self.cloud, "Authorization": f"Convex {self.key}"}
        body = {"path": function, "args": dict(arguments or {}), "format": "json"}
        return self.server.http.post("/api/function", json=body, headers=headers).json()

    def log(self, **query: Any) -> str:
        """Everything in its log, as text."""
        return self.control("GET", "logs", params=query).text

    @property
    def site(self) -> str:
        """The host of its HTTP actions."""
        return f"{self.name}.site.localhost"

    @property
    def cloud(self) -> str:
        """The host of its function API."""
        return f"{self.name}.cloud.localhost"


class LiveServer:
    """A ``warren serve`` of its own: data directory, ports, admin key."""

    def __init__(self, data: Path, command: list[str] | None = None, **settings: str) -> None:
        self.data = data
        self.admin_key = secrets.token_urlsafe(24)
        self._command = command or [sys.executable, "-m", "control_plane.cli.main", "serve"]
        self._settings = settings
        self._output = data / "server.log"
        self.start()

    def start(self) -> None:
        """Start the process and wait until it says where it listens."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WARREN_")}
        environment |= {"WARREN_ADMIN_KEY": self.admin_key, **self._settings}
        self.data.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._command, "--data", str(self.data), "--port", "0"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self.port = self._announced_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)

    def _announced_port(self) -> int:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError(f"the server did not start: {self.words()}")

    def words(self) -> str:
        """What it wrote to its standard error."""
        return self._output.read_text()

    def tenant(self, files: str | Mapping[str, str | bytes] | None = None) -> Tenant:
        """A new deployment, with a bundle if one is named; the push must be accepted."""
        name = f"tenant-{next(_numbers)}"
        answer = self.admin("POST", "/v1/deployments", json={"name": name})
        assert answer.status_code == 201, answer.text
        tenant = Tenant(self, name, answer.json()["deploy_key"])
        if files is not None:
            pushed = tenant.push(files)
            assert pushed.status_code == 201, pushed.text
        return tenant

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the control plane as the operator."""
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.admin_key}"}, **more)

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self._after()

    def stop(self) -> int:
        """End it politely; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self._after()
        return code

    def _after(self) -> None:
        self.process.wait(20)
        self.http.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for the tests of a module."""
    live = LiveServer(tmp_path_factory.mktemp("data"))
    yield live
    live.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server for one test that ends or restarts it."""
    live = LiveServer(tmp_path / "data")
    yield live
    if live.process.poll() is None:
        live.kill()
