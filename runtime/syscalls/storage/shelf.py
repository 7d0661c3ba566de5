"""How do a content and its metadata stay together?

The content is kept first, then the metadata are committed; they are removed the other way round. So whatever has
metadata has a content, and what goes wrong in between leaves at most a content that nobody can find, for the sweep.

Rules
1. What a mutation removes goes with its commit, and its content after that. A mutation that fails has removed nothing.
2. A commit that may or may not have been made is believed to have been: only the sweep looks again.
3. The sweep leaves alone what is younger than `FILE_ORPHAN_AGE`: somebody may be about to commit.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from runtime import limits
from runtime.document_ids import DocumentId
from runtime.errors import Overloaded
from runtime.index_keys import LAST
from runtime.names import DeploymentName
from runtime.ports import Content, Files, FilesUnavailable, KeyRange, Order, Write, Writing
from runtime.syscalls.scheduling.entries import in_one
from runtime.syscalls.storage.records import (
    BY_CREATION,
    STORAGE,
    StoredFile,
    decode_document,
    find_file,
    find_number,
    gone,
    storage_id,
    write_file,
)
from runtime.syscalls.transaction import Transaction, Transactions

log = logging.getLogger("warren.files")


class Unreachable(Overloaded):
    """Files cannot be written or read now."""

    code = "StorageUnavailable"


class Begun(NamedTuple):
    """A content that is being written, and its number."""

    number: UUID
    writing: Writing


class Shelf:
    """The files of every deployment."""

    def __init__(self, files: Files, transactions: Transactions) -> None:
        self._files = files
        self._transactions = transactions
        self._removing: set[asyncio.Task[None]] = set()
        transactions.listeners.append(self._hear)

    async def begin(self, name: DeploymentName) -> Begun:
        """Begin to write a file; raises `Unreachable`."""
        number = uuid4()
        try:
            return Begun(number, await self._files.write(name, number))
        except FilesUnavailable as error:
            raise unreachable(error) from None

    async def keep(self, name: DeploymentName, begun: Begun, content_type: str | None) -> str:
        """Let what was written be a file, and say its id; raises `Unreachable` and what a commit raises."""
        writing = begun.writing
        digest = writing.digest()
        try:
            await writing.keep()
        except FilesUnavailable as error:
            raise unreachable(error) from None

        async def write(transaction: Transaction) -> str:
            id, created = transaction.new_document(STORAGE)
            write_file(transaction, StoredFile(id.text, begun.number, created, digest, writing.size, content_type))
            return id.text

        return await in_one(self._transactions, name, write)

    async def find(self, name: DeploymentName, which: DocumentId | UUID) -> StoredFile | None:
        """What is known of a file, by its id or by the number of its content."""
        transaction = await self._transactions.begin(name)
        try:
            if isinstance(which, UUID):
                return await find_number(transaction, which)
            return await find_file(transaction, which)
        finally:
            transaction.abandon()

    async def open(self, name: DeploymentName, file: StoredFile) -> Content | None:
        """The content of a file; ``None`` when it was removed a moment ago. Raises `Unreachable`."""
        try:
            return await self._files.open(name, file.number)
        except FilesUnavailable as error:
            raise unreachable(error) from None

    async def page(
        self, name: DeploymentName, most: int, before: bytes | None
    ) -> tuple[list[StoredFile], bytes | None]:
        """The files of a deployment, the latest first, and where to go on; ``None`` after the last."""
        end = BY_CREATION + LAST
        span = KeyRange(BY_CREATION, end if before is None else max(min(before, end), BY_CREATION))
        transaction = await self._transactions.begin(name)
        try:
            documents = await transaction.records(span, most, Order.DESCENDING)
            ids = [decode_document(document).id for document in documents]
            found = [await find_file(transaction, storage_id(id)) for id in ids]
        finally:
            transaction.abandon()
        files = [file for file in found if file is not None]
        return files, files[-1].document_keys[1] if len(files) == most else None

    # --- what goes ----------------------------------------------------------------------------------------------------

    async def forget(self, name: DeploymentName) -> None:
        """Remove every content of a deployment that is being deleted; raises `Unreachable`."""
        try:
            await self._files.forget(name)
        except FilesUnavailable as error:
            raise unreachable(error) from None

    async def names(self) -> list[DeploymentName]:
        """Who has any content."""
        return await self._files.names()

    async def sweep(self, name: DeploymentName, exists: bool) -> int:
        """Remove the contents that have no metadata, and say how many; all where the deployment does not exist."""
        removed = 0
        for number in await self._files.older(name, limits.FILE_ORPHAN_AGE / 1000):
            if not exists or await self.find(name, number) is None:
                await self._files.remove(name, number)
                removed += 1
        return removed

    async def settle(self) -> None:
        """Wait until everything that goes is gone."""
        while self._removing:
            await asyncio.gather(*self._removing)

    def _hear(self, name: DeploymentName, writes: Sequence[Write]) -> None:
        numbers = gone(writes)
        if numbers:
            task = asyncio.get_running_loop().create_task(self._remove(name, numbers))
            self._removing.add(task)
            task.add_done_callback(self._removing.discard)

    async def _remove(self, name: DeploymentName, numbers: list[UUID]) -> None:
        for number in numbers:
            try:
                await self._files.remove(name, number)
            except FilesUnavailable as error:
                log.warning("the content of a removed file of %s stays until the next sweep: %s", name, error)


def unreachable(error: FilesUnavailable) -> Unreachable:
    """What to raise when contents cannot be written or read; why is for the log."""
    log.warning("files cannot be written or read: %s", error)
    return Unreachable(f"files cannot be written or read now: {error}", retry_after=5)
