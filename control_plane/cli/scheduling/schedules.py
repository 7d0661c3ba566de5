"""What is scheduled? ``schedules list``, ``show``, ``cancel``, ``retry``.

Rules
1. Cancelling everything of a function asks first, unless ``--yes`` was said.
"""

import json
from typing import Any

import click

from control_plane.cli.client import Refused, Session, connected
from control_plane.cli.screen import moment

_CELL = 60
_STATES = ("pending", "inProgress", "success", "failed", "canceled")


@click.group()
def schedules() -> None:
    """See, cancel and retry what the scheduler is to run."""


@schedules.command("list")
@click.option("--state", "-s", multiple=True, type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--function", "-f", help="Only those of this function (dir/module:name).")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@connected
def list_schedules(session: Session, state: tuple[str, ...], function: str | None, limit: int) -> None:
    """List scheduled functions: with --state pending the next first, else the newest first."""
    path = session.of_deployment("schedules")
    shown, more = session.pages(path, "schedules", limit, state=list(state), function=function)
    if session.screen.json:
        session.screen.document(shown)
        return
    session.screen.table(
        ("id", "function", "state", "due", "ended", "arguments"),
        [_row(each) for each in shown],
        "Nothing like that is scheduled." if state or function else f"{session.deployment} has nothing scheduled.",
    )
    if more:
        session.screen.say("There are more: --limit N shows them.", "dim")


@schedules.command("show")
@click.argument("id")
@connected
def show_schedule(session: Session, id: str) -> None:
    """Show everything about the scheduled function with this ID."""
    session.screen.document(session.call("GET", session.of_deployment("schedules", id)))


@schedules.command("cancel")
@click.argument("ids", nargs=-1)
@click.option("--function", "-f", help="Everything of this function (dir/module:name).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def cancel(session: Session, ids: tuple[str, ...], function: str | None, yes: bool) -> None:
    """Let the scheduled functions with these IDS never run."""
    if bool(ids) is (function is not None):
        raise click.UsageError("Say which: some IDS, or --function PATH for everything of one function.")
    if function is not None:
        if not yes:
            click.confirm(f"Cancel everything that is scheduled of {function}?", abort=True, err=True)
        answer = session.call("DELETE", session.of_deployment("schedules"), params={"function": function})
        canceled = answer["canceled"]
    else:
        canceled = sum(session.call("DELETE", session.of_deployment("schedules", id))["canceled"] for id in ids)
    if session.screen.json:
        session.screen.document({"canceled": canceled})
    elif canceled or function is not None:
        session.screen.say(f"{canceled} cancelled.", "green")
    else:
        raise Refused("Nothing to cancel: it has ended already. `warren schedules show ID` says how.")


@schedules.command("retry")
@click.argument("ids", nargs=-1, required=True)
@connected
def retry(session: Session, ids: tuple[str, ...]) -> None:
    """Run the failed functions with these IDS once more, now."""
    again = [session.call("POST", session.of_deployment("schedules", id, "rerun")) for id in ids]
    if session.screen.json:
        session.screen.document(again)
    for each in again:
        session.screen.say(f"{each['id']} runs again: {each['function']}", "green")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    state = each["state"]
    if each["max_attempts"]:
        state += f" ({each['attempts']} of {each['max_attempts']} attempts)"
    if each["error"]:
        state += f": {_short(each['error'])}"
    ended = moment(each["completed_at"]) if each["completed_at"] is not None else ""
    arguments = _short(json.dumps(each["args"], ensure_ascii=False))
    return each["id"], each["function"], state, moment(each["scheduled_at"]), ended, arguments


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CELL else line[: _CELL - 1] + "…"
