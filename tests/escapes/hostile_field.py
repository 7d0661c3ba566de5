"""A server under attack, and everything that must not change meanwhile.

Beside the attacker there are a neighbour who is asked all the time, a file and a listener that nobody may touch, and
secrets that nobody may find. `Field.close` is the verdict.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.conftest import LiveServer, Tenant

MEMORY = 400 << 20
NEIGHBOUR = "CANARY-of-the-neighbour"
ADMIN = "CANARY-of-the-operator"
CUT = 0  # the status of an answer that never ended


class Answered(NamedTuple):
    """What an attacker's client got, and what the deployment's log says about it."""

    status: int
    headers: httpx.Headers
    body: bytes
    log: str
    began: int  # by the server's clock


class Field:
    """One server, its neighbour and its canaries."""

    def __init__(self, folder: Path, language_layer: str) -> None:
        self.canary = folder / "canary"
        self.canary.write_text("untouched")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.server = LiveServer(folder / "data", WARREN_LANGUAGE_LAYER=language_layer, HOST_SECRET=ADMIN)
        self.neighbour = self.server.tenant("walks")
        self.neighbour.control("PUT", "env/SECRET", json={"value": NEIGHBOUR})
        self.refusals: list[str] = []
        self._over = threading.Event()
        self._asking = threading.Thread(target=self._ask_the_neighbour)
        self._asking.start()

    def _ask_the_neighbour(self) -> None:
        with httpx.Client(base_url=str(self.server.http.base_url), timeout=10, trust_env=False) as client:
            while not self._over.wait(0.02):
                try:
                    answer = client.get("/plain", headers={"Host": self.neighbour.site})
                    if answer.status_code != 200:
                        self.refusals.append(answer.text)
                except httpx.HTTPError as error:
                    self.refusals.append(repr(error))

    def attacker(self, bundle: str) -> Tenant:
        """A tenant with this bundle, who knows where the canaries are."""
        tenant = self.server.tenant(bundle)
        for name, value in (("CANARY", str(self.canary)), ("LISTENER", str(self.listener.getsockname()[1]))):
            answer = tenant.control("PUT", f"env/{name}", json={"value": value})
            assert answer.is_success, answer.text
        return tenant

    def memory(self) -> int:
        """How much the server's own process has ever used."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))

    def processes(self) -> int:
        """How many processes stand below the server's."""
        return len(_descendants(self.server.process.pid))

    def close(self) -> None:
        """End it, and say what was harmed."""
        self._over.set()
        self._asking.join()
        left = _descendants(self.server.process.pid)
        assert self.refusals == []
        assert self.memory() < MEMORY
        assert self.canary.read_text() == "untouched"
        assert ADMIN not in self.server.words()
        assert self.server.stop() == 0
        assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []
        try:
            self.listener.accept()
        except BlockingIOError:
            self.listener.close()
        else:
            raise AssertionError("somebody behind the wall reached a socket")


@contextmanager
def field(folder: Path, language_layer: str) -> Iterator[Field]:
    """A field for the tests of a module."""
    made = Field(folder, language_layer)
    try:
        yield made
    finally:
        made.close()


def attack(tenant: Tenant, name: str) -> Answered:
    """Run one attack, and see that the deployment answers as if nothing had been."""
    headers, body, status = httpx.Headers(), b"", CUT
    began = int(time.time() * 1000)
    try:
        with tenant.server.http.stream("GET", f"/attack/{name}", headers={"Host": tenant.site}) as answer:
            headers = answer.headers
            body = answer.read()
            status = answer.status_code
    except httpx.RemoteProtocolError:
        pass
    for _ in range(2):
        after = tenant.get("/fine")
        if after.status_code == 503:  # it was in the isolate of a liar when that was ended, and is told to try again
            assert after.json()["code"] == "IsolateLost"
            after = tenant.get("/fine")
        assert (after.status_code, after.text) == (200, "fine")
    return Answered(status, headers, body, tenant.log(request_id=headers["x-request-id"]), began)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text(errors="replace").rpartition(") ")[2].split()[1])
        except OSError:
            continue  # it ended a moment ago
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
