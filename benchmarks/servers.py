"""Starts and ends what is measured: Warren as an operator runs it, and the peers."""

import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SITE = "site.localhost"
CLOUD = "cloud.localhost"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process that listens on ``port``."""

    def __init__(self, command: list[str], port: int, environment: Mapping[str, str], log: Path) -> None:
        self.port = port
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
            )

    def wait(self, seconds: float = 60) -> None:
        """Until it accepts connections."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.log} says:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def pids(self) -> list[int]:
        """The process and everything below it."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found


def pss(pids: list[int]) -> dict[int, float]:
    """Proportional set size of each process in MiB, where it can be read."""
    sizes = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes[pid] = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return sizes


class Warren(Server):
    """``warren serve`` with a data directory and an admin key of its own."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        key_file = data / "admin.key"
        data.mkdir(parents=True, exist_ok=True)
        if not key_file.exists():
            key_file.write_text(secrets.token_urlsafe(32))
        self.key = key_file.read_text()
        port = free_port()
        command = [sys.executable, "-m", "control_plane.cli.main", "serve", "--data", str(data), "--port", str(port)]
        domains = {"WARREN_SITE_DOMAIN": SITE, "WARREN_CLOUD_DOMAIN": CLOUD}
        settings = {"WARREN_ADMIN_KEY": self.key, **domains, **(environment or {})}
        super().__init__(command, port, settings, data / "server.log")
        self.wait()
        # The port is taken before anything else is begun; the first answer says that the start is over.
        self.ask("GET", "/readyz")

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """One call of the control plane; the decoded answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        if body is not None:
            request.add_header("Content-Type", "application/json" if body[:1] == b"{" else "application/gzip")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read() or b"null")

    def deploy(self, name: str, bundle: Path, extra: Mapping[str, bytes] | None = None) -> None:
        """Make the deployment if need be, and push a bundle to it."""
        if name not in {item["name"] for item in self._list()}:
            self.ask("POST", "/v1/deployments", json.dumps({"name": name}).encode())
        self.push(name, archive(bundle, extra))

    def push(self, name: str, packed: bytes) -> Any:
        """Push an archive."""
        return self.ask("POST", f"/v1/deployments/{name}/pushes", packed)

    def host(self, name: str) -> str:
        """The Host header of a deployment's site."""
        return f"{name}.{SITE}"

    def cloud(self, name: str) -> str:
        """The Host header of a deployment's function API."""
        return f"{name}.{CLOUD}"

    def call(self, name: str, kind: str, path: str, arguments: Mapping[str, Any]) -> Any:
        """What a public function returns; anything else ends the measurement."""
        body = json.dumps({"path": path, "args": arguments, "format": "json"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{kind}", body)
        request.add_header("Host", self.cloud(name))
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.loads(answer.read())
        assert said["status"] == "success", said
        return said["value"]

    def _list(self) -> list[dict[str, Any]]:
        listed = self.ask("GET", "/v1/deployments")
        return list(listed["deployments"] if isinstance(listed, dict) else listed)


def archive(bundle: Path, extra: Mapping[str, bytes] | None = None) -> bytes:
    """A bundle directory as ``.tar.gz``, with some files put beside or over its own."""
    sources = [path for path in sorted(bundle.rglob("*")) if path.suffix in (".py", ".mjs")]
    files = {str(path.relative_to(bundle)): path.read_bytes() for path in sources} | dict(extra or {})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def uvicorn_peer(python: Path, module: str, environment: Mapping[str, str], logs: Path) -> Server:
    """One uvicorn process, as its documentation starts it, without the access log."""
    port = free_port()
    command = [
        str(python),
        "-m",
        "uvicorn",
        f"{module}:app",
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    server = Server(command, port, {"PYTHONPATH": str(HERE / "peers"), **environment}, logs / f"{module}.log")
    server.wait()
    return server


def functions_framework_peer(python: Path, logs: Path) -> Server:
    """functions-framework's own command line."""
    port = free_port()
    command = [str(python.parent / "functions-framework"), "--target", "hello", "--port", str(port)]
    command += ["--source", str(HERE / "peers" / "functions_hello.py"), "--host", "127.0.0.1"]
    server = Server(command, port, {}, logs / "functions_framework.log")
    server.wait()
    return server


def workerd_peer(binary: Path, logs: Path) -> Server:
    """workerd with one service."""
    port = free_port()
    config = HERE / "peers" / "workerd_hello.capnp"
    command = [str(binary), "serve", str(config), f"--socket-addr=http=127.0.0.1:{port}"]
    server = Server(command, port, {}, logs / "workerd.log")
    server.wait()
    return server


def scratch() -> Path:
    """A new directory for data and logs of one run."""
    return Path(tempfile.mkdtemp(prefix="warren-bench-"))
