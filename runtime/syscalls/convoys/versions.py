"""What have the members of a convoy written, and what of it will become true?

A document that several of them write has a version of each, in the order of writing. A version is shown from when it is
written; it *counts* from when its author has joined the convoy. Knows no order of who may write.

Rules
1. An author has one version of a document: what it writes there later takes the place of what it wrote before.
2. What was taken back never counts, whoever has seen it.
3. Those that count stand before those that do not. What is committed is what the last that counts says, from what the
   first of them found.
4. No two documents ever have the same key: every key ends with a document's id, or is read before it is written.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from runtime.ports import KeyRange, Write

Author = TypeVar("Author")


class Version(Generic[Author]):
    """What one member did to one document. ``joined`` is how many had joined before its author did."""

    __slots__ = ("author", "joined", "write")

    def __init__(self, write: Write, author: Author) -> None:
        self.write = write
        self.author = author
        self.joined: int | None = None

    def touches(self, key: bytes) -> bool:
        """Whether the document had, or has got, this key."""
        return key in self.write.after or key in self.write.before


class Versions(Generic[Author]):
    """What was written in one convoy, by document and by key."""

    def __init__(self) -> None:
        # Documents by their first key; which document a key belongs to; all keys in order.
        self._documents: dict[bytes, list[Version[Author]]] = {}
        self._owners: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def __len__(self) -> int:
        """How many documents were written."""
        return len(self._documents)

    def show(self, first: bytes, write: Write, author: Author) -> None:
        """Let others see what happens to the document with this first key."""
        self.take_back(first, author)
        self._insert(len(self._documents.get(first, ())), first, Version(write, author))

    def count(self, first: bytes, write: Write, author: Author, joined: int) -> None:
        """Let this count, whether it was shown before or not."""
        version = self._own(first, author)
        if version is None or version.write is not write:
            version = Version(write, author)
        self.take_back(first, author)
        version.joined = joined
        before = sum(other.joined is not None for other in self._documents.get(first, ()))
        self._insert(before, first, version)

    def take_back(self, first: bytes, author: Author) -> None:
        """Show no more what this author wrote there; nothing where it has shown nothing."""
        version = self._own(first, author)
        if version is None:
            return
        versions = self._documents[first]
        versions.remove(version)
        for key in {*version.write.before, *version.write.after}:
            if not any(other.touches(key) for other in versions):
                del self._owners[key]
                del self._keys[bisect_left(self._keys, key)]
        if not versions:
            del self._documents[first]

    def within(
        self, span: KeyRange, visible: Callable[[Version[Author]], bool]
    ) -> tuple[list[tuple[bytes, bytes | None]], set[Version[Author]]]:
        """What of this span is shown to somebody to whom these versions are ``visible``: its keys with their documents
        (``None`` where there is none now), and the versions that say so."""
        entries: list[tuple[bytes, bytes | None]] = []
        shown: set[Version[Author]] = set()
        for key in self._within(span):
            versions = [version for version in self._documents[self._owners[key]] if visible(version)]
            if any(version.touches(key) for version in versions):
                last = versions[-1].write
                entries.append((key, last.document if key in last.after else None))
                shown.update(versions)
        return entries, shown

    def counting(self, span: KeyRange) -> Iterator[Version[Author]]:
        """Every version that counts and touches this span; one that touches it twice is named twice."""
        for key in self._within(span):
            for version in self._documents[self._owners[key]]:
                if version.joined is not None and version.touches(key):
                    yield version

    def changes(self, span: KeyRange) -> tuple[int, int]:
        """How many keys of this span were added by what counts, and how many removed."""
        added = removed = 0
        if self._within(span):
            for write in self.writes():
                added += sum(span.lower <= key < span.upper for key in write.after)
                removed += sum(span.lower <= key < span.upper for key in write.before)
        return added, removed

    def writes(self) -> list[Write]:
        """What is to be committed: one write for each document that will differ."""
        writes = []
        for versions in self._documents.values():
            counting = [version.write for version in versions if version.joined is not None]
            if counting:
                write = counting[-1]._replace(before=counting[0].before)
                if write.before or write.after:
                    writes.append(write)
        return writes

    def _within(self, span: KeyRange) -> list[bytes]:
        return self._keys[bisect_left(self._keys, span.lower) : bisect_left(self._keys, span.upper)]

    def _own(self, first: bytes, author: Author) -> Version[Author] | None:
        return next((version for version in self._documents.get(first, ()) if version.author is author), None)

    def _insert(self, place: int, first: bytes, version: Version[Author]) -> None:
        self._documents.setdefault(first, []).insert(place, version)
        for key in {*version.write.before, *version.write.after}:
            if key not in self._owners:
                self._owners[key] = first
                insort(self._keys, key)
