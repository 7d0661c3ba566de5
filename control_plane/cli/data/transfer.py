"""How do documents go to a file and come from one? ``export``, ``import``.

Rules
1. A file is there whole or not at all: an export that breaks off leaves none.
2. The bar is for people: with ``--json``, or without a terminal, there is none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from control_plane.cli.client import PATIENT, Refused, Session, connected
from control_plane.cli.screen import Screen, size

_PIECE = 256 * 1024
_FORMATS = {".zip": "zip", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


class _Bar:
    """How far it is."""

    def __init__(self, progress: Progress | None, label: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total) if progress is not None else None

    def advance(self, amount: int) -> None:
        """So many bytes more."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)

    def say(self, label: str) -> None:
        """Something else is being done now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=label)


@contextmanager
def _bar(screen: Screen, label: str, total: int | None) -> Iterator[_Bar]:
    if screen.json or not screen.err.is_terminal:
        yield _Bar(None, label, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=screen.err, transient=True) as progress:
        yield _Bar(progress, label, total)


@click.command("export")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file. [<deployment>.zip]")
@connected
def export_documents(session: Session, output: Path | None) -> None:
    """Save every document, as of one moment, to a zip file that `warren import` reads."""
    path = output or Path(f"{session.deployment}.zip")
    part = path.with_name(f"{path.name}.part")
    try:
        with session.download(session.of_deployment("data", "export")) as answer, part.open("wb") as file:
            total = int(answer.headers["content-length"])
            with _bar(session.screen, f"Exporting {session.deployment}", total) as bar:
                for piece in answer.iter_raw(_PIECE):
                    file.write(piece)
                    bar.advance(len(piece))
            documents = int(answer.headers["x-warren-documents"])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    if session.screen.json:
        session.screen.document({"file": str(path), "bytes": total, "documents": documents})
    session.screen.say(f"{documents} documents of {session.deployment} are in {path} ({size(total)}).", "green")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--table", "-t", help="Where the documents of a jsonl or csv file belong. [the file's name]")
@click.option("--format", "form", type=click.Choice(["zip", "jsonl", "csv"]), help="[by the file's name]")
@click.option("--append", "mode", flag_value="append", help="Add to the documents that are there.")
@click.option("--replace", "mode", flag_value="replace", help="Put these in the place of those that are there.")
@click.option("--require-empty", "mode", flag_value="require-empty", default=True, help="Refuse if there are any.")
@connected
def import_documents(session: Session, file: Path, table: str | None, form: str | None, mode: str) -> None:
    """Take documents from FILE: a snapshot (zip), lines of JSON (jsonl), or comma-separated values (csv).

    Every line is checked before the first is written. Ids and creation times are kept.
    """
    form = form or _FORMATS.get(file.suffix.lower())
    if form is None:
        raise click.UsageError(f"What is in {file}? Say --format zip, jsonl or csv.")
    parameters = {"format": form, "mode": mode}
    if form != "zip":
        parameters["table"] = table or file.name.partition(".")[0]
    elif table is not None:
        raise click.UsageError("A snapshot names its tables itself: leave out --table.")
    total = file.stat().st_size
    with file.open("rb") as opened, _bar(session.screen, f"Sending {file.name}", total) as bar, _named(file, form):
        answer = session.call(
            "POST",
            session.of_deployment("data", "import"),
            params=parameters,
            content=_pieces(opened, bar),
            headers={"content-length": str(total)},
            timeout=PATIENT,
        )
    if session.screen.json:
        session.screen.document(answer)
        return
    session.screen.table(("table", "imported"), sorted(answer["tables"].items()), "The file has no tables.")
    session.screen.say(f"{answer['documents']} documents are imported.", "green")


@contextmanager
def _named(file: Path, form: str) -> Iterator[None]:
    """The server knows a file of lines by its table; whoever sent it, by its name."""
    try:
        yield
    except Refused as refused:
        if form != "zip":
            for line in refused.problem.get("diagnostics") or []:
                line["file"] = file.name
        raise


def _pieces(file: BinaryIO, bar: _Bar) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
        bar.advance(len(piece))
    bar.say("Checking and writing")
