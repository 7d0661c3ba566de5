"""Does the wall stand on this machine? ``doctor``.

Asks the sandbox itself, in a process of its own with an empty environment, as a server does when it starts; and then
the lane, the wall around Node-style actions. Knows no layer by name.

Rules
1. A mandatory layer that does not hold is a refusal: exit code 1, and no server would start here. One of the lane's
   stops Node-style actions and nothing else, so that is only said.
2. What the sandbox cannot say is a failure, never a pass.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from control_plane.cli.client import Refused, json_option
from control_plane.cli.screen import Screen, plain

_REPORT = (sys.executable, "-I", "-m", "runtime.sandbox.zygote_main", "--report")
_LANE_REPORT = (sys.executable, "-I", "-m", "worker.lane.doctor")
_REPORT_SECONDS = 60


@click.command()
@click.option("--attack", is_flag=True, help="Run the escape suite on this machine as well (a source checkout has it).")
@json_option
def doctor(attack: bool, as_json: bool) -> None:
    """Say what the sandbox can enforce here, layer by layer."""
    screen = Screen(json=as_json)
    layers, lane = examine(_REPORT), examine(_LANE_REPORT)
    missing, missing_there = _missing(layers), _missing(lane)
    if as_json:
        node = {"safe": not missing_there, "missing": missing_there, "layers": lane}
        screen.document({"safe": not missing, "missing": missing, "layers": layers, "node_actions": node})
    else:
        _show(screen, layers, missing)
        _show_lane(screen, lane, missing_there)
    if missing:
        raise SystemExit(1)
    if attack:
        _attack(screen)


def _missing(layers: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in layers if each["requirement"] == "mandatory" and not each["holds"]]


def examine(command: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every layer: ``name``, ``requirement``, ``holds``, ``detail``."""
    try:
        report = subprocess.run(command, env={}, capture_output=True, text=True, timeout=_REPORT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Refused(f"The sandbox said nothing within {_REPORT_SECONDS} s. Do not run tenants' code here.") from None
    try:
        found = json.loads(report.stdout)
    except ValueError:
        raise Refused(
            f"The sandbox cannot examine this machine (exit code {report.returncode}): "
            f"{report.stderr.strip()[-2000:] or 'it said nothing'}"
        ) from None
    layers: list[dict[str, Any]] = found["layers"] if isinstance(found, dict) else found
    if not layers:
        raise Refused("The sandbox named no layer at all. Do not run tenants' code here.")
    return layers


def _show(screen: Screen, layers: list[dict[str, Any]], missing: list[str]) -> None:
    _list(screen, layers)
    if missing:
        screen.complain(
            f"Not safe: {', '.join(missing)} cannot be had here. `warren serve` and `warren dev` refuse to start. "
            "Warren needs Linux 5.4 or newer on x86_64 or aarch64, with seccomp allowed for this process."
        )
        return
    screen.say("Every mandatory layer holds: tenants' code may run here.", "green")
    _say_what_is_weaker(screen, layers)


def _show_lane(screen: Screen, layers: list[dict[str, Any]], missing: list[str]) -> None:
    screen.say("")
    screen.say('Node-style actions ("use node")', "bold")
    _list(screen, layers)
    if missing:
        screen.complain(f"Node-style actions refuse to start here, missing: {', '.join(missing)}.")
        return
    screen.say("Node-style actions may run here.", "green")
    _say_what_is_weaker(screen, layers)


def _say_what_is_weaker(screen: Screen, layers: list[dict[str, Any]]) -> None:
    if weaker := [each["name"] for each in layers if not each["holds"]]:
        screen.say(f"Not had here, and not needed: {', '.join(weaker)}.", "dim")


def _list(screen: Screen, layers: list[dict[str, Any]]) -> None:
    for requirement in dict.fromkeys(each["requirement"] for each in layers):
        screen.say(requirement, "bold")
        for each in (each for each in layers if each["requirement"] == requirement):
            colour = "green" if each["holds"] else "red" if requirement == "mandatory" else "yellow"
            mark = Text("  ✓ " if each["holds"] else "  ✗ ", colour)
            screen.out.print(mark + Text(f"{plain(each['name']):<22}") + Text(plain(each["detail"]), "dim"))
    screen.say("")


def _attack(screen: Screen) -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "tests" / "escapes").is_dir():
        raise Refused(
            "The escape suite is part of the source, not of the package: run this in a clone, after `make test`."
        )
    command = [sys.executable, "-m", "pytest", "tests/escapes", "-q"]
    screen.say("Running the escape suite", "bold")
    # Standard output stays clean for programs: with --json the suite speaks on standard error.
    done = subprocess.run(command, cwd=root, stdout=sys.stderr if screen.json else None)
    if done.returncode:
        raise Refused(f"The escape suite did not pass (pytest ended with {done.returncode}): see above.")
    screen.say("No attack got out.", "green")
