"""What does `compose.yaml` survive? A drill on the running containers, for whoever changes it: `make drill`.

Brings everything up, pushes a bundle, calls it, schedules some hundreds of functions, makes three workers and two
routers, kills every container once while the functions run, takes everything down and up again, and counts: each
function must have run once, and nothing may be lost. Needs a Docker engine, root (it kills processes as a crash would),
and `.env`.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILES = {
    "jobs.py": """
from runtime import internal, internal_mutation, mutation, query

@mutation
async def plan(ctx, first: int, count: int, apart: float) -> None:
    for place in range(count):
        await ctx.scheduler.run_after(place * apart, internal.jobs.mark, {"number": first + place})

@internal_mutation
async def mark(ctx, number: int) -> None:
    await ctx.db.insert("marks", {"number": number})

@query
async def marks(ctx) -> list[int]:
    return [mark["number"] for mark in await ctx.db.query("marks").collect()]
""",
    "http.py": """
from runtime import HttpRouter, Response, http_action

http = HttpRouter()

@http.route(path="/", method="GET")
@http_action
async def hello(ctx, request):
    return Response(f"Hello from {request.url}")
""",
}
SERVICES = ("redis", "worker", "router", "control-plane", "postgres", "edge")
COUNT = 400
APART = 0.25  # seconds between two due times: they go on for as long as the kills


class Drill:
    """The containers, and what a client sees of them."""

    def __init__(self, compose: list[str], port: int) -> None:
        self._compose = compose
        self._port = port
        self._name = f"drill-{int(time.time())}"
        self._key = ""

    def compose(self, *arguments: str) -> str:
        """Run docker compose; what it prints."""
        print("$", *self._compose, *arguments, flush=True)
        done = subprocess.run([*self._compose, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode:
            sys.exit(f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def ask(self, method: str, path: str, host: str, body: bytes | None = None, **headers: str) -> bytes:
        """One request through the edge; raises `OSError` when it is not answered with success."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", body, method=method)
        for name, value in {"Host": host, **headers}.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def deploy(self, admin_key: str) -> None:
        """Make a deployment and push the bundle."""
        made = self.ask(
            "POST",
            "/v1/deployments",
            "localhost",
            json.dumps({"name": self._name}).encode(),
            **{"Authorization": f"Bearer {admin_key}", "Content-Type": "application/json"},
        )
        self._key = json.loads(made)["deploy_key"]
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for file, text in FILES.items():
                info = tarfile.TarInfo(file)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        path = f"/v1/deployments/{self._name}/pushes"
        self.ask("POST", path, "localhost", packed.getvalue(), Authorization=f"Bearer {self._key}")

    def hello(self) -> str:
        """What its HTTP action says."""
        return self.ask("GET", "/", f"{self._name}.site.localhost").decode()

    def run(self, path: str, **args: Any) -> Any:
        """Call a function; its value."""
        body = json.dumps({"path": path, "args": args, "format": "json"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Convex {self._key}"}
        answer = json.loads(self.ask("POST", "/api/function", f"{self._name}.cloud.localhost", body, **headers))
        assert answer["status"] == "success", answer
        return answer["value"]

    def crash(self, service: str) -> None:
        """End the first process of each container of a service as a crash would; they are started again."""
        for container in self.compose("ps", "-q", service).split()[:1]:
            shown = subprocess.run(
                ["docker", "inspect", "-f", "{{.State.Pid}}", container], capture_output=True, text=True, check=True
            )
            os.kill(int(shown.stdout), signal.SIGKILL)


def patiently(work: Callable[[], Any], seconds: float = 120) -> Any:
    """Do it again until it works."""
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except (OSError, AssertionError, urllib.error.URLError) as error:
            if time.monotonic() > end:
                sys.exit(f"not within {seconds:.0f} s: {error}")
            time.sleep(0.5)


def settings() -> dict[str, str]:
    """What stands in .env."""
    lines = (ROOT / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def main() -> int:
    """Run the drill; 0 when nothing was lost and nothing ran twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compose", default="docker compose", help="the command, such as docker-compose")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    chosen = parser.parse_args()
    given = settings()
    drill = Drill(chosen.compose.split(), int(given.get("HTTP_PORT", "80")))
    drill.compose("up", "-d")
    patiently(lambda: drill.deploy(given["WARREN_ADMIN_KEY"]))
    print(patiently(drill.hello))
    drill.compose("up", "-d", "--scale", "worker=3", "--scale", "router=2")
    patiently(lambda: drill.run("jobs:plan", first=0, count=COUNT, apart=APART))
    for service in SERVICES:
        time.sleep(COUNT * APART / (len(SERVICES) + 1))
        drill.crash(service)
        print(f"killed {service}; answered again after {answers_after(drill):.1f} s", flush=True)
    wait_for(drill, COUNT)
    patiently(lambda: drill.run("jobs:plan", first=COUNT, count=20, apart=1.0))
    drill.compose("down")
    drill.compose("up", "-d", "--scale", "worker=3", "--scale", "router=2")
    wait_for(drill, COUNT + 20)
    counted = Counter(patiently(lambda: drill.run("jobs:marks")))
    twice = {number: times for number, times in counted.items() if times > 1}
    missing = sorted(set(range(COUNT + 20)) - set(counted))
    if not chosen.keep:
        drill.compose("down")
    print(f"{len(counted)} of {COUNT + 20} ran, missing {missing}, twice {twice}")
    return 1 if missing or twice else 0


def answers_after(drill: Drill) -> float:
    """Seconds until a query is answered."""
    began = time.monotonic()
    patiently(lambda: drill.run("jobs:marks"))
    return time.monotonic() - began


def wait_for(drill: Drill, count: int) -> None:
    """Wait until so many have run, for three minutes at most."""
    end = time.monotonic() + 180
    done = 0
    while time.monotonic() < end and done < count:
        time.sleep(1)
        with contextlib.suppress(OSError, AssertionError):
            done = len(drill.run("jobs:marks"))


if __name__ == "__main__":
    sys.exit(main())
