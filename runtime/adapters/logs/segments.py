"""Which files hold a deployment's log, and what is in them?

NDJSON files ``<folder>/<deployment>/<number>.ndjson``; only the last one grows. Several processes may write them: every
batch is appended whole, behind what the others have appended. Blocking: used by the one thread of `files.py`.

Rules
1. What a process wrote before it was killed is there; a line that was torn in the middle is closed off and passed over.
2. One deployment's files together stay under `LOG_BYTES`: when the last is full, a new one begins and the oldest goes.
3. Files are readable by this user only.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runtime import limits
from runtime.adapters.logs.followers import matches
from runtime.names import DeploymentName
from runtime.ports import LogEntry, LogQuery

_SEGMENTS = 8
_SLACK = 60_000  # ms by which lines may be out of order
_NEWS = 1 * limits.MIB  # read of one file at once, for who follows

Marks = dict[int, int]
"""How far each file of a deployment was read: number → bytes."""


@dataclass
class _Tail:
    """The file that grows."""

    number: int
    size: int
    torn: bool


class Segments:
    """The log files of every deployment."""

    def __init__(self, folder: Path, limit: int = limits.LOG_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = limit // _SEGMENTS
        self._tails: dict[DeploymentName, _Tail] = {}
        self._unsynced: set[Path] = set()
        self._decoder = msgspec.json.Decoder(LogEntry)

    def append(self, name: DeploymentName, data: bytes | bytearray) -> None:
        """Write encoded lines; raise `OSError` when the disk does not take them."""
        tail = self._tails.get(name)
        if tail is None or self._path(name, tail.number + 1).exists():  # another process has begun the next one
            tail = self._find_tail(name)
        if tail.size and tail.size + len(data) > self._segment_bytes:
            tail = self._next_segment(name, tail)
        try:
            self._write(name, tail, data)
        except OSError:
            del self._tails[name]  # look again next time: somebody may have made room, or removed the folder
            raise

    def sync(self) -> None:
        """Make everything written so far survive the machine."""
        unsynced, self._unsynced = self._unsynced, set()
        for path in unsynced:
            try:
                file = os.open(path, os.O_WRONLY)
            except FileNotFoundError:
                continue  # rotated away or forgotten
            try:
                os.fdatasync(file)
            finally:
                os.close(file)

    def read(self, name: DeploymentName, query: LogQuery) -> list[LogEntry]:
        """The newest lines that match, oldest first."""
        found: list[LogEntry] = []
        for entry in self._backwards(name, query):
            if len(found) >= query.limit:
                break
            if matches(entry, query):
                found.append(entry)
            elif query.since is not None and entry.at < query.since - _SLACK:
                break
        return found[::-1]

    def ends(self, name: DeploymentName) -> Marks:
        """How far a deployment's log reaches now."""
        return {number: self._size(name, number) for number in self._numbers(name)}

    def news(self, name: DeploymentName, marks: Marks) -> list[LogEntry]:
        """What whole lines stand behind the marks, which move on; in the order of the files."""
        found: list[LogEntry] = []
        for number in self._numbers(name):
            mark = marks.get(number, 0)
            if self._size(name, number) <= mark:
                continue
            with suppress(FileNotFoundError), self._path(name, number).open("rb") as file:
                file.seek(mark)
                data = file.read(_NEWS)
                whole = data[: data.rfind(b"\n") + 1]
                marks[number] = mark + len(whole)
                found.extend(reversed(list(self._lines_backwards(whole, b""))))
        return found

    def forget(self, name: DeploymentName) -> None:
        """Remove a deployment's files."""
        self._tails.pop(name, None)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _backwards(self, name: DeploymentName, query: LogQuery) -> Iterator[LogEntry]:
        # A look at the bytes is much cheaper than decoding, and never wrong: ids have nothing that JSON escapes.
        mark = msgspec.json.encode(query.request_id) if query.request_id else b""
        for number in reversed(self._numbers(name)):
            try:
                data = self._path(name, number).read_bytes()
            except FileNotFoundError:
                continue
            if mark in data:
                yield from self._lines_backwards(data, mark)

    def _lines_backwards(self, data: bytes, mark: bytes) -> Iterator[LogEntry]:
        end = len(data)
        while end > 0:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            line = data[begin:end]
            end = begin
            if mark in line and line.endswith(b"\n"):
                try:
                    yield self._decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # torn when a process was killed

    def _path(self, name: DeploymentName, number: int) -> Path:
        return self._folder / name / f"{number:010}.ndjson"

    def _size(self, name: DeploymentName, number: int) -> int:
        try:
            return self._path(name, number).stat().st_size
        except FileNotFoundError:
            return 0

    def _numbers(self, name: DeploymentName) -> list[int]:
        try:
            found = os.listdir(self._folder / name)
        except FileNotFoundError:
            return []
        return sorted(int(file[:10]) for file in found if file[:10].isdigit() and file[10:] == ".ndjson")

    def _find_tail(self, name: DeploymentName) -> _Tail:
        (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        number = max(self._numbers(name), default=1)
        tail = self._tails[name] = _Tail(number, 0, torn=False)
        path = self._path(name, number)
        if path.exists():
            with path.open("rb") as file:
                tail.size = file.seek(0, os.SEEK_END)
                if tail.size:
                    file.seek(-1, os.SEEK_END)
                    tail.torn = file.read(1) != b"\n"
        return tail

    def _next_segment(self, name: DeploymentName, tail: _Tail) -> _Tail:
        following = self._tails[name] = _Tail(tail.number + 1, 0, torn=False)
        for number in self._numbers(name):
            if number <= following.number - _SEGMENTS:
                self._path(name, number).unlink(missing_ok=True)
        return following

    def _write(self, name: DeploymentName, tail: _Tail, data: bytes | bytearray) -> None:
        path = self._path(name, tail.number)
        rest = memoryview(b"\n" + data if tail.torn else data)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        tail.size = os.fstat(file).st_size  # others may have written, too
        tail.torn = True  # until all of it is there
        try:
            while rest:
                written = os.write(file, rest)
                tail.size += written
                rest = rest[written:]
        finally:
            os.close(file)
        tail.torn = False
        self._unsynced.add(path)
