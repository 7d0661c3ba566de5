"""How far is a function with one file?

What it writes goes to the disk as fast as the disk takes it, and what it reads comes as fast as it is read: nothing
waits here but the piece that is under way.

Rules
1. Only one asks at a time of one file: pieces have an order.
2. However it ends, the file is closed; what was not kept leaves nothing.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.names import DeploymentName
from runtime.ports import Content, FilesUnavailable
from runtime.syscalls.storage.shelf import Begun, Shelf, unreachable

_SHA256 = 32


class Turn:
    """Whose turn it is with one file."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._taken = False
        self.closed = False

    @contextmanager
    def taken(self, what: str) -> Iterator[None]:
        """Let nobody else ask meanwhile."""
        if self._taken:
            raise SyscallRefused(f"storage.{what}: somebody waits for it already", "TypeError")
        self._taken = True
        try:
            yield
        except FilesUnavailable as error:
            raise unreachable(error) from None
        finally:
            self._taken = False

    def close(self) -> None:
        """There is nothing more to ask."""
        self.closed = True
        self._leave()


class Coming:
    """A file that a function writes."""

    def __init__(self, shelf: Shelf, begun: Begun, content_type: str | None, leave: Callable[[], None]) -> None:
        self._shelf = shelf
        self._begun = begun
        self._content_type = content_type
        self._turn = Turn(leave)
        self.expected: bytes | None = None

    async def write(self, data: bytes) -> None:
        """Append a piece, and wait until it is taken."""
        with self._turn.taken("write"):
            size = self._begun.writing.size + len(data)
            if size > limits.FILE_BYTES:
                raise SyscallRefused(
                    f"a file of {size} bytes or more, limit FILE_BYTES is {int(limits.FILE_BYTES)} bytes",
                    "LimitExceeded",
                )
            await self._begun.writing.write(data)

    async def keep(self, name: DeploymentName) -> str:
        """That was all: let it be a file, and say its id."""
        with self._turn.taken("write"):
            digest = self._begun.writing.digest()
            if self.expected is not None and self.expected != digest:
                raise SyscallRefused(
                    f"what was stored has the SHA-256 {base64.b64encode(digest).decode()}, and another was expected: "
                    "nothing was stored"
                )
            return await self._shelf.keep(name, self._begun, self._content_type)

    def close(self) -> None:
        """Let go of it; what was not kept is gone."""
        self._begun.writing.discard()
        self._turn.close()


class Going:
    """A file that a function reads."""

    def __init__(self, content: Content, leave: Callable[[], None]) -> None:
        self._content = content
        self._turn = Turn(leave)
        self._at = 0

    async def read(self) -> tuple[bytes, bool]:
        """The next piece, and whether that was the end."""
        with self._turn.taken("read"):
            data = await self._content.read(self._at, limits.BODY_CHUNK)
            self._at += len(data)
            return data, not data or self._at >= self._content.size

    def close(self) -> None:
        """Let go of it."""
        self._content.close()
        self._turn.close()


class Opened:
    """The files that one invocation writes or reads, by their numbers."""

    def __init__(self) -> None:
        self.files: dict[int, Coming | Going] = {}
        self._begun = 0
        self._over = False

    def add(self, file: Coming | Going) -> int:
        """Give it a number; when the invocation has ended meanwhile, nobody will ask for it."""
        if self._over:
            file.close()
        self._begun += 1
        self.files[self._begun] = file
        return self._begun

    def end(self, number: int) -> None:
        """Let go of one; it may have ended already."""
        file = self.files.pop(number, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """The invocation is over."""
        self._over = True
        for number in list(self.files):
            self.end(number)


def read_digest(text: str | None) -> bytes | None:
    """A SHA-256 as it is written in base64 or hexadecimal; raise `SyscallRefused` when it is none."""
    if text is None:
        return None
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * _SHA256 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != _SHA256:
        raise SyscallRefused(f"{text[:80]!r} is no SHA-256: 32 bytes in base64 or hexadecimal")
    return digest
