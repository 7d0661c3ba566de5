"""What does an operator do from the terminal? ``deployments``, ``keys``.

Knows nothing of how keys are kept.

Rules
1. A secret is printed once, where it was asked for, and written nowhere.
2. What cannot be undone asks first, unless ``--yes`` was said.
"""

from typing import Any

import click

from control_plane.cli.client import Session, connected
from control_plane.cli.screen import moment


@click.group()
def deployments() -> None:
    """Make, list, change and delete deployments (the operator's key)."""


@deployments.command("create")
@click.argument("name", required=False)
@connected
def create_deployment(session: Session, name: str | None) -> None:
    """Make a deployment; without NAME it gets one."""
    made = session.call("POST", "/v1/deployments", json={"name": name} if name else {})
    if session.screen.json:
        session.screen.document(made)
        return
    session.screen.say(f"{made['name']} is there.", "green")
    session.screen.say(f"HTTP actions:  {made['site_url']}")
    session.screen.say(f"functions:     {made['cloud_url']}")
    session.screen.say(f"deploy key:    {made['deploy_key']}")
    session.screen.say("The key is not shown again. Give it to the one who deploys, as WARREN_DEPLOY_KEY.", "dim")


@deployments.command("list")
@connected
def list_deployments(session: Session) -> None:
    """List every deployment."""
    found = session.call("GET", "/v1/deployments")["deployments"]
    if session.screen.json:
        session.screen.document(found)
        return
    session.screen.table(
        ("name", "made", "version", "state", "HTTP actions"),
        [(d["name"], moment(d["created_at"]), d["version"] or "—", _state(d), d["site_url"]) for d in found],
        "No deployments yet. `warren deployments create` makes one.",
    )


@deployments.command("show")
@click.argument("name")
@connected
def show_deployment(session: Session, name: str) -> None:
    """Show everything about NAME."""
    session.screen.document(session.call("GET", f"/v1/deployments/{name}"))


@deployments.command("pause")
@click.argument("name")
@connected
def pause_deployment(session: Session, name: str) -> None:
    """Stop answering for NAME; nothing of it is lost."""
    _change(session, name, {"paused": True}, f"{name} is paused. `warren deployments resume {name}` goes on.")


@deployments.command("resume")
@click.argument("name")
@connected
def resume_deployment(session: Session, name: str) -> None:
    """Answer for NAME again."""
    _change(session, name, {"paused": False}, f"{name} answers again.")


@deployments.command("egress")
@click.argument("name")
@click.option("--open", "choice", flag_value="open", help="Everywhere that the server itself may connect.")
@click.option("--closed", "choice", flag_value="closed", help="Nowhere.")
@click.option("--allow", "allow", multiple=True, metavar="HOST", help="This host, *.host or address; may be repeated.")
@connected
def choose_egress(session: Session, name: str, choice: str | None, allow: tuple[str, ...]) -> None:
    """Show or choose where the functions of NAME may connect to. --allow replaces the list that there is."""
    hosts = [host for text in allow for host in text.split(",") if host]
    if choice is not None and hosts:
        raise click.UsageError("--open, --closed and --allow exclude each other")
    if choice is None and not hosts:
        found = session.call("GET", f"/v1/deployments/{name}")["egress"]
        if session.screen.json:
            session.screen.document(found)
        session.screen.say(_egress(name, found))
        return
    chosen = None if choice == "open" else {"allow": hosts}
    answer = session.call("PATCH", f"/v1/deployments/{name}", json={"egress": chosen})
    if session.screen.json:
        session.screen.document(answer)
    session.screen.say(_egress(name, answer["egress"]), "green")


@deployments.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete_deployment(session: Session, name: str, yes: bool) -> None:
    """Delete NAME with its data, versions, variables and keys."""
    if not yes:
        click.confirm(f"Delete {name} and everything in it? This cannot be undone", abort=True, err=True)
    session.call("DELETE", f"/v1/deployments/{name}")
    if session.screen.json:
        session.screen.document({"name": name, "deleted": True})
    session.screen.say(f"{name} is deleted.", "green")


@click.group()
def keys() -> None:
    """Make, list and remove the deploy keys of a deployment."""


@keys.command("list")
@connected
def list_keys(session: Session) -> None:
    """List the keys; their secrets are not kept."""
    found = session.call("GET", session.of_deployment("keys"))["keys"]
    if session.screen.json:
        session.screen.document(found)
        return
    rows = [(each["id"], each["name"], moment(each["created_at"])) for each in found]
    session.screen.table(("id", "name", "made"), rows, f"{session.deployment} has no keys.")


@keys.command("create")
@click.argument("name", required=False)
@connected
def create_key(session: Session, name: str | None) -> None:
    """Make a key; NAME says whose or what for."""
    made = session.call("POST", session.of_deployment("keys"), json={"name": name} if name else {})
    if session.screen.json:
        session.screen.document(made)
        return
    session.screen.say(made["deploy_key"])
    session.screen.complain("The key is not shown again.", "dim")


@keys.command("remove")
@click.argument("key_id")
@connected
def remove_key(session: Session, key_id: str) -> None:
    """Remove the key with this id; whoever uses it is refused from now on."""
    session.call("DELETE", session.of_deployment("keys", key_id))
    if session.screen.json:
        session.screen.document({"id": key_id, "removed": True})
    session.screen.say(f"Key {key_id} is removed.", "green")


def _change(session: Session, name: str, change: dict[str, Any], sentence: str) -> None:
    answer = session.call("PATCH", f"/v1/deployments/{name}", json=change)
    if session.screen.json:
        session.screen.document(answer)
    session.screen.say(sentence, "green")


def _egress(name: str, policy: dict[str, Any] | None) -> str:
    if policy is None:
        return f"{name} may connect everywhere that the server may."
    if not policy["allow"]:
        return f"{name} may connect nowhere."
    return f"{name} may connect to {', '.join(policy['allow'])} and nowhere else."


def _state(deployment: dict[str, Any]) -> str:
    return "paused" if deployment["paused"] else "answering"
