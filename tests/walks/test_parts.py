"""The parts of a server in processes of their own: a control plane, a router, workers, one database and one Redis."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runtime.adapters.queue.connecting import thread_client
from tests.conftest import LiveServer, Tenant
from tests.postgres_server import PostgresServer

WARREN = [sys.executable, "-m", "control_plane.cli.main"]
JOBS: Mapping[str, str | bytes] = {
    "jobs.py": """
from runtime import internal_mutation, mutation, query

@mutation
async def later(ctx, count: int, delay: float):
    for number in range(count):
        await ctx.scheduler.run_after(delay, "jobs:write", {"number": number})

@internal_mutation
async def write(ctx, number: int):
    await ctx.db.insert("done", {"number": number})

@query
async def numbers(ctx):
    return [each["number"] for each in await ctx.db.query("done").collect()]
"""
}


class Parts:
    """Everything of one installation that runs in processes of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._socket = folder / "redis.sock"
        self.settings = {"WARREN_DATABASE_URL": database, "WARREN_REDIS_URL": f"unix://{self._socket}"}
        self.files = folder / "files"
        self.files.mkdir()
        self.redis = self.start_redis()
        for part in ("office", "router"):
            self.share_files(folder / part)
        self.control_plane = LiveServer(folder / "office", [*WARREN, "control-plane"], **self.settings)
        self.router = LiveServer(folder / "router", [*WARREN, "router"], **self.settings)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_redis(self) -> "subprocess.Popen[bytes]":
        """Start a Redis that is empty."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("redis-server is not installed here (Debian: redis-server)")
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, cwd=self.folder)
        wait_until(self._socket.exists)
        return server

    def share_files(self, data: Path) -> None:
        """Let this part keep files where the others do, as containers share a volume."""
        data.mkdir()
        (data / "files").symlink_to(self.files)

    def start_worker(self) -> "subprocess.Popen[bytes]":
        """Start a worker, and wait until it gives a sign of life."""
        data = self.folder / f"worker-{len(self.workers)}"
        self.share_files(data)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WARREN_")}
        worker = subprocess.Popen([*WARREN, "worker", "--data", str(data)], env=environment | self.settings)
        self.workers.append(worker)
        wait_until(lambda: (data / "worker.alive").exists())
        return worker

    def tenant(self, files: str | Mapping[str, str | bytes] = JOBS) -> Tenant:
        """A deployment that is pushed at the control plane and called at the router."""
        made = self.control_plane.tenant(files)
        return Tenant(self.router, made.name, made.key)

    def stop(self) -> None:
        """End whatever runs still."""
        for worker in self.workers:
            worker.kill()
            worker.wait(20)
        for server in (self.router, self.control_plane):
            if server.process.poll() is None:
                server.kill()
        self.redis.kill()
        self.redis.wait(20)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what another process must do; there is nothing of it to await."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def done(tenant: Tenant) -> list[int]:
    """What was done so far."""
    return sorted(int(number) for number in tenant.run("jobs:numbers")["value"])


@pytest.fixture
def parts(tmp_path: Path, postgres: PostgresServer) -> Iterator[Parts]:
    """A control plane and a router, and no worker yet."""
    made = Parts(tmp_path, postgres.fresh())
    yield made
    made.stop()


def test_what_a_router_schedules_a_worker_does_and_each_part_answers_its_own(parts: Parts) -> None:
    tenant = parts.tenant()
    worker = parts.start_worker()
    tenant.run("jobs:later", {"count": 20, "delay": 0.1})
    wait_until(lambda: len(done(tenant)) == 20)
    assert parts.router.admin("GET", "/v1/deployments").status_code == 404
    assert parts.control_plane.http.get("/api/query", headers={"Host": tenant.cloud}).status_code == 404
    for part in (parts.router, parts.control_plane):
        assert part.http.get("/readyz").json()["checks"]["queue"] == "ok"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert not (parts.folder / "worker-0" / "worker.alive").exists()
    parts.redis.kill()
    parts.redis.wait()
    answer = parts.router.http.get("/readyz")
    assert answer.status_code == 503 and "the queue cannot be reached" in answer.json()["detail"]


def test_a_worker_that_is_killed_in_the_middle_loses_nothing_and_nothing_is_done_twice(parts: Parts) -> None:
    tenant = parts.tenant()
    victim = parts.start_worker()
    tenant.run("jobs:later", {"count": 600, "delay": 0})
    wait_until(lambda: len(done(tenant)) > 20)
    victim.kill()
    parts.start_worker()
    wait_until(lambda: len(done(tenant)) == 600, 120)
    assert done(tenant) == list(range(600))


def test_a_redis_that_is_killed_and_comes_back_empty_loses_nothing(parts: Parts) -> None:
    tenant = parts.tenant()
    parts.start_worker()
    parts.start_worker()
    tenant.run("jobs:later", {"count": 50, "delay": 1.5})
    parts.redis.kill()
    parts.redis.wait()
    tenant.run("jobs:later", {"count": 50, "delay": 0})  # while it is away
    parts.redis = parts.start_redis()
    wait_until(lambda: len(done(tenant)) == 100)
    assert done(tenant) == sorted([*range(50), *range(50)])


def test_a_file_that_a_worker_stores_the_router_serves_and_the_office_removes(parts: Parts) -> None:
    parts.start_worker()
    tenant = parts.tenant("files")
    id = tenant.run("machine:in_a_thread", {"text": "from a worker"})["value"]
    url = urlsplit(tenant.run("files:url", {"id": id})["value"])
    served = parts.router.http.get(url.path, headers={"Host": tenant.cloud})
    assert (served.status_code, served.text) == (200, "from a worker")
    office = {"Authorization": f"Bearer {tenant.key}"}
    listed = parts.control_plane.http.get(f"/v1/deployments/{tenant.name}/files", headers=office).json()
    assert [each["id"] for each in listed["files"]] == [id]
    assert [path for path in parts.files.rglob("*") if path.is_file()] != []
    assert parts.control_plane.http.delete(f"/v1/deployments/{tenant.name}", headers=office).status_code == 204
    assert [path for path in parts.files.rglob("*") if path.is_file()] == []


def test_an_embedded_queue_dies_with_its_server_and_is_started_again_when_it_dies_alone(own_server: LiveServer) -> None:
    found = re.search(r"the queue is embedded: .*, on (\S+)", own_server.words())
    assert found is not None
    sock = Path(found[1])
    assert sock.parent.stat().st_mode & 0o777 == 0o700

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(sock)) == 0

    tenant = own_server.tenant(JOBS)
    with thread_client(f"unix://{sock}", tries=0) as client:
        client.shutdown(nosave=True)
    tenant.run("jobs:later", {"count": 5, "delay": 0})
    wait_until(lambda: len(done(tenant)) == 5)
    assert answers()
    own_server.kill()
    wait_until(lambda: not answers())


@pytest.mark.parametrize("part", ["router", "control-plane", "worker"])
def test_a_part_without_a_shared_queue_and_database_does_not_start(part: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WARREN_")}
    said = subprocess.run([*WARREN, part], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 1
    assert "set WARREN_DATABASE_URL and WARREN_REDIS_URL" in said.stderr


def test_a_worker_that_does_not_run_is_not_alive(tmp_path: Path) -> None:
    said = subprocess.run([*WARREN, "worker", "--check", "--data", str(tmp_path)], capture_output=True, text=True)
    assert said.returncode == 1
    assert "No worker has given a sign of life" in said.stderr
