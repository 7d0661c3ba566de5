"""The chat's React page in a browser and its Python client in a terminal, side by side, as the example's page says."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import LiveServer, Tenant
from tests.walks.clients.browser import Browser
from tests.walks.clients.npm_packages import node, workshop

CHAT = Path(__file__).resolve().parents[3] / "examples" / "chat"
LINES = "ol li"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The React page, built as `npm run build` does, on a server of files."""
    node()
    folder = workshop(CHAT / "web", tmp_path_factory.mktemp("web"))
    done = subprocess.run(["npm", "run", "build"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as files:
        serving = threading.Thread(target=files.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{files.server_port}/"
        files.shutdown()
        serving.join()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Tenant]:
    """The chat as the default deployment of a server."""
    live = LiveServer(tmp_path / "data", WARREN_DEFAULT_DEPLOYMENT="chat", WARREN_SITE_PORT="0")
    made = live.admin("POST", "/v1/deployments", json={"name": "chat"})
    deployed = Tenant(live, "chat", made.json()["deploy_key"])
    root = CHAT / "functions"
    pushed = deployed.push({str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.py"))})
    assert pushed.status_code == 201, pushed.text
    yield deployed
    live.stop()


def say(chat: Tenant, body: str, room: str = "lobby") -> None:
    """Somebody says something, elsewhere."""
    assert chat.run("chat:say", {"room": room, "author": "test", "body": body})["status"] == "success"


@contextmanager
def terminal_of(name: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """The chat in a terminal, which is closed afterwards whatever it does."""
    command = [sys.executable, str(CHAT / "client.py"), url, "--name", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_react_page_and_a_terminal_are_live_side_by_side(
    page: str, chat: Tenant, scripts: Path, tmp_path: Path
) -> None:
    pytest.importorskip("convex")
    url = f"http://127.0.0.1:{chat.server.port}"
    say(chat, "first")
    with terminal_of("Bob", url) as terminal, Browser(scripts) as browser:
        assert terminal.stdin is not None and terminal.stdout is not None
        assert terminal.stdout.readline() == "test: first\n"
        browser.open(f"{page}?url={url}&name=Ann")
        assert browser.texts(LINES, ["testfirst"]) == ["testfirst"]
        print("hello from the terminal", file=terminal.stdin, flush=True)
        expected = ["testfirst", "Bobhello from the terminal"]
        assert browser.texts(LINES, expected) == expected
        assert terminal.stdout.readline() == "Bob: hello from the terminal\n"
        browser.fill("input[name=body]", "hello from the browser")
        browser.click("button[name=say]")
        assert terminal.stdout.readline() == "Ann: hello from the browser\n"
        expected = [*expected, "Annhello from the browser"]
        assert browser.texts(LINES, expected) == expected
        browser.picture(tmp_path / "chat.png")
        assert browser.complaints() == []
        terminal.stdin.close()
        assert terminal.wait(20) == 0


def test_a_react_page_loads_more_keeps_its_pages_while_they_grow_and_changes_rooms(
    page: str, chat: Tenant, scripts: Path, tmp_path: Path
) -> None:
    for number in range(12):
        say(chat, str(number))
    say(chat, "quiet here", room="library")
    with Browser(scripts) as browser:
        browser.open(f"{page}?url=http://127.0.0.1:{chat.server.port}")
        assert browser.texts("nav button", ["library", "lobby"]) == ["library", "lobby"]
        for first in (7, 2, 0):
            expected = [f"test{number}" for number in range(first, 12)]
            assert browser.texts(LINES, expected) == expected
            if first:
                browser.click("button[name=earlier]")
        assert browser.texts("button[name=earlier]", []) == []
        say(chat, "new")
        assert browser.texts(LINES, [*expected, "testnew"]) == [*expected, "testnew"]
        browser.fill("input[name=body]", " ")
        browser.click("button[name=say]")
        assert browser.texts("[role=alert]", ["Unsayable"]) == ["Unsayable"]
        browser.picture(tmp_path / "pages.png")
        browser.click("nav button >> nth=0")
        assert browser.texts(LINES, ["testquiet here"]) == ["testquiet here"]
        assert browser.complaints() == []
