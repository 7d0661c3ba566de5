"""What does a page of a snapshot look like with what was written above it?"""

from runtime.ports import KeyRange, Order, Page
from runtime.syscalls.reading.spans import read_part


def seen_of(span: KeyRange, page: Page, order: Order) -> KeyRange:
    """How much of a span its page has shown: what was written beyond its last key waits for the next one."""
    return span if page.complete else read_part(span, order, page.entries[-1][0])


def merge(page: Page, written: list[tuple[bytes, bytes | None]], order: Order) -> list[tuple[bytes, bytes]]:
    """The entries of a page, with what was written in the span that it has shown."""
    shown: dict[bytes, bytes | None] = dict(page.entries)
    shown.update(written)
    entries = [(key, document) for key, document in shown.items() if document is not None]
    entries.sort(reverse=order is Order.DESCENDING)
    return entries


def cut(page: Page, most: int, enough: int) -> Page:
    """At most so many entries of a page, fewer once they hold enough bytes."""
    size = 0
    for count, (_, document) in enumerate(page.entries, 1):
        size += len(document)
        if count == most or size >= enough:
            return Page(page.entries[:count], False)
    return page
