"""Which files are stored? ``files list``."""

import click

from control_plane.cli.client import Session, connected
from control_plane.cli.screen import moment, size


@click.group()
def files() -> None:
    """See the files that are stored."""


@files.command("list")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@connected
def list_files(session: Session, limit: int) -> None:
    """List stored files, the newest first."""
    shown, more = session.pages(session.of_deployment("files"), "files", limit)
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
    if more:
        session.screen.say("There are more: --limit N shows them.", "dim")
