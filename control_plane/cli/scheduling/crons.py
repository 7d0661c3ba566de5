"""What runs again and again? ``crons list``, ``run``.

Rules
1. Times are shown in the reader's time zone, a cron's line in its own.
"""

from typing import Any
from urllib.parse import quote

import click

from control_plane.cli.client import Session, connected
from control_plane.cli.screen import moment

_UNITS = ((3_600, "h"), (60, "min"))


@click.group()
def crons() -> None:
    """See the crons of crons.py, and run one out of turn."""


@crons.command("list")
@connected
def list_crons(session: Session) -> None:
    """List the crons: when they run, and how the last runs ended."""
    found = session.call("GET", session.of_deployment("crons"))["crons"]
    if session.screen.json:
        session.screen.document(found)
        return
    session.screen.table(
        ("name", "schedule", "function", "next run", "last run", "last five"),
        [
            (each["name"], _schedule(each["schedule"]), each["function"], moment(each["next_run_at"]), *_runs(each))
            for each in found
        ],
        f"{session.deployment} has no crons. They are written in crons.py.",
    )


@crons.command("run")
@click.argument("name")
@connected
def run_cron(session: Session, name: str) -> None:
    """Run the cron NAME now."""
    path = f"{session.of_deployment('crons')}/{quote(name, safe='')}/run"
    begun = session.call("POST", path)
    if session.screen.json:
        session.screen.document(begun)
        return
    session.screen.say(f"{name} runs. `warren logs --request-id {begun['request_id']}` shows what it says.", "green")


def _schedule(schedule: dict[str, Any]) -> str:
    if schedule["seconds"] is None:
        return f"{schedule['line']} ({schedule['timezone']})"
    for size, unit in _UNITS:
        if schedule["seconds"] % size == 0:
            return f"every {schedule['seconds'] // size} {unit}"
    return f"every {schedule['seconds']} s"


def _runs(cron: dict[str, Any]) -> tuple[str, str]:
    """The last run in words, and the last few as signs: the newest first."""
    runs, running = cron["last_runs"], cron["running"]
    signs = ("…" if running else "") + "".join("✓" if run["state"] == "success" else "✗" for run in runs)
    if running:
        return ("runs now" if running["started_at"] else "waits for its turn"), signs
    if not runs:
        return "", signs
    newest = runs[0]
    text = f"{moment(newest['started_at'])}, {newest['duration']:.0f} ms"
    if newest["error"]:
        text += f", {' '.join(newest['error'].split())[:60]}"
    return text, signs
