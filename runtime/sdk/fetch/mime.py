"""What type does a body say it has?

The MIME Sniffing standard's parser and serialiser (§4.4, §4.5), and the Fetch standard's way to find one type in
several ``content-type`` values. Knows no body.

Rules
1. A text that cannot be parsed is no type: ``None``, never an exception.
2. Type, subtype and parameter names are lower case; parameter values stay as they were.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_QUOTABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_WHITE_SPACE = "\t\n\r "


@dataclass(frozen=True, slots=True)
class MimeType:
    """A parsed type: ``essence`` is ``type/subtype``."""

    essence: str
    parameters: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        written = (f";{name}={_written(value)}" for name, value in self.parameters.items())
        return self.essence + "".join(written)


def _written(value: str) -> str:
    if _TOKEN.match(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(text: str) -> MimeType | None:
    """Read one MIME type."""
    essence, _, rest = text.strip(_WHITE_SPACE).partition(";")
    kind, slash, subtype = essence.rstrip(_WHITE_SPACE).partition("/")
    if not slash or not _TOKEN.match(kind) or not _TOKEN.match(subtype):
        return None
    parameters: dict[str, str] = {}
    for name, value in _parameters(rest):
        if name not in parameters and _TOKEN.match(name) and _QUOTABLE.match(value):
            parameters[name] = value
    return MimeType(f"{kind}/{subtype}".lower(), parameters)


def _parameters(text: str) -> list[tuple[str, str]]:
    found = []
    at, size = 0, len(text)
    while at < size:
        end = at
        while end < size and text[end] not in ";=":
            end += 1
        name = text[at:end].lstrip(_WHITE_SPACE).lower()
        at = end + 1
        if end >= size or text[end] == ";":
            continue
        if text[at : at + 1] == '"':
            value, at = quoted_string(text, at)
            semicolon = text.find(";", at)
            at = size if semicolon < 0 else semicolon + 1
        else:
            raw, _, _ = text[at:].partition(";")
            at += len(raw) + 1
            value = raw.rstrip(_WHITE_SPACE)
            if not value:
                continue
        found.append((name, value))
    return found


def quoted_string(text: str, at: int) -> tuple[str, int]:
    """Read the quoted string that begins at this quote: its content, and where reading goes on."""
    value: list[str] = []
    at += 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 1
            value.append(text[at] if at < len(text) else "\\")
        else:
            value.append(text[at])
        at += 1
    return "".join(value), at + 1


def _split(text: str) -> list[str]:
    pieces, begin, at = [], 0, 0
    while at < len(text):
        if text[at] == '"':
            _, at = quoted_string(text, at)
        elif text[at] == ",":
            pieces.append(text[begin:at])
            begin = at = at + 1
        else:
            at += 1
    return [*pieces, text[begin:]]


def extract(header: str | None) -> MimeType | None:
    """The type that a ``content-type`` header stands for, when it was sent once or several times."""
    if header is None:
        return None
    charset: str | None = None
    essence, found = "", None
    for piece in _split(header):
        parsed = parse(piece)
        if parsed is None or parsed.essence == "*/*":
            continue
        found = parsed
        if parsed.essence != essence:
            charset = parsed.parameters.get("charset")
            essence = parsed.essence
        elif "charset" not in parsed.parameters and charset is not None:
            parsed.parameters["charset"] = charset
    return found
