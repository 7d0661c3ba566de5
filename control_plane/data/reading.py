"""Which documents are in a file that was sent?

A snapshot (a zip with ``<table>/documents.jsonl``), lines of JSON, or comma-separated values. Documents come one at a
time: a file may be larger than memory.

Rules
1. A line that is no document is told with its file and number, and reading goes on behind it.
2. Nothing is unpacked but what is read, and not more than `IMPORT_BYTES` of it.
3. What a snapshot holds beside tables of documents is left alone.
"""

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from typing import IO, Any, BinaryIO, NamedTuple

from control_plane.data.cells import ABSENT, kinds_of, value_of
from control_plane.refusals import BadArchive, LimitPassed
from runtime import limits
from runtime.protocol import values

_MEMBER = re.compile(r"(?:[^/]+/)?([A-Za-z][A-Za-z0-9_]{0,63})/documents\.jsonl\Z")
_TABLES = re.compile(r"(?:[^/]+/)?_tables/documents\.jsonl\Z")
_BROKEN = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


class Form(StrEnum):
    """How the documents are written."""

    ZIP = "zip"
    JSONL = "jsonl"
    CSV = "csv"


class Line(NamedTuple):
    """One document, or what is wrong with its line."""

    table: str
    file: str
    number: int
    document: dict[str, Any]
    trouble: str | None = None


class Source:
    """A file of documents. ``table`` is where those of a file without tables belong."""

    def __init__(self, file: BinaryIO, form: Form, table: str | None) -> None:
        self._file = file
        self._form = form
        self._table = table or ""
        self._members: dict[str, str] = {}
        if form is Form.ZIP:
            with _archive(file) as archive:
                names = [name for name in archive.namelist() if _MEMBER.match(name)]
                self._members = {name: _MEMBER.sub(r"\1", name) for name in names}
            if len(set(self._members.values())) < len(self._members):
                raise BadArchive("the archive holds two files of documents for one table")

    def tables(self) -> list[str]:
        """The tables in it, the empty ones too."""
        if self._form is not Form.ZIP:
            return [self._table]
        found = set(self._members.values())
        with _archive(self._file) as archive:
            for member in filter(_TABLES.match, archive.namelist()):
                with _text(archive, member) as text:
                    names = [line.document.get("name") for line in _json_lines(text, "_tables", member)]
                    found |= {name for name in names if isinstance(name, str) and _TABLE.match(name)}
        return sorted(found)

    def heads(self) -> Iterator[Line]:
        """The first document of each table."""
        if self._form is not Form.ZIP:
            yield from islice(self.lines({}), 1)
            return
        with _archive(self._file) as archive:
            for member, table in sorted(self._members.items()):
                with _text(archive, member) as text:
                    yield from islice(_json_lines(text, table, member), 1)

    def lines(self, schemas: Mapping[str, Any]) -> Iterator[Line]:
        """Every document. ``schemas`` are the validators of tables, for what has no types of its own."""
        self._file.seek(0)
        match self._form:
            case Form.ZIP:
                with _archive(self._file) as archive:
                    left = limits.IMPORT_BYTES - sum(archive.getinfo(member).file_size for member in self._members)
                    if left < 0:
                        observed = limits.IMPORT_BYTES - left
                        raise LimitPassed("the archive is too large", "IMPORT_BYTES", limits.IMPORT_BYTES, observed)
                    for member, table in sorted(self._members.items()):
                        with _text(archive, member) as text:
                            yield from _json_lines(text, table, member)
            case Form.JSONL:
                with _open_text(self._file) as text:
                    yield from _json_lines(text, self._table, f"{self._table}.jsonl")
            case Form.CSV:
                with _open_text(self._file) as text:
                    yield from _rows(text, self._table, schemas.get(self._table))


def _json_lines(text: IO[str], table: str, file: str) -> Iterator[Line]:
    number = 0
    while written := text.readline(limits.IMPORT_LINE):
        number += 1
        if len(written) >= limits.IMPORT_LINE and not written.endswith("\n"):
            # Where the next line begins is beyond what is read for one.
            yield Line(table, file, number, {}, f"the line is longer than IMPORT_LINE ({limits.IMPORT_LINE} bytes)")
            return
        if written.strip(" \t\r\n" + _BYTE_ORDER_MARK):
            yield _document(written.lstrip(_BYTE_ORDER_MARK), table, file, number)


def _document(written: str, table: str, file: str, number: int) -> Line:
    try:
        found = json.loads(written)
        document = values.from_json(found, "document")
    except values.InvalidValue as error:
        return Line(table, file, number, {}, str(error))
    except (ValueError, RecursionError) as error:
        return Line(table, file, number, {}, f"not JSON: {str(error)[:200]}")
    if type(document) is not dict:
        return Line(table, file, number, {}, f"a document is an object, this is {type(document).__name__}")
    return Line(table, file, number, document)


def _rows(text: IO[str], table: str, schema: Any) -> Iterator[Line]:
    file, kinds = f"{table}.csv", kinds_of(schema)
    rows = csv.reader(text, strict=True)
    try:
        heading = [name.strip().lstrip(_BYTE_ORDER_MARK) for name in next(rows, [])]
        if not heading or "" in heading or len(set(heading)) < len(heading):
            yield Line(table, file, 1, {}, "the first line names the fields, each once")
            return
        for row in rows:
            if not row:
                continue
            if len(row) != len(heading):
                trouble = f"there are {len(row)} cells, and {len(heading)} fields in the first line"
                yield Line(table, file, rows.line_num, {}, trouble)
                continue
            read = {name: value_of(cell, kinds.get(name)) for name, cell in zip(heading, row, strict=True)}
            yield Line(table, file, rows.line_num, {name: value for name, value in read.items() if value is not ABSENT})
    except csv.Error as error:
        yield Line(table, file, rows.line_num, {}, f"not comma-separated values: {error}")


@contextmanager
def _archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            yield archive
    except _BROKEN as error:
        raise BadArchive(f"the archive cannot be read: {error}") from None


@contextmanager
def _text(archive: zipfile.ZipFile, member: str) -> Iterator[IO[str]]:
    with archive.open(member) as packed, io.TextIOWrapper(packed, "utf-8", "surrogateescape", newline="\n") as text:
        yield text


@contextmanager
def _open_text(file: BinaryIO) -> Iterator[IO[str]]:
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()
