"""How does the terminal say it?

Everything that a command prints goes through here: tables and sentences for people, JSON for programs. Knows nothing of
HTTP.

Rules
1. With ``--json`` standard output holds JSON and nothing else; one document, or one line each where there is a stream.
2. Complaints go to standard error, answers to standard output.
3. Text from a tenant's program is shown as text: neither markup nor escape sequences of it reach the terminal.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.protocol.messages import Level

# Everything that could move a cursor, set a title, forge a line or turn its direction: C0 but tab and newline, DEL, C1,
# Unicode's separators of lines and its marks of direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_STYLES = {Level.DEBUG: "dim", Level.INFO: "", Level.WARN: "yellow", Level.ERROR: "red"}


def plain(text: object) -> str:
    """The text without what a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


def moment(milliseconds: float) -> str:
    """A time of this day or of another, short, in the reader's time zone."""
    then = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    return then.strftime("%H:%M:%S" if then.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """A number of bytes for people."""
    return (
        f"{count} B"
        if count < 1024
        else f"{count / 1024:.1f} KiB"
        if count < 1 << 20
        else f"{count / (1 << 20):.1f} MiB"
    )


class Screen:
    """Where a command prints. ``json`` decides for whom."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def document(self, value: Any) -> None:
        """One JSON document."""
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)

    def line(self, value: Any) -> None:
        """One JSON line of a stream."""
        print(json.dumps(value, ensure_ascii=False), flush=True)

    def say(self, text: object, style: str = "") -> None:
        """A sentence for people; with ``--json`` it is not said."""
        if not self.json:
            self.out.print(Text(plain(text), style=style))

    def complain(self, text: object, style: str = "red") -> None:
        """A sentence on standard error."""
        self.err.print(Text(plain(text), style=style))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
        """Rows under headings, or the sentence that says there are none. An id is never broken: it is to be copied."""
        if not rows:
            self.say(empty, "dim")
            return
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in headings:
            table.add_column(heading, overflow="fold", no_wrap=heading == "id", min_width=len(heading))
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        self.out.print(table)

    def diagnostics(self, diagnostics: Sequence[Mapping[str, Any]], bundle: Path | None, style: str = "red") -> None:
        """Each as ``file:line: message``, with the line of the source where it can be read."""
        for each in diagnostics:
            file, number = str(each.get("file", "")), int(each.get("line", 0))
            where = f"{file}:{number}: " if file and number else f"{file}: " if file else ""
            self.err.print(Text(plain(where), style="bold") + Text(plain(each.get("message", "")), style=style))
            source = _source_line(bundle, file, number)
            if source:
                self.err.print(Text(f"    {plain(source)}", style="dim"))

    def log_entry(self, entry: Mapping[str, Any]) -> None:
        """One line of a deployment's log, as it stands."""
        if entry.get("kind") == "request":
            self.out.print(self.request(entry))
            return
        head = Text(moment(entry["at"]), style="dim") + Text(f" {entry.get('level', 'info'):<5} ", style=_style(entry))
        self.out.print(head + _indented(entry["text"], 15, _style(entry)) + _request_id(entry))

    def request(self, entry: Mapping[str, Any]) -> Text:
        """The end of one invocation: time, what was asked, status and duration, id."""
        status = entry.get("status") or 200
        style = "bold red" if status >= 500 else "bold yellow" if status >= 400 else "bold"
        text = _indented(entry["text"], 9, style)  # what a client asked for, and may hold a line break
        return Text(f"{moment(entry['at'])} ", style="dim") + text + _request_id(entry)

    def said(self, entry: Mapping[str, Any]) -> Text:
        """What a function printed, to stand under its request."""
        return Text("         ") + _indented(entry["text"], 9, _style(entry))


def _style(entry: Mapping[str, Any]) -> str:
    return _STYLES.get(Level(entry.get("level", "info")), "")


def _indented(text: str, columns: int, style: str) -> Text:
    return Text(plain(text).rstrip().replace("\n", "\n" + " " * columns), style=style)


def _request_id(entry: Mapping[str, Any]) -> Text:
    request_id = entry.get("request_id")
    return Text(f"  {plain(request_id)}", style="dim") if request_id else Text("")


def _source_line(bundle: Path | None, file: str, number: int) -> str:
    if bundle is None or not file or number < 1:
        return ""
    place = (bundle / file).resolve()
    # The name came from a server: it may point to a line of the bundle and to nothing else.
    if not place.is_relative_to(bundle.resolve()) or not place.is_file():
        return ""
    lines = place.read_text("utf-8", errors="replace").splitlines()
    return lines[number - 1] if number <= len(lines) else ""
