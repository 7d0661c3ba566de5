"""``warren dev``: a save is live, a broken one is told, and Ctrl-C stops."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "messages"
_PATIENCE = 20


class Terminal:
    """A ``warren dev`` and what it has printed so far."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.start()

    def start(self) -> None:
        """Start it on free ports, in an environment without any setting."""
        self._printed = (self.project / "printed").open("w+b")
        command = [sys.executable, "-m", "control_plane.cli.main", "dev", self.project.name]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--site-port", "0"],
            cwd=self.project.parent,  # as a person names a folder: by where they stand
            env={name: value for name, value in os.environ.items() if not name.startswith("WARREN_")},
            stdout=self._printed,
            stderr=subprocess.STDOUT,
        )
        self.site = re.findall(r"HTTP actions +(http://\S+)", self.until("Ctrl-C stops"))[-1]

    def printed(self) -> str:
        """Everything so far."""
        return (self.project / "printed").read_text()

    def until(self, text: str) -> str:
        """Wait until it has printed this."""
        return eventually(lambda: self.printed() if text in self.printed() else "", f"{text!r} in:\n{self.printed()}")

    def save(self, file: str, change: Callable[[str], str]) -> None:
        """Save a file of the bundle."""
        path = self.project / "functions" / file
        path.write_text(change(path.read_text()))

    def stop(self) -> int:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(_PATIENCE)
        self._printed.close()
        return code


def eventually(look: Callable[[], str], what: str) -> str:
    """Look until there is something; fail when there never is."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
    raise AssertionError(f"waited in vain for {what}")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """The example under ``warren dev``."""
    shutil.copytree(EXAMPLE, tmp_path / "messages", ignore=shutil.ignore_patterns(".warren", "__pycache__"))
    opened = Terminal(tmp_path / "messages")
    yield opened
    if opened.process.poll() is None:
        opened.stop()


def test_the_two_lines_to_try_work_as_they_are_printed(terminal: Terminal) -> None:
    lines = re.findall(r"^  (curl .+)$", terminal.printed(), re.MULTILINE)
    assert len(lines) == 2
    said = [subprocess.run(line, shell=True, capture_output=True, check=True, text=True).stdout for line in lines]
    assert json.loads(said[1]) == [{"author": "User 123", "body": "Sent via HTTP action: Hello world"}]
    terminal.until("User 123 posted 11 characters")
    assert "POST /postMessage 200" in terminal.printed()


def test_a_save_is_live_and_a_broken_one_is_told(terminal: Terminal) -> None:
    terminal.save("http.py", lambda text: text.replace("Hello from", "Good morning from"))
    eventually(lambda: "Good morning" if "Good morning" in httpx.get(terminal.site).text else "", "the new version")
    terminal.save("messages.py", lambda text: "import socket\n" + text)
    terminal.until("Not pushed")
    assert "messages.py:1: " in terminal.printed()
    assert "    import socket\n" in terminal.printed()
    assert "Good morning" in httpx.get(terminal.site).text
    terminal.save("messages.py", lambda text: text.removeprefix("import socket\n"))
    terminal.save("http.py", lambda text: text.replace("Good morning from", "Good night from"))
    eventually(lambda: "night" if "Good night" in httpx.get(terminal.site).text else "", "the mended version")


def test_a_failure_is_shown_to_the_caller_and_in_the_terminal(terminal: Terminal) -> None:
    terminal.save("http.py", lambda text: text.replace("    return Response(f", "    1 / 0\n    return Response(f"))
    answer = eventually(lambda: body if "ZeroDivisionError" in (body := httpx.get(terminal.site).text) else "", "a 500")
    assert "http.py" in answer
    assert "ZeroDivisionError: division by zero" in terminal.until("    1 / 0\n")


def test_ctrl_c_stops_it_cleanly_and_messages_survive(terminal: Terminal) -> None:
    sent = httpx.post(f"{terminal.site}/postMessage", json={"author": "User 7", "body": "kept"})
    assert sent.status_code == 200
    note = terminal.project / ".warren" / "local.json"
    assert json.loads(note.read_text())["deployment"] == "messages"
    assert note.stat().st_mode & 0o077 == 0
    assert terminal.stop() == 0
    assert "Traceback" not in terminal.printed()
    assert not note.exists()
    terminal.start()
    kept = httpx.get(f"{terminal.site}/getAuthorMessages/User+7").json()
    assert kept == [{"author": "User 7", "body": "Sent via HTTP action: kept"}]
