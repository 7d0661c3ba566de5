"""Writes the pages of `docs/` that say what the code says: limits and settings.

Run by ``make docs``; a house test fails while a page and the code differ. Knows the two modules and Markdown.

Rules
1. A page is made from the code alone: the same code makes the same bytes.
2. The order and the headings are those of the module, so that a reader finds the one from the other.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from runtime import limits, settings  # noqa: E402  # run as a script, the project is found by the line above
from runtime.limits import KIB, MIB, Limit  # noqa: E402  # the same

_HEADING = re.compile(r"# --- (.+?) -+$")
_NAME = re.compile(r"([A-Z][A-Z0-9_]+) = Limit\(")
_MADE = "<!-- Made by `make docs`. Change the code, not this page. -->"


def limits_page() -> str:
    """Every limit, with its value, unit and reason."""
    return "\n".join(
        [
            "# Limits",
            "",
            _MADE,
            "",
            "Every number that Warren enforces on a guest or a caller, from `runtime/limits.py`. Who is refused",
            "because of one is told its name, its value and what was observed. What an operator may choose is in",
            "[settings](settings.md).",
            *_limit_rows(),
            "",
        ]
    )


def _limit_rows() -> Iterator[str]:
    for line in Path(limits.__file__).read_text("utf-8").splitlines():
        if heading := _HEADING.match(line):
            yield from ("", f"## {heading[1]}", "", "| limit | value | why |", "|---|---|---|")
        elif name := _NAME.match(line):
            limit = getattr(limits, name[1])
            yield f"| `{name[1]}` | {shown(limit)} | {_cell(limit.why)} |"


def shown(limit: Limit) -> str:
    """A limit as a person reads it: its number in the largest unit that divides it."""
    if limit.unit == "bytes":
        for unit, size in (("MiB", MIB), ("KiB", KIB)):
            if limit >= size and limit % size == 0:
                return f"{limit // size:,} {unit}"
    if limit.unit == "ms" and limit >= 1000 and limit % 1000 == 0:
        seconds = limit // 1000
        return f"{seconds // 60:,} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:,} s"
    return f"{int(limit):,} {limit.unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES: dict[str, Callable[[], str]] = {"limits.md": limits_page, "settings.md": settings.document}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
