"""What may a guest say about files?

For everybody ``storage.get_url`` and ``get_metadata``; in mutations and actions ``generate_upload_url`` and ``delete``;
in actions ``store`` and ``get``, which give a number when there is more than one piece: ``write`` appends the others,
``read`` reads them, ``close`` gives it up.

Rules
1. In a mutation a deletion is part of its transaction; from an action it is one of its own.
2. A number means something only in the invocation that got it, and no longer.
3. An id is looked for in the caller's deployment, whatever it says.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.ports import Clock
from runtime.syscalls.scheduling.entries import in_one
from runtime.syscalls.storage.handles import Coming, Going, Opened, read_digest
from runtime.syscalls.storage.records import StoredFile, find_file, storage_id, write_removal
from runtime.syscalls.storage.room import NoRoom, Room
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.storage.uploads import UploadTokens
from runtime.syscalls.table import ACTIONS, EVERYONE, MUTATIONS, Caller, Entry
from runtime.syscalls.transaction import Transaction, Transactions

Handle = TypeVar("Handle", Coming, Going)

_NONE = msgspec.msgpack.encode(None)
_encode = msgspec.msgpack.Encoder().encode


class _Arguments(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array with exactly these items."""


class NoArguments(_Arguments, frozen=True):
    """Nothing."""


class IdArguments(_Arguments, frozen=True):
    """Which file."""

    id: str


class StoreArguments(_Arguments, frozen=True):
    """The first piece of a new file, and whether that is all. ``sha256`` is what all of it is expected to have."""

    content_type: str | None
    sha256: str | None
    data: bytes
    last: bool


class WriteArguments(_Arguments, frozen=True):
    """Another piece."""

    number: int
    data: bytes
    last: bool


class NumberArguments(_Arguments, frozen=True):
    """Which of the files that this invocation has open."""

    number: int


class Storing:
    """The ``storage.*`` entries. ``cloud_url`` is where a deployment's files are served."""

    def __init__(
        self,
        shelf: Shelf,
        transactions: Transactions,
        tokens: UploadTokens,
        room: Room,
        clock: Clock,
        cloud_url: Callable[[DeploymentName], str],
    ) -> None:
        self._shelf = shelf
        self._transactions = transactions
        self._tokens = tokens
        self._room = room
        self._clock = clock
        self._cloud_url = cloud_url

    def entries(self) -> tuple[Entry[Any], ...]:
        """What to put on the list."""
        return (
            Entry("storage.get_url", IdArguments, EVERYONE, self._get_url),
            Entry("storage.get_metadata", IdArguments, EVERYONE, self._get_metadata),
            Entry("storage.generate_upload_url", NoArguments, MUTATIONS | ACTIONS, self._generate_upload_url),
            Entry("storage.delete", IdArguments, MUTATIONS | ACTIONS, self._delete),
            Entry("storage.store", StoreArguments, ACTIONS, self._store),
            Entry("storage.write", WriteArguments, ACTIONS, self._write),
            Entry("storage.get", IdArguments, ACTIONS, self._get),
            Entry("storage.read", NumberArguments, ACTIONS, self._read),
            Entry("storage.close", NumberArguments, ACTIONS, self._close),
        )

    # --- metadata -----------------------------------------------------------------------------------------------------

    async def _get_url(self, caller: Caller, arguments: IdArguments) -> bytes:
        file = await self._find(caller, arguments.id)
        return _NONE if file is None else _encode(file_url(self._cloud_url(caller.deployment.name), file))

    async def _get_metadata(self, caller: Caller, arguments: IdArguments) -> bytes:
        file = await self._find(caller, arguments.id)
        if file is None:
            return _NONE
        known = {"storageId": file.id, "sha256": file.sha256.hex(), "size": float(file.size)}
        return _encode({**known, "contentType": file.content_type})

    async def _generate_upload_url(self, caller: Caller, arguments: NoArguments) -> bytes:
        now = self._clock.now() if caller.transaction is None else caller.transaction.now
        name = caller.deployment.name
        return _encode(f"{self._cloud_url(name)}/api/storage/upload?token={self._tokens.seal(name, now)}")

    async def _delete(self, caller: Caller, arguments: IdArguments) -> bytes:
        async def write(transaction: Transaction) -> None:
            await delete_file(transaction, arguments.id)

        if caller.transaction is not None:
            await write(caller.transaction)
        else:
            await in_one(self._transactions, caller.deployment.name, write)
        return _NONE

    async def _find(self, caller: Caller, text: str) -> StoredFile | None:
        id = storage_id(text)
        if caller.transaction is not None:
            return await find_file(caller.transaction, id)
        return await self._shelf.find(caller.deployment.name, id)

    # --- contents -----------------------------------------------------------------------------------------------------

    async def _store(self, caller: Caller, arguments: StoreArguments) -> bytes:
        content_type, expected = checked_type(arguments.content_type), read_digest(arguments.sha256)
        opened, name = _opened(caller), caller.deployment.name
        leave = self._enter(name)
        try:
            coming = Coming(self._shelf, await self._shelf.begin(name), content_type, leave)
        except BaseException:
            leave()
            raise
        coming.expected = expected
        number = opened.add(coming)
        return _encode((number, await _append(name, opened, number, arguments.data, arguments.last)))

    async def _write(self, caller: Caller, arguments: WriteArguments) -> bytes:
        name, opened = caller.deployment.name, _opened(caller)
        return _encode(await _append(name, opened, arguments.number, arguments.data, arguments.last))

    async def _get(self, caller: Caller, arguments: IdArguments) -> bytes:
        opened, name = _opened(caller), caller.deployment.name
        file = await self._shelf.find(name, storage_id(arguments.id))
        if file is None:
            return _NONE
        leave = self._enter(name)
        try:
            content = await self._shelf.open(name, file)
        except BaseException:
            leave()
            raise
        if content is None:
            leave()
            return _NONE
        number = opened.add(Going(content, leave))
        return _encode((number, file.content_type, file.size, *await _next(opened, number)))

    async def _read(self, caller: Caller, arguments: NumberArguments) -> bytes:
        return _encode(await _next(_opened(caller), arguments.number))

    async def _close(self, caller: Caller, arguments: NumberArguments) -> bytes:
        # It may have ended by itself just now: whoever gives something up need not know.
        _opened(caller).end(arguments.number)
        return _NONE

    def _enter(self, name: DeploymentName) -> Callable[[], None]:
        try:
            return self._room.for_call(name)
        except NoRoom as full:
            raise SyscallRefused(f"{full}: end or close some before opening more", "LimitExceeded") from None


