"""One request through the house, stop by stop. ``make walk`` prints it.

Runs a whole server in this process, pushes the example, and watches which room is entered when by one request. Nothing
in the house knows that it is watched.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import uvloop

from control_plane.cli.bundles import pack, read_bundle
from control_plane.serve import Addresses, serve
from runtime.invocation import HttpInvocation
from runtime.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
MESSAGE = {"author": "User 123", "body": "Hello world"}
KEY = "the key of a server that lives for one walk"
STOPS = (
    ("edge/app.py", "a request id"),
    ("edge/hosts.py", "whose house?"),
    ("execution/directory.py", "what do they run?"),
    ("edge/routes.py", "which function?"),
    ("invocation.py", "a frozen value is made"),
    ("execution/conductor.py", "permit, isolate, counter, in this order"),
    ("isolates/isolate.py", "over the wall"),
    ("sandbox/guest_main.py", "the tenant's function runs, in a process of its own"),
    ("syscalls/table.py", "the guest asks for something"),
    ("edge/exchange.py", "head and body to the caller"),
)
Entry = tuple[float, str]


class Watch:
    """Notes when each room was entered first."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._begun = time.perf_counter()

    def __enter__(self) -> "Watch":
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if isinstance(frame.f_locals.get("invocation"), HttpInvocation):
            self._note("invocation.py", "HttpInvocation")  # as its first reader gets it
        _, inside, room = code.co_filename.rpartition("/runtime/")
        if inside and room != "invocation.py" and (room != "edge/exchange.py" or code.co_name.startswith("deliver")):
            # The exchange is opened at the door; its stop is where the answer leaves.
            self._note(room, code.co_qualname)

    def _note(self, room: str, name: str) -> None:
        self.entries.setdefault(room, (time.perf_counter() - self._begun, name))


async def walk(addresses: Addresses) -> None:
    """Push the example, warm it up, and watch one request."""
    site = str(addresses.site_url)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as client:
        (await client.post(f"{addresses.url}/v1/deployments", json={"name": "walk"})).raise_for_status()
        bundle = pack(read_bundle(ROOT / "examples" / "messages" / "functions"))
        (await client.post(f"{addresses.url}/v1/deployments/walk/pushes", content=bundle)).raise_for_status()
        (await client.get(f"{site}/")).raise_for_status()
        with Watch() as watch:
            answer = await client.post(f"{site}/postMessage", json=MESSAGE)
    print(f"POST /postMessage {answer.status_code}  {answer.headers['server-timing']}\n")
    begun = watch.entries[STOPS[0][0]][0]
    for number, (room, question) in enumerate(STOPS, 1):
        at, name = watch.entries.get(room, (None, "behind the wall: not seen from here"))
        when = "" if at is None else f"{(at - begun) * 1e6:.0f} µs"
        print(f"{number:2}  {room:24} {question:52} {when:>10}  {name}")


async def _in_a_server(data: str, story: Callable[[Addresses], Any]) -> None:
    chosen = {"data": data, "port": "0", "site_port": "0", "default_deployment": "walk", "admin_key": KEY}
    told: list[asyncio.Task[None]] = []

    async def tell(addresses: Addresses) -> None:
        try:
            await story(addresses)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    async def ready(addresses: Addresses) -> None:
        told.append(asyncio.create_task(tell(addresses)))

    await serve(read_settings({**chosen, "log_level": "error"}, {}), on_ready=ready)
    await told[0]


def main() -> None:
    """Print the walk of one request."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as data, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_in_a_server(data, walk))


if __name__ == "__main__":
    main()
