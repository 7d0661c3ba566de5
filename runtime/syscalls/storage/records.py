"""What is known of a stored file?

A document of ``_storage``, in the shape that Convex's tools know: ``sha256`` (base64), ``size``, ``contentType`` where
there is one. Beside it a record that no tenant sees, with the number of its content: who knows that number may read the
file at its URL, so it stands in nothing that is queried.

Rules
1. Both are written, and removed, in one transaction. Neither ever changes.
2. The number is 122 random bits of the kernel, and no part of the id: whoever has an id has no URL yet.
"""

import base64
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from runtime.document_ids import DocumentId, parse_document_id
from runtime.errors import SyscallRefused
from runtime.index_keys import encode_value, index_prefix
from runtime.ports import Write
from runtime.syscalls.schemas.catalog import BY_CREATION_TIME, id_key
from runtime.syscalls.schemas.document_types import SYSTEM_TABLES
from runtime.syscalls.transaction import Transaction

STORAGE = SYSTEM_TABLES["_storage"]
FILES = 7
"""The number of the table of hidden records."""

BY_CREATION = index_prefix(STORAGE, BY_CREATION_TIME)
_BY_ID = index_prefix(FILES, 0)
_BY_NUMBER = index_prefix(FILES, 1)


class StoredDocument(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A document of ``_storage``."""

    id: str = msgspec.field(name="_id")
    creation_time: float = msgspec.field(name="_creationTime")
    sha256: str
    size: float
    content_type: str | None = msgspec.field(name="contentType", default=None)


class StoredFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stored file, its number included. ``created`` is in milliseconds since 1970."""

    id: str
    number: UUID
    created: float
    sha256: bytes
    size: int
    content_type: str | None

    @property
    def keys(self) -> tuple[bytes, bytes]:
        """Where its hidden record stands."""
        return _id_key(self.id), number_key(self.number)

    @property
    def document(self) -> StoredDocument:
        """What its tenant sees."""
        sha256 = base64.b64encode(self.sha256).decode()
        return StoredDocument(self.id, self.created, sha256, float(self.size), self.content_type)

    @property
    def document_keys(self) -> tuple[bytes, bytes]:
        """Where its document stands."""
        id = parse_document_id(self.id)
        assert id is not None, "ids of the house are ids"
        return id_key(id), creation_key(self.created, id)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredFile).decode
decode_document = msgspec.msgpack.Decoder(StoredDocument).decode


def write_file(transaction: Transaction, file: StoredFile) -> None:
    """Let it be there, once this is committed."""
    transaction.put_record((), file.document_keys, _encode(file.document))
    transaction.put_record((), file.keys, _encode(file))


def write_removal(transaction: Transaction, file: StoredFile) -> None:
    """Let it be gone, once this is committed; raise `SyscallRefused` past a limit."""
    transaction.charge(0)
    transaction.put_record(file.document_keys, (), None)
    transaction.put_record(file.keys, (), None)


async def find_file(transaction: Transaction, id: DocumentId) -> StoredFile | None:
    """The file with this id."""
    found = await transaction.find_record(_id_key(id.text))
    return None if found is None else _decode(found)


async def find_number(transaction: Transaction, number: UUID) -> StoredFile | None:
    """The file whose content has this number. Does not see what this very transaction has removed."""
    found = await transaction.find_record(number_key(number))
    return None if found is None else _decode(found)


def gone(writes: Iterable[Write]) -> list[UUID]:
    """The numbers of the files that these writes removed."""
    return [
        UUID(bytes=write.before[1][len(_BY_NUMBER) :])
        for write in writes
        if write.document is None and write.before and write.before[0].startswith(_BY_ID)
    ]


def storage_id(text: Any) -> DocumentId:
    """The id of a stored file; raise `SyscallRefused` when it is none."""
    parsed = parse_document_id(text) if type(text) is str else None
    if parsed is None or parsed.table != STORAGE:
        raise SyscallRefused(f"{str(text)[:80]!r} is not the id of a stored file")
    return parsed


def number_key(number: UUID) -> bytes:
    """Where a file is found by its number."""
    return _BY_NUMBER + number.bytes


def creation_key(created: float, id: DocumentId) -> bytes:
    """Where a document stands among those of its table, by when it was made."""
    return BY_CREATION + encode_value(created) + encode_value(id.random)


def _id_key(id: str) -> bytes:
    return _BY_ID + encode_value(id)