async def _append(name: DeploymentName, opened: Opened, number: int, data: bytes, last: bool) -> str | None:
    """Write a piece; the file's id when it was the last one."""
    coming, ended = _find(opened, number, Coming), True
    try:
        if len(data) > limits.BODY_WINDOW:
            raise SyscallRefused(
                f"{len(data)} bytes of a file at once, limit BODY_WINDOW is {int(limits.BODY_WINDOW)} bytes",
                "LimitExceeded",
            )
        await coming.write(data)
        ended = last
        return await coming.keep(name) if last else None
    finally:
        if ended:
            opened.end(number)


async def _next(opened: Opened, number: int) -> tuple[bytes, bool]:
    """Read a piece, and whether it was the last one."""
    going, last = _find(opened, number, Going), True
    try:
        data, last = await going.read()
        return data, last
    finally:
        if last:
            opened.end(number)


async def delete_file(transaction: Transaction, text: str) -> None:
    """Let a file be gone; raise `SyscallRefused` when nothing has this id."""
    id = storage_id(text)
    file = await find_file(transaction, id)
    if file is None:
        raise SyscallRefused(f"there is no stored file {id.text}: it never was, or was deleted")
    write_removal(transaction, file)


def file_url(cloud_url: str, file: StoredFile) -> str:
    """Where a file is served, to whoever has this URL, until it is deleted."""
    return f"{cloud_url}/api/storage/{file.number}"


def checked_type(content_type: str | None) -> str | None:
    """A content type as it may stand in a header; raise `SyscallRefused` when it may not."""
    if not content_type:
        return None
    if len(content_type) > limits.FILE_TYPE:
        what = f"a content type of {len(content_type)} characters, limit FILE_TYPE is {int(limits.FILE_TYPE)}"
        raise SyscallRefused(what, "LimitExceeded")
    if not (content_type.isascii() and content_type.isprintable()):
        raise SyscallRefused("a content type is printable ASCII, such as 'image/png'")
    return content_type


def _opened(caller: Caller) -> Opened:
    assert caller.belongings is not None, "the table serves this to actions only"
    return caller.belongings.of(Opened)


def _find(opened: Opened, number: int, kind: type[Handle]) -> Handle:
    found = opened.files.get(number)
    if not isinstance(found, kind):
        what = "written" if kind is Coming else "read"
        raise SyscallRefused(f"no file {number} is {what} here: it has ended, or it is another call's", "TypeError")
    return found
