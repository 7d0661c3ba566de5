"""What does a deployment run, and how is that changed? ``deploy``, ``functions``, ``versions``, ``rollback``.

Knows nothing of how the server loads a bundle.

Rules
1. A refused push changes nothing on the server and ends with code 1.
"""

import time
from pathlib import Path
from typing import Any

import click

from control_plane.cli.bundles import find_bundle, pack, package_files, read_bundle
from control_plane.cli.client import PUSHING, Refused, Session, connected
from control_plane.cli.screen import moment, size


def push(session: Session, bundle: Path) -> dict[str, Any]:
    """Send a bundle; the server's answer, or `Refused` with diagnostics."""
    path = session.of_deployment("pushes")
    files = read_bundle(bundle)
    if not files:
        raise Refused(f"The bundle {bundle} is empty. `warren init` makes one to start from.")
    archive = pack(files)
    count = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    session.screen.say(f"Pushing {count} ({size(len(archive))}) from {bundle}", "dim")
    if asking := package_files(files):
        text = f"The server installs the packages of {' and '.join(asking)} where they are new; this may take a while"
        session.screen.say(text, "dim")
    try:
        answer: dict[str, Any] = session.call("POST", path, content=archive, timeout=PUSHING)
    except Refused as refusal:
        refusal.bundle = bundle
        raise
    return answer


@click.command()
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@connected
def deploy(session: Session, directory: Path) -> None:
    """Push the bundle of DIRECTORY (its functions/, or itself) and make it live."""
    began = time.perf_counter()
    bundle = find_bundle(directory)
    screen = session.screen
    if screen.json or not screen.out.is_terminal:
        answer = push(session, bundle)
    else:
        with screen.out.status(f"Deploying to {session.deployment}"):
            answer = push(session, bundle)
    if screen.json:
        screen.document(answer)
        return
    screen.diagnostics(answer.get("warnings") or [], bundle, "yellow")
    functions, routes = answer.get("functions") or [], answer.get("routes") or []
    screen.say(
        f"Version {answer['version']} of {session.deployment} is live: "
        f"{len(functions)} functions, {len(routes)} routes, {time.perf_counter() - began:.2f} s",
        "green",
    )
    site = session.call("GET", session.of_deployment()).get("site_url")
    screen.say(f"HTTP actions: {site}")


@click.command()
@click.option("--openapi", is_flag=True, help="Print an OpenAPI 3.1 document of what clients may call.")
@connected
def functions(session: Session, openapi: bool) -> None:
    """List the functions and routes that the running version declares."""
    if openapi:
        session.screen.document(session.call("GET", session.of_deployment("openapi.json")))
        return
    declared = session.call("GET", session.of_deployment("functions"))["functions"]
    routes = session.call("GET", session.of_deployment("routes"))["routes"]
    if session.screen.json:
        session.screen.document({"functions": declared, "routes": routes})
        return
    session.screen.table(
        ("function", "kind", "visibility", "runs in"),
        [(each["path"], each["kind"], each["visibility"], _engine(each)) for each in declared],
        "No functions: nothing was pushed yet, or the bundle declares none.",
    )
    if routes:
        session.screen.say("")
        session.screen.table(
            ("method", "route", "handler"),
            [(each["method"], shown_pattern(each), each["handler"]) for each in routes],
            "",
        )


@click.command()
@connected
def versions(session: Session) -> None:
    """List the versions that can be rolled back to, newest first."""
    kept = session.call("GET", session.of_deployment("versions"))["versions"]
    if session.screen.json:
        session.screen.document(kept)
        return
    session.screen.table(
        ("version", "pushed", "files", "size", "sha256", ""),
        [
            (
                each["version"],
                moment(each["created_at"]),
                each["files"],
                size(each["bytes"]),
                each["sha256"][:12],
                "live" if each.get("active") else "",
            )
            for each in kept
        ],
        f"Nothing was pushed to {session.deployment} yet. `warren deploy` does.",
    )


@click.command()
@click.argument("version", type=int)
@connected
def rollback(session: Session, version: int) -> None:
    """Make VERSION live again, at once. `warren versions` lists them."""
    answer = session.call("POST", session.of_deployment("rollback"), json={"version": version})
    if session.screen.json:
        session.screen.document(answer)
        return
    session.screen.say(f"Version {version} of {session.deployment} is live.", "green")


def _engine(function: dict[str, Any]) -> str:
    return {"python": "Python", "node": "Node.js"}.get(function.get("engine", ""), "")


def shown_pattern(route: dict[str, Any]) -> str:
    """A route as a person would write it."""
    open_ended = route.get("shape") in ("prefix", "mount")
    return f"{route['pattern']}*" if open_ended else str(route["pattern"])
