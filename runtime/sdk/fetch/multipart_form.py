"""What did a form say, and how is a form sent?

`FormData` of the XHR standard (§4.4), written and read as ``multipart/form-data`` (HTML standard §4.10.21.8, RFC 7578).
The reading is done by the `multipart` library's parser, which is fed bytes and keeps no files. Knows no request.

Rules
1. A value is text or a `File`. A `Blob` becomes a `File` called ``blob``.
2. Quotes and line ends in names are escaped as browsers do, so that no name can end its header.
3. A malformed form, and one with more parts than `limits.FORM_PARTS`, is a `TypeError`.
"""

import re
import secrets

from multipart import (  # type: ignore[import-untyped,unused-ignore]  # one module, so it cannot carry a py.typed mark
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from runtime import limits
from runtime.sdk.fetch.blob import Blob, File
from runtime.sdk.fetch.webidl import Pairs, usv_string
from runtime.sdk.running import RUNNING

FormValue = str | File
_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPES = str.maketrans({"\n": "%0A", "\r": "%0D", '"': "%22"})


class FormData(Pairs[FormValue]):
    """A form's fields, in order: text, or `File` where a file was sent."""

    __slots__ = ("__weakref__", "_list")

    def __init__(self) -> None:
        self._list: list[tuple[str, FormValue]] = []

    def append(self, name: str, value: str | Blob, filename: str | None = None) -> None:
        """Add a field at the end."""
        self._list.append((usv_string(name), _form_value(value, filename)))

    def set(self, name: str, value: str | Blob, filename: str | None = None) -> None:
        """Give the first field of this name this value and remove the others, or add one."""
        key, entry = usv_string(name), _form_value(value, filename)
        at = next((index for index, pair in enumerate(self._list) if pair[0] == key), len(self._list))
        self._list[at:] = [(key, entry), *(pair for pair in self._list[at:] if pair[0] != key)]

    def delete(self, name: str) -> None:
        """Remove every field of this name."""
        key = usv_string(name)
        self._list[:] = [pair for pair in self._list if pair[0] != key]

    def get(self, name: str, default: FormValue | None = None, /) -> FormValue | None:
        """The first value of this name, or ``None`` (or the default)."""
        wanted = usv_string(name)
        return next((value for key, value in self._list if key == wanted), default)

    def get_all(self, name: str) -> list[FormValue]:
        """Every value of this name."""
        wanted = usv_string(name)
        return [value for key, value in self._list if key == wanted]

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        wanted = usv_string(name)
        return any(key == wanted for key, _ in self._list)

    def __contains__(self, name: object) -> bool:
        return self.has(name)  # type: ignore[arg-type]  # what is no name is refused there

    def _pairs(self) -> list[tuple[str, FormValue]]:
        return self._list


def _form_value(value: object, filename: str | None) -> FormValue:
    if isinstance(value, Blob):
        if isinstance(value, File) and filename is None:
            return value
        changed = value.last_modified if isinstance(value, File) else None
        return File([value], filename if filename is not None else "blob", value.type, last_modified=changed)
    if filename is not None:
        raise TypeError(f"only a Blob or a File is sent with a filename, not {type(value).__name__}")
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes are sent as a file: write form.append(name, Blob([data]), filename)")
    return usv_string(value)


def new_boundary() -> str:
    """A boundary that nobody can guess, or the same one again where a run must repeat."""
    running = RUNNING.get()
    random = running.random if running is not None else None
    return "----WarrenFormBoundary" + (random.randbytes(16).hex() if random is not None else secrets.token_hex(16))


def write_multipart(form: FormData, boundary: str) -> bytes:
    """Write the form as ``multipart/form-data`` with this boundary."""
    pieces: list[bytes] = []
    for name, value in form.items():
        pieces.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{_escape(_lines(name))}"'.encode())
        if isinstance(value, File):
            kind = value.type or "application/octet-stream"
            pieces.append(f'; filename="{_escape(value.name)}"\r\nContent-Type: {kind}\r\n\r\n'.encode())
            pieces.append(value.data)
        else:
            pieces.append(f"\r\n\r\n{_lines(value)}".encode())
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _lines(text: str) -> str:
    return _LINE_END.sub("\r\n", text)


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def read_multipart(data: bytes, boundary: str) -> FormData:
    """Read ``multipart/form-data``; raise `TypeError` when it is malformed or has too many parts."""
    form = FormData()
    try:
        with PushMultipartParser(boundary, max_segment_count=int(limits.FORM_PARTS), strict=True) as parser:
            segment: MultipartSegment | None = None
            content: list[bytes] = []
            for event in parser.parse(data) if data else ():
                if isinstance(event, MultipartSegment):
                    segment, content = event, []
                elif event is None:
                    form._list.append(_field(segment, b"".join(content)))
                else:
                    content.append(event)
    except ParserLimitReached as error:
        raise TypeError(f"the form is too large: {error} (limit {limits.FORM_PARTS} parts)") from None
    except (MultipartError, UnicodeError) as error:
        raise TypeError(f"the body is not multipart/form-data with its boundary: {error}") from None
    return form


def _field(segment: MultipartSegment, content: bytes) -> tuple[str, FormValue]:
    if segment.filename is None:
        return segment.name, content.decode("utf-8", "replace")
    kind = segment.header("Content-Type", "text/plain")
    return segment.name, File([content], segment.filename, kind)
