"""Which files are stored? ``files list``."""

from typing import Any

import click

from control_plane.cli.client import Session, connected
from control_plane.cli.screen import moment, size

_PAGE = 200


@click.group()
def files() -> None:
    """See the files that are stored."""


@files.command("list")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@connected
def list_files(session: Session, limit: int) -> None:
    """List stored files, the newest first."""
    shown: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(shown) < limit:
        asked = {"limit": min(_PAGE, limit - len(shown)), "cursor": cursor}
        parameters = {name: value for name, value in asked.items() if value is not None}
        page = session.call("GET", session.of_deployment("files"), params=parameters)
        shown += page["files"]
        cursor = page["cursor"]
        if cursor is None:
            break
    if session.screen.json:
        session.screen.document(shown)
        return
    session.screen.table(
        ("id", "size", "type", "stored", "url"),
        [
            (each["id"], size(each["size"]), each["content_type"] or "", moment(each["created_at"]), each["url"])
            for each in shown
        ],
        f"{session.deployment} has no files.",
    )
    if cursor is not None:
        session.screen.say("There are more: --limit N shows them.", "dim")
