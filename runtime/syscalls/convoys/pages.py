"""What does a page of a snapshot look like with what others have written since?"""

from runtime.ports import Order, Page


def merge(page: Page, written: list[tuple[bytes, bytes | None]], order: Order) -> list[tuple[bytes, bytes]]:
    """The entries of a page, with what was written where it ends or before."""
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
