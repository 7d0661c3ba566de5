"""What is in the tables? ``data list``, ``show``, ``insert``, ``patch``, ``delete``.

Rules
1. A document is one JSON object, written as the server writes it: an ``Int64`` is ``{"$integer": …}``.
"""

import json
import sys
from typing import Any

import click

from control_plane.cli.client import Session, connected
from control_plane.cli.screen import moment

_CELL = 60


@click.group()
def data() -> None:
    """Read and change the deployment's documents."""


@data.command("list")
@connected
def list_tables(session: Session) -> None:
    """List the tables, with how many documents they have and their indexes."""
    tables = session.call("GET", session.of_deployment("data", "tables"))["tables"]
    if session.screen.json:
        session.screen.document(tables)
        return
    session.screen.table(
        ("table", "documents", "indexes", "schema"),
        [
            (
                each["name"],
                f"{each['documents']}{'+' if each['more'] else ''}",
                ", ".join("+".join(fields) for fields in each["indexes"]),
                "" if each["schema"] is None else "enforced",
            )
            for each in tables
        ],
        f"{session.deployment} has no tables yet. A table is there with its first document.",
    )


@data.command("show")
@click.argument("table")
@click.argument("id", required=False)
@click.option(
    *("--where", "--filter", "-w"),
    multiple=True,
    help="A condition: author=Ann, score>=3, done!=true. All of them hold.",
)
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option(
    "--order", type=click.Choice(["asc", "desc"]), default="desc", show_default=True, help="By creation time."
)
@click.option("--all", "everything", is_flag=True, help="No limit.")
@connected
def show(
    session: Session, table: str, id: str | None, where: tuple[str, ...], limit: int, order: str, everything: bool
) -> None:
    """Show documents of TABLE, the newest first, or the one with ID."""
    if id is not None:
        session.screen.document(session.call("GET", session.of_deployment("data", table, id)))
        return
    path, most = session.of_deployment("data", table), None if everything else limit
    shown, more = session.pages(path, "documents", most, order=order, where=list(where))
    if session.screen.json:
        session.screen.document(shown)
        return
    fields = list(dict.fromkeys(name for each in shown for name in each if name[0] != "_"))
    session.screen.table(
        ("_id", *fields, "created"),
        [(each["_id"], *(_cell(each, name) for name in fields), moment(each["_creationTime"])) for each in shown],
        f"No document of {table} fits." if where else f"{table} has no documents.",
    )
    if more:
        session.screen.say("There are more: --limit N or --all shows them.", "dim")


@data.command("insert")
@click.argument("table")
@click.argument("document")
@connected
def insert(session: Session, table: str, document: str) -> None:
    """Add DOCUMENT (a JSON object, or - for standard input) to TABLE."""
    answer = session.call("POST", session.of_deployment("data", table), json=_object(document))
    if session.screen.json:
        session.screen.document(answer)
    else:
        session.screen.say(answer["id"])


@data.command("patch")
@click.argument("table")
@click.argument("id")
@click.argument("fields", default="{}")
@click.option("--unset", "-u", multiple=True, help="A field to remove.")
@connected
def patch(session: Session, table: str, id: str, fields: str, unset: tuple[str, ...]) -> None:
    """Set FIELDS (a JSON object, or -) of the document with ID."""
    path = session.of_deployment("data", table, id)
    session.screen.document(session.call("PATCH", path, json=_object(fields), params={"unset": list(unset)}))


@data.command("delete")
@click.argument("table")
@click.argument("ids", nargs=-1, required=True)
@connected
def delete(session: Session, table: str, ids: tuple[str, ...]) -> None:
    """Remove the documents with these IDS."""
    for id in ids:
        session.call("DELETE", session.of_deployment("data", table, id))
        session.screen.say(f"{id} is removed.", "green")
    if session.screen.json:
        session.screen.document({"removed": list(ids)})


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise click.BadParameter(f'not JSON: {error}. Write it as \'{{"name": "value"}}\'.') from None
    if not isinstance(found, dict):
        raise click.BadParameter('a document is a JSON object, as \'{"name": "value"}\'.')
    return found


def _cell(document: dict[str, Any], name: str) -> str:
    if name not in document:
        return ""
    value = document[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
