"""Is what a command prints readable, harmless, and JSON where JSON was asked for?"""

import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.screen import Screen, plain, size
from control_plane.cli.workbench import Printer, try_lines

LINE = {"at": 0.0, "level": "info", "kind": "line", "text": "said", "request_id": "r1"}
REQUEST = {
    "at": 0.0,
    "level": "info",
    "kind": "request",
    "text": "GET / 200 in 1.0 ms",
    "request_id": "r1",
    "status": 200,
}


def _route(method: str, pattern: str, shape: str = "exact") -> dict[str, Any]:
    return {"method": method, "pattern": pattern, "shape": shape}


def test_what_a_tenant_printed_cannot_move_the_cursor_or_forge_a_line() -> None:
    assert plain("\x1b[2Jgone\rforged\x9b") == "\ufffd[2Jgone\ufffdforged\ufffd"
    assert plain("two\r\nlines\tand a tab") == "two\nlines\tand a tab"


def test_markup_in_a_message_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(json=False).say("[bold]x[/bold]")
    assert capsys.readouterr().out == "[bold]x[/bold]\n"


def test_an_id_in_a_table_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    id = "21m5a6ce820b25w9tacsz5r7ny7gtcg"
    Screen(json=False).table(("id", "state", "arguments"), [(id, "failed: " + "why " * 30, "{}" * 30)], "none")
    assert id in capsys.readouterr().out


def test_with_json_nothing_but_json_reaches_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(json=True)
    screen.say("for people")
    screen.complain("also for people")
    screen.document({"a": "ä"})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": "ä"}
    assert captured.err == "also for people\n"


def test_a_diagnostic_is_shown_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "http.py").write_text("import os\nx = 1\n")
    Screen(json=False).diagnostics([{"file": "http.py", "line": 1, "message": "os is refused"}], tmp_path)
    assert capsys.readouterr().err == "http.py:1: os is refused\n    import os\n"


@pytest.mark.parametrize("file", ["../secret", "/etc/hostname", "missing.py", ""])
def test_a_diagnostic_shows_no_line_of_another_file(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "bundle").mkdir()
    Screen(json=False).diagnostics([{"file": file, "line": 1, "message": "refused"}], tmp_path / "bundle")
    assert capsys.readouterr().err.count("\n") == 1


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (12, 2048, 3 << 20)] == ["12 B", "2.0 KiB", "3.0 MiB"]


def test_what_a_request_said_stands_under_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Screen(json=False))
    printer.take(LINE)
    assert capsys.readouterr().out == ""
    printer.take(REQUEST)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("GET / 200 in 1.0 ms  r1")
    assert second.strip() == "said"


def test_a_line_of_no_request_is_shown_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(Screen(json=False)).take({**LINE, "request_id": ""})
    assert "said" in capsys.readouterr().out


def test_our_own_pushes_are_not_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Screen(json=False))
    printer.ours("r1")
    printer.take(LINE)
    printer.take(REQUEST)
    assert capsys.readouterr().out == ""


def test_the_lines_to_try_are_answered_by_the_bundle() -> None:
    example = [_route("POST", "/postMessage"), _route("GET", "/getMessagesByAuthor")]
    assert [line.split()[-1] for line in try_lines("http://s", example)] == [
        "http://s/postMessage",
        "'http://s/getMessagesByAuthor?authorNumber=123'",
    ]
    other = [_route("POST", "/a"), _route("GET", "/b/{id}", "parameters"), _route("GET", "/c"), _route("GET", "/d")]
    assert try_lines("http://s", other) == ["curl 'http://s/c'", "curl 'http://s/d'"]


def test_a_line_break_in_what_a_client_asked_for_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(json=False).log_entry({**REQUEST, "text": "GET /\n12:00:00 GET /forged 200 in 1.0 ms"})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("GET /")
    assert second.startswith(" ")


def test_text_cannot_turn_the_direction_of_a_line() -> None:
    assert plain("a\u202eb\u2066c\u2028d") == "a\ufffdb\ufffdc\ufffdd"
