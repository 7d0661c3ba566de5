"""What does a requirements.txt ask for, and may it?

Reads the file as a stranger's: what is handed on to the resolver is what was understood here, and nothing else of it.

Rules
1. A requirement is a name, extras, versions, markers and hashes. Where packages come from is the operator's choice: no
   options, no URLs, no repositories, no paths, no other files.
2. Whatever else stands there is refused with its line; all such lines at once.
3. A lock is of the same words, with hashes, and is looked at in the same way before it is followed.
"""

import re
from dataclasses import dataclass

from runtime import limits
from runtime.errors import PushRefused
from runtime.protocol.declaration import Diagnostic

FILE = "requirements.txt"

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRAS = rf"\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\]"
_CLAUSE = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9][A-Za-z0-9.*+!_-]*"
_VERSIONS = rf"{_CLAUSE}(?:\s*,\s*{_CLAUSE})*"
_MARKER = r"""[A-Za-z0-9_.<>=!~'"() \t,+-]+"""
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME})\s*(?:{_EXTRAS})?\s*(?:{_VERSIONS}|\(\s*{_VERSIONS}\s*\))?\s*(?:;{_MARKER})?"
)
_HASHES = re.compile(r"(?:\s+--hash=sha256:[0-9a-f]{64})+\Z")
_COMMENT = re.compile(r"(?:\A|\s)#.*\Z")
_ARCHIVE = re.compile(r"\.(?:whl|zip|egg|tar(?:\.\w+)?|tgz)\s*(?:;|\Z)", re.IGNORECASE)
_ELSEWHERE = re.compile(rf"@|://|\A[./~\\]|\Agit\+|\Afile:|{_ARCHIVE.pattern}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement: the package's name as every index spells it, its line in the file, its text."""

    name: str
    line: int
    text: str


def read_requirements(data: bytes) -> tuple[Requirement, ...]:
    """Everything that the file asks for; raise `PushRefused` with every line that cannot be followed."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PushRefused([Diagnostic(FILE, 1, "this file is not UTF-8 text")]) from None
    found: list[Requirement] = []
    wrong: list[Diagnostic] = []
    for number, line in _logical_lines(text):
        hashes = _HASHES.search(line)
        bare = line[: hashes.start()] if hashes else line
        reason = _objection(bare)
        if reason is not None:
            wrong.append(Diagnostic(FILE, number, reason))
        else:
            found.append(Requirement(_normalised(bare), number, line))
    if len(found) > limits.PACKAGE_REQUIREMENTS:
        limit = int(limits.PACKAGE_REQUIREMENTS)
        message = f"{len(found)} requirements, the limit PACKAGE_REQUIREMENTS is {limit}"
        wrong.append(Diagnostic(FILE, found[limit].line, message))
    if wrong:
        raise PushRefused(wrong[: limits.DIAGNOSTICS])
    return tuple(found)


def is_lock(text: str) -> bool:
    """Whether this says versions with hashes, and nothing else."""
    return all(_HASHES.search(line) and _objection(_HASHES.sub("", line)) is None for _, line in _logical_lines(text))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines without comments and with those put together that end with a backslash, by the number of their first."""
    found: list[tuple[int, str]] = []
    begun: tuple[int, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        first, parts = begun or (number, [])
        goes_on = line.endswith("\\")
        parts.append(_COMMENT.sub("", line.removesuffix("\\")).strip())
        begun = (first, parts) if goes_on else None
        if begun is None:
            found.append((first, " ".join(filter(None, parts))))
    if begun is not None:
        found.append((begun[0], " ".join(filter(None, begun[1]))))
    return [(number, line) for number, line in found if line]


def _objection(line: str) -> str | None:
    shown = repr(line[:80])
    if len(line) > limits.PACKAGE_TEXT:
        return f"a requirement of {len(line)} characters, the limit PACKAGE_TEXT is {int(limits.PACKAGE_TEXT)}"
    if line.startswith(("-e", "--editable")):
        return f"{shown}: nothing can be installed from the bundle itself; its own modules are imported relatively"
    if line.startswith(("-r", "-c", "--requirement", "--constraint")):
        return f"{shown}: other files are not read; write what they require here"
    if line.startswith("-"):
        return f"{shown}: options are not followed; the server's operator chooses where packages come from"
    if _REQUIREMENT.fullmatch(line) and not _ARCHIVE.search(line):
        return None
    if _ELSEWHERE.search(line):
        return f"{shown}: packages come from the server's package index, by name; not from URLs, repositories or paths"
    return f"{shown} is not a requirement: write a name and versions, such as example>=1.2,<2"


def _normalised(text: str) -> str:
    match = _REQUIREMENT.match(text)
    assert match is not None  # it has matched whole
    return re.sub(r"[-_.]+", "-", match["name"]).lower()
