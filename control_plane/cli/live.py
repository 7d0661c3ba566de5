"""What does a deployment do right now? ``run``, ``logs``, ``env``.

Knows nothing of how functions run or where logs are kept.

Rules
1. A function that fails ends ``run`` with code 1, and its log lines are shown all the same; how it failed once.
2. A variable's value is taken as it stands, line ends included; only ``-`` means standard input.
"""

import json
import sys
import time
from typing import Any

import click

from control_plane.cli.client import Refused, Session, connected


@click.command()
@click.argument("path")
@click.argument("arguments", default="{}")
@connected
def run(session: Session, path: str, arguments: str) -> None:
    """Call the function PATH (dir/module:name) with ARGUMENTS, a JSON object."""
    try:
        args = json.loads(arguments)
    except ValueError as error:
        raise click.BadParameter(f'not JSON: {error}. Write it as \'{{"name": "value"}}\'.') from None
    if not isinstance(args, dict):
        raise click.BadParameter('arguments go by name: a JSON object, as \'{"name": "value"}\'.')
    answer = session.call_function(path, args)
    if session.screen.json:
        session.screen.document(answer)
        if answer.get("status") != "success":
            raise SystemExit(1)
        return
    failure = str(answer.get("errorMessage") or "")
    for line in answer.get("logLines") or []:
        if line.removeprefix("[ERROR] ") not in failure:  # how it failed is told once
            session.screen.complain(line, "dim")
    if answer.get("status") != "success":
        raise Refused(_failure(answer))
    session.screen.document(answer.get("value"))


def _failure(answer: dict[str, Any]) -> str:
    message = str(answer.get("errorMessage") or "the function failed")
    return f"{message}\n{json.dumps(answer['errorData'], indent=2)}" if "errorData" in answer else message


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--since", help="Only what came later: 10m, 2h, an ISO 8601 time, or milliseconds since 1970.")
@click.option("--request-id", help="Only one request's lines: its X-Request-Id.")
@click.option(
    "--level", type=click.Choice(["debug", "info", "warn", "error"]), help="Only what is at least so serious."
)
@connected
def logs(session: Session, follow: bool, since: str | None, request_id: str | None, level: str | None) -> None:
    """Show what the deployment's functions said."""
    asked = {"follow": "true" if follow else None, "since": _since(since), "request_id": request_id, "level": level}
    parameters = {name: value for name, value in asked.items() if value is not None}
    try:
        with session.stream(session.of_deployment("logs"), parameters) as entries:
            for entry in entries:
                if session.screen.json:
                    session.screen.line(entry)
                else:
                    session.screen.log_entry(entry)
    except KeyboardInterrupt:
        return


def _since(text: str | None) -> str | None:
    if not text or text[-1] not in "smhd":
        return text
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
    try:
        return str(int((time.time() - float(text[:-1]) * seconds) * 1000))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no duration: write it as 30s, 10m, 2h or 1d.") from None


@click.group()
def env() -> None:
    """Read and change the deployment's environment variables. A change is live from the next call."""


@env.command("list")
@connected
def list_variables(session: Session) -> None:
    """Show every variable."""
    variables = _variables(session)
    if session.screen.json:
        session.screen.document(variables)
        return
    for name, value in sorted(variables.items()):
        session.screen.say(f"{name}={value}")
    if not variables:
        session.screen.say(f"{session.deployment} has no variables. `warren env set KEY=VALUE` sets one.", "dim")


@env.command("get")
@click.argument("name")
@connected
def get_variable(session: Session, name: str) -> None:
    """Print the value of NAME, as it is."""
    variables = _variables(session)
    if name not in variables:
        raise Refused(f"{session.deployment} has no variable {name}. `warren env list` shows what there is.")
    if session.screen.json:
        session.screen.document({"key": name, "value": variables[name]})
    else:
        value = variables[name]
        click.echo(value, nl=not value.endswith("\n"))


@env.command("set")
@click.argument("name")
@click.argument("value", required=False)
@connected
def set_variable(session: Session, name: str, value: str | None) -> None:
    """Set a variable: KEY=VALUE, or KEY VALUE, or KEY - to read the value from standard input (many lines)."""
    if value is None:
        name, equals, value = name.partition("=")
        if not equals:
            value = click.prompt(f"Value of {name}", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    elif value == "-":
        value = sys.stdin.read()
    answer = session.call("PUT", session.of_deployment("env", name), json={"value": value})
    if session.screen.json:
        session.screen.document(answer)
    session.screen.say(f"{name} is set; the next call sees it.", "green")


@env.command("unset")
@click.argument("name")
@connected
def unset_variable(session: Session, name: str) -> None:
    """Remove the variable NAME."""
    session.call("DELETE", session.of_deployment("env", name))
    if session.screen.json:
        session.screen.document({"key": name, "removed": True})
    session.screen.say(f"{name} is removed.", "green")


def _variables(session: Session) -> dict[str, str]:
    variables: dict[str, str] = session.call("GET", session.of_deployment("env"))["variables"]
    return variables
