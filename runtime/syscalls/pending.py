"""What has this transaction read and written so far?

Writes wait here until the commit, in the order of their keys, so that the transaction sees them among what its snapshot
shows. Reads are kept as ranges of keys: the commit compares them with what others wrote, and a subscription will.

Rules
1. Counters only grow. What a savepoint takes back was read and written all the same.
2. What was read stays read after a rollback: the program decided by it.
3. A limit that is passed says its name, its value, what was observed, and what to do.
"""

from bisect import bisect_left, insort

from runtime import limits
from runtime.errors import SyscallRefused
from runtime.ports import KeyRange, Write


class Reads:
    """The ranges that a transaction has read, and how much that was."""

    __slots__ = ("_bytes", "_count", "_documents", "ranges")

    def __init__(self) -> None:
        self.ranges: set[KeyRange] = set()
        self._bytes = 0
        self._documents = 0
        self._count = 0

    @property
    def bytes_left(self) -> int:
        """How many bytes may still be read."""
        return limits.READ_BYTES - self._bytes

    def add(self, span: KeyRange, documents: int, size: int) -> None:
        """Remember a range and what it held; raise `SyscallRefused` past a limit."""
        self.ranges.add(span)
        self._count += 1
        self._documents += documents
        # The bounds are kept, and a guest chose them: they count.
        self._bytes += size + len(span.lower) + len(span.upper)
        if self._count > limits.READ_RANGES:
            raise _past("READ_RANGES", limits.READ_RANGES, self._count, "read several documents with one query")
        if self._documents > limits.READ_DOCUMENTS:
            raise _past("READ_DOCUMENTS", limits.READ_DOCUMENTS, self._documents, "read a smaller range of an index")
        if self._bytes > limits.READ_BYTES:
            raise _past("READ_BYTES", limits.READ_BYTES, self._bytes, "read a smaller range of an index")


class Pending:
    """The writes of a transaction, by document and by key."""

    __slots__ = ("_bytes", "_count", "_keys", "_shown", "_undo", "_writes")

    def __init__(self) -> None:
        self._writes: dict[bytes, Write] = {}
        self._shown: dict[bytes, bytes | None] = {}
        self._keys: list[bytes] = []
        self._undo: list[tuple[bytes, Write | None]] = []
        self._bytes = 0
        self._count = 0

    def find(self, key: bytes) -> Write | None:
        """What this transaction did to the document with this first key."""
        return self._writes.get(key)

    def put(self, key: bytes, write: Write) -> None:
        """Let this be what happens to the document; raise `SyscallRefused` past a limit."""
        self.charge(len(write.document or b""))
        self.place(key, write)

    def charge(self, size: int) -> None:
        """Count a write of so many bytes; raise `SyscallRefused` past a limit."""
        self._count += 1
        self._bytes += size
        if self._count > limits.WRITE_DOCUMENTS:
            raise _past("WRITE_DOCUMENTS", limits.WRITE_DOCUMENTS, self._count, "write in several mutations")
        if self._bytes > limits.WRITE_BYTES:
            raise _past("WRITE_BYTES", limits.WRITE_BYTES, self._bytes, "write in several mutations")

    def place(self, key: bytes, write: Write) -> None:
        """The same as `put` for what the system writes on its own behalf: no limit of the tenant's is touched."""
        previous = self._writes.get(key)
        self._undo.append((key, previous))
        self._writes[key] = write
        if previous is not None:
            self._hide(previous)
        self._show(write)

    def savepoint(self) -> int:
        """A token for what was written until now."""
        return len(self._undo)

    def rollback(self, token: int) -> None:
        """Take back what was written since the token was given."""
        while len(self._undo) > token:
            key, previous = self._undo.pop()
            self._hide(self._writes.pop(key))
            if previous is not None:
                self._writes[key] = previous
                self._show(previous)

    def within(self, span: KeyRange) -> list[tuple[bytes, bytes | None]]:
        """The keys of this range that were written, in order, and their documents; ``None`` where there is none now."""
        keys = self._keys[bisect_left(self._keys, span.lower) : bisect_left(self._keys, span.upper)]
        return [(key, self._shown[key]) for key in keys]

    def writes(self) -> list[Write]:
        """What is to be committed: one write for each document that differs from the snapshot's."""
        return [write for write in self._writes.values() if write.before or write.after]

    def _show(self, write: Write) -> None:
        for key in write.before:
            self._set(key, None)
        for key in write.after:
            self._set(key, write.document)

    def _set(self, key: bytes, document: bytes | None) -> None:
        if key not in self._shown:
            if not self._keys or key > self._keys[-1]:
                self._keys.append(key)
            else:
                insort(self._keys, key)
        self._shown[key] = document

    def _hide(self, write: Write) -> None:
        for key in {*write.before, *write.after}:
            del self._shown[key]
            del self._keys[bisect_left(self._keys, key)]


def _past(name: str, limit: int, observed: int, advice: str) -> SyscallRefused:
    unit = getattr(limits, name).unit
    verb = "reads" if name.startswith("READ") else "writes"
    return SyscallRefused(
        f"this transaction {verb} {observed} {unit}, limit {name} is {limit}: {advice}", "LimitExceeded"
    )
