"""What happens beside a development server? Push on every save, and the log of every request in the terminal.

Speaks to the server as any other client does, over HTTP. Knows nothing of how the server is made.

Rules
1. A broken save is told with file, line and reason; the version that runs goes on.
2. What a request said stands under its request. Lines of a request that takes long are not held back for ever.
3. The log that is followed here never keeps the server from stopping.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from watchfiles import Change, awatch

from control_plane.cli.bundles import fingerprint, is_part, pack, package_files, read_bundle
from control_plane.cli.client import PATIENT, Refused, decoded
from control_plane.cli.screen import Screen

# A save is often several changes of a file within a few milliseconds.
_SETTLE_MS = 40
_STEP_MS = 20
_GLANCE_MS = 300
_HELD_SECONDS = 1.0


@dataclass(frozen=True)
class Bench:
    """What is worked on: a bundle, a deployment, and the server that runs it."""

    bundle: Path
    deployment: str
    url: str
    site_url: str
    admin_key: str


class Workbench:
    """The work of ``warren dev`` once its server answers."""

    def __init__(self, bench: Bench, screen: Screen) -> None:
        self._bench = bench
        self._screen = screen
        self._printer = Printer(screen)
        self._pushed = self._packages = ""
        self._http = httpx.AsyncClient(
            base_url=bench.url,
            headers={"authorization": f"Bearer {bench.admin_key}"},
            timeout=PATIENT,
        )

    async def work(self) -> None:
        """Make the deployment if it is missing, push, and go on with every save until cancelled."""
        try:
            await self._make_deployment()
            answer = await self._push()
            self._welcome((answer or {}).get("routes") or [])
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._printer.release())
                tasks.create_task(self._watch())
        finally:
            await self._http.aclose()

    async def _make_deployment(self) -> None:
        found = await self._http.get(self._path())
        if found.status_code == httpx.codes.NOT_FOUND:
            decoded(await self._http.post("/v1/deployments", json={"name": self._bench.deployment}))
        else:
            decoded(found)

    async def _push(self) -> dict[str, Any] | None:
        """Push what stands on the disk, if it changed; complain where it is refused."""
        files = await asyncio.to_thread(read_bundle, self._bench.bundle)
        if (seen := fingerprint(files)) == self._pushed:
            return None
        self._pushed = seen
        self._tell_of_packages(files)
        began = time.perf_counter()
        sent = await self._http.post(self._path("pushes"), content=pack(files))
        self._printer.ours(sent.headers.get("x-request-id", ""))
        try:
            answer: dict[str, Any] = decoded(sent)
        except Refused as refusal:
            self._screen.diagnostics(refusal.problem.get("diagnostics") or [], self._bench.bundle)
            if not refusal.problem.get("diagnostics"):
                self._screen.complain(refusal.message)
            self._screen.complain("Not pushed. What was live before keeps answering.", "yellow")
            return None
        if not answer["unchanged"]:
            self._screen.diagnostics(answer["warnings"], self._bench.bundle, "yellow")
        took = time.perf_counter() - began
        self._screen.say(f"{time.strftime('%H:%M:%S')} version {answer['version']} is live ({took:.2f} s)", "green")
        return answer

    def _tell_of_packages(self, files: Mapping[str, bytes]) -> None:
        """Say why this push takes longer than others, where it does."""
        asking = package_files(files)
        seen = fingerprint({file: files[file] for file in (*asking, "package-lock.json") if file in files})
        if asking and seen != self._packages:
            self._screen.say(f"{time.strftime('%H:%M:%S')} installing the packages of {' and '.join(asking)} …", "dim")
        self._packages = seen

    async def _watch(self) -> None:
        # The watch tells whole paths, whatever it was given.
        bundle = await asyncio.to_thread(self._bench.bundle.resolve)
        changes = awatch(
            bundle,
            watch_filter=lambda change, path: _matters(change, Path(path), bundle),
            debounce=_SETTLE_MS,
            step=_STEP_MS,
            rust_timeout=_GLANCE_MS,
            yield_on_timeout=True,
        )
        begun = False
        async with aclosing(changes):
            async for changed in changes:
                if begun and not changed:
                    continue
                # The first time something may have been saved between the first push and the beginning of the watch.
                begun = True
                try:
                    await self._push()
                except (OSError, httpx.TransportError) as error:
                    # An editor may have a file away for a moment; the save that follows is seen as well.
                    self._pushed = ""
                    self._screen.complain(f"Could not push: {error or type(error).__name__}")

    async def _follow(self) -> None:
        parameters = {"follow": "true", "since": str(int(time.time() * 1000))}
        async with self._http.stream("GET", self._path("logs"), params=parameters) as answer:
            if not answer.is_success:
                await answer.aread()
                decoded(answer)
            async for entry in _entries(answer):
                self._printer.take(entry)

    def _path(self, *parts: str) -> str:
        return "/".join(["/v1/deployments", quote(self._bench.deployment, safe=""), *parts])

    def _welcome(self, routes: Sequence[Mapping[str, Any]]) -> None:
        bench, screen = self._bench, self._screen
        screen.say("")
        screen.say(f"  HTTP actions   {bench.site_url}", "bold")
        screen.say(f"  functions      {bench.url}/api", "bold")
        screen.say(f"  control plane  {bench.url}/v1  (deployment {bench.deployment})", "bold")
        screen.say("")
        for line in try_lines(bench.site_url, routes):
            screen.say(f"  {line}")
        screen.say("")
        screen.say(f"Save a file in {bench.bundle} and it is live. Ctrl-C stops.", "dim")


class Printer:
    """Puts what a request said under its request."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._held: dict[str, tuple[float, list[Mapping[str, Any]]]] = {}
        self._ours: set[str] = set()

    def ours(self, request_id: str) -> None:
        """What this request says is told otherwise: it is one of our own."""
        self._ours.add(request_id)

    def take(self, entry: Mapping[str, Any]) -> None:
        """One entry of the log, as it comes."""
        request_id = entry.get("request_id") or ""
        if entry.get("kind") == "request":
            _, lines = self._held.pop(request_id, (0.0, []))
            if request_id not in self._ours:
                self._screen.out.print(self._screen.request(entry))
                for line in lines:
                    self._screen.out.print(self._screen.said(line))
        elif request_id:
            self._held.setdefault(request_id, (time.monotonic(), []))[1].append(entry)
        else:
            self._screen.log_entry(entry)

    async def release(self) -> None:
        """Print what is held for long: its request takes its time, or is none that ends."""
        while True:
            await asyncio.sleep(_HELD_SECONDS / 2)
            late = [each for each, (since, _) in self._held.items() if time.monotonic() - since > _HELD_SECONDS]
            for request_id in late:
                _, lines = self._held.pop(request_id)
                if request_id not in self._ours:
                    for line in lines:
                        self._screen.log_entry(line)


def try_lines(site_url: str, routes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Commands that show what this bundle answers; they work as they are printed."""
    answered = {(route["method"], route["pattern"]) for route in routes}
    if {("POST", "/postMessage"), ("GET", "/getMessagesByAuthor")} <= answered:
        message = json.dumps({"author": "User 123", "body": "Hello world"})
        return [
            f"curl -d '{message}' -H 'content-type: application/json' {site_url}/postMessage",
            f"curl '{site_url}/getMessagesByAuthor?authorNumber=123'",
        ]
    plain_gets = [route for route in routes if route["method"] == "GET" and route["shape"] == "exact"]
    return [f"curl '{site_url}{route['pattern']}'" for route in plain_gets[:2]]


def _matters(change: Change, path: Path, bundle: Path) -> bool:
    return path.is_relative_to(bundle) and is_part(path, bundle)


async def _entries(answer: httpx.Response) -> AsyncIterator[Mapping[str, Any]]:
    async for line in answer.aiter_lines():
        if line.strip():
            yield json.loads(line)
