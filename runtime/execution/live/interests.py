"""Which ranges of keys does somebody depend on, and whom does a written key touch?

A treap of ranges in the order of their lower ends; each node knows the highest upper end below it, so a key finds the
ranges that hold it without looking at the others. Ranges of one key, which is what reading a document by its id leaves
behind, are in a dictionary. Pure: knows no query and no commit.

Rules
1. A range is there once, with all who depend on it.
2. A key that nobody depends on costs a logarithm of the number of ranges, and touches nobody.
"""

import random
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Generic, TypeVar

from runtime.index_keys import NEXT
from runtime.ports import KeyRange

Owner = TypeVar("Owner")


class _Node(Generic[Owner]):
    __slots__ = ("highest", "left", "owners", "priority", "right", "span")

    def __init__(self, span: KeyRange) -> None:
        self.span = span
        self.owners: set[Owner] = set()
        self.priority = random.random()
        self.left: _Node[Owner] | None = None
        self.right: _Node[Owner] | None = None
        self.highest = span.upper

    def look_below(self) -> "_Node[Owner]":
        """Learn the highest upper end again, after what is below has changed."""
        highest = self.span.upper
        for below in (self.left, self.right):
            if below is not None and below.highest > highest:
                highest = below.highest
        self.highest = highest
        return self


class Interests(Generic[Owner]):
    """Ranges of keys and who depends on each."""

    def __init__(self) -> None:
        self._points: dict[bytes, set[Owner]] = {}
        self._nodes: dict[KeyRange, _Node[Owner]] = {}
        self._root: _Node[Owner] | None = None

    def __len__(self) -> int:
        return len(self._points) + len(self._nodes)

    def add(self, spans: Iterable[KeyRange], owner: Owner) -> None:
        """Let ``owner`` depend on these ranges too."""
        for span in spans:
            if span.upper == span.lower + NEXT:
                self._points.setdefault(span.lower, set()).add(owner)
                continue
            node = self._nodes.get(span)
            if node is None:
                node = self._nodes[span] = _Node(span)
                self._root = _insert(self._root, node)
            node.owners.add(owner)

    def remove(self, spans: Iterable[KeyRange], owner: Owner) -> None:
        """Let ``owner`` depend on these ranges no more."""
        for span in spans:
            if span.upper == span.lower + NEXT:
                owners = self._points.get(span.lower, set())
                owners.discard(owner)
                if not owners:
                    self._points.pop(span.lower, None)
                continue
            node = self._nodes.get(span)
            if node is not None:
                node.owners.discard(owner)
                if not node.owners:
                    del self._nodes[span]
                    self._root = _remove(self._root, span)

    def touched(self, keys: Sequence[bytes]) -> set[Owner]:
        """Everybody who depends on one of these sorted keys."""
        found: set[Owner] = set()
        if len(keys) <= len(self._points):
            for key in keys:
                found.update(self._points.get(key, ()))
        elif self._points:
            for key in set(keys).intersection(self._points):
                found.update(self._points[key])
        if len(keys) <= len(self._nodes):
            for key in keys:
                _stab(self._root, key, found)
        else:
            # More keys than ranges, as after an import: look the other way round.
            for node in self._nodes.values():
                if holds_one(node.span, keys):
                    found.update(node.owners)
        return found


def holds_one(span: KeyRange, keys: Sequence[bytes]) -> bool:
    """Whether one of these sorted keys lies in the range."""
    at = bisect_left(keys, span.lower)
    return at < len(keys) and keys[at] < span.upper


def merged(spans: Collection[KeyRange]) -> tuple[KeyRange, ...]:
    """The same keys in as few ranges as possible: what was read page by page is one range again."""
    kept: list[KeyRange] = []
    for span in sorted(spans):
        if span.lower >= span.upper:
            continue
        if kept and span.lower <= kept[-1].upper:
            if span.upper > kept[-1].upper:
                kept[-1] = KeyRange(kept[-1].lower, span.upper)
        else:
            kept.append(span)
    return tuple(kept)


def _stab(root: _Node[Owner] | None, key: bytes, found: set[Owner]) -> None:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or node.highest <= key:
            continue
        waiting.append(node.left)
        if node.span.lower <= key:
            if key < node.span.upper:
                found |= node.owners
            waiting.append(node.right)


def _insert(node: _Node[Owner] | None, new: _Node[Owner]) -> _Node[Owner]:
    if node is None:
        return new
    if new.priority > node.priority:
        new.left, new.right = _split(node, new.span)
        return new.look_below()
    if new.span < node.span:
        node.left = _insert(node.left, new)
    else:
        node.right = _insert(node.right, new)
    return node.look_below()


def _split(node: _Node[Owner] | None, span: KeyRange) -> tuple[_Node[Owner] | None, _Node[Owner] | None]:
    if node is None:
        return None, None
    if node.span < span:
        node.right, after = _split(node.right, span)
        return node.look_below(), after
    before, node.left = _split(node.left, span)
    return before, node.look_below()


def _remove(node: _Node[Owner] | None, span: KeyRange) -> _Node[Owner] | None:
    if node is None:
        return None
    if node.span == span:
        return _merge(node.left, node.right)
    if span < node.span:
        node.left = _remove(node.left, span)
    else:
        node.right = _remove(node.right, span)
    return node.look_below()


def _merge(left: _Node[Owner] | None, right: _Node[Owner] | None) -> _Node[Owner] | None:
    if left is None or right is None:
        return left or right
    if left.priority > right.priority:
        left.right = _merge(left.right, right)
        return left.look_below()
    right.left = _merge(left, right.left)
    return right.look_below()
