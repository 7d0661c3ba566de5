"""How does another program get a typed client? ``codegen``.

Rules
1. The file is replaced whole or not at all, and not touched when nothing has changed.
"""

import json
import os
from pathlib import Path
from typing import IO

import click

from control_plane.cli.client import Refused, Session, connected
from control_plane.interface.python import NotADocument, client_module


@click.command()
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file. [standard output]")
@click.option("--from", "source", type=click.File(), help="An OpenAPI document, instead of the deployment's own.")
@click.option("--check", is_flag=True, help="Write nothing; end with code 1 when the file is out of date.")
@connected
def codegen(session: Session, output: Path | None, source: IO[str] | None, check: bool) -> None:
    """Write a typed Python client of the deployment's public functions.

    The module needs httpx and nothing else, and passes mypy --strict.
    """
    if check and output is None:
        raise click.UsageError("--check needs the file to look at: --output FILE.")
    text = _module(session, source)
    if output is None:
        click.echo(text, nl=False)
        return
    same = output.is_file() and output.read_bytes() == text.encode()
    if check and not same:
        raise Refused(f"{output} is not what the deployment has now. `warren codegen -o {output}` writes it.")
    if not same:
        new = output.with_name(f"{output.name}.new")
        new.write_text(text, "utf-8")
        os.replace(new, output)
    if session.screen.json:
        session.screen.document({"file": str(output), "changed": not same})
    session.screen.say(f"{output} is up to date." if same else f"{output} is written.", "green")


def _module(session: Session, source: IO[str] | None) -> str:
    try:
        document = json.load(source) if source else session.call("GET", session.of_deployment("openapi.json"))
        return client_module(document)
    except NotADocument as error:
        raise Refused(f"No client can be made: {error}.") from None
    except ValueError as error:
        raise Refused(f"The document is not JSON: {error}.") from None
