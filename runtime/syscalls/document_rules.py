"""May this be stored?

Every document is looked at here before it is kept, whoever sent it. That it is a value has been checked before
(`protocol.values`); here are the rules that only documents have.

Rules
1. Top-level fields are identifiers of at most 64 characters. Those that begin with ``_`` are the system's: ``_id`` and
   ``_creationTime`` may be written only as they are.
2. Depth, number of fields, number of items and encoded size are bounded, as ``limits.py`` says.
"""

import re
from typing import Any

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.protocol import values

Document = dict[str, Any]

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
assert limits.FIELD_NAME_CHARACTERS == 64
SYSTEM_FIELDS = ("_id", "_creationTime")


def own_fields(document: Document, current: Document | None) -> Document:
    """The fields that a tenant may choose; ``current`` is the document as it stands, ``None`` when it is new."""
    for name in SYSTEM_FIELDS:
        if name in document and (current is None or not _same(document[name], current[name])):
            raise SyscallRefused(f"the field {name} is set by the system: leave it out")
    return {name: value for name, value in document.items() if name not in SYSTEM_FIELDS}


def encode_document(fields: Document, id: str, creation_time: float) -> bytes:
    """The bytes to store: these fields and the system's; raise `SyscallRefused` when they may not be stored."""
    for name in fields:
        if not _FIELD.match(name):
            raise SyscallRefused(
                f"document has the field {name[:80]!r}: a field begins with a letter, then come letters, digits and "
                f"underscores, at most {limits.FIELD_NAME_CHARACTERS} characters"
            )
    _check_shape(fields, "document", 1)
    try:
        encoded = values.encode({"_id": id, "_creationTime": creation_time, **fields}, "document")
    except values.InvalidValue as invalid:
        raise SyscallRefused(str(invalid)) from None
    if len(encoded) > limits.DOCUMENT_BYTES:
        raise _too_much("document", len(encoded), "DOCUMENT_BYTES", limits.DOCUMENT_BYTES)
    return encoded


def without_system(document: Document) -> Document:
    """The fields that are the tenant's own."""
    return {name: value for name, value in document.items() if name[0] != "_"}


def _check_shape(value: Any, path: str, depth: int) -> None:
    if depth > limits.DOCUMENT_DEPTH:
        raise _too_much(path, depth, "DOCUMENT_DEPTH", limits.DOCUMENT_DEPTH)
    if type(value) is dict:
        if len(value) > limits.DOCUMENT_FIELDS:
            raise _too_much(path, len(value), "DOCUMENT_FIELDS", limits.DOCUMENT_FIELDS)
        for name, item in value.items():
            if type(item) is dict or type(item) is list:
                _check_shape(item, f"{path}.{name}", depth + 1)
    else:
        if len(value) > limits.ARRAY_ITEMS:
            raise _too_much(path, len(value), "ARRAY_ITEMS", limits.ARRAY_ITEMS)
        for index, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                _check_shape(item, f"{path}[{index}]", depth + 1)


def _too_much(path: str, observed: int, name: str, limit: limits.Limit) -> SyscallRefused:
    return SyscallRefused(f"{path} has {observed} {limit.unit}, limit {name} is {limit}", "LimitExceeded")


def _same(value: Any, current: Any) -> bool:
    # True == 1 and Int64(1) == 1 in Python, but they are other values.
    return value == current and (type(value) is type(current) or {type(value), type(current)} == {int, float})
