"""Where is the bundle, what goes into a push, and what does a new one look like? ``init``.

Reads a folder of the person who runs the command. Knows nothing of servers.

Rules
1. A bundle is the folder ``functions/`` of what was named, or that folder itself when it holds Python modules.
2. Only plain files go: nothing hidden, nothing made by a tool, no link. Which they are, one function says.
3. The same files make the same archive.
4. ``init`` writes over nothing, and what it writes answers requests as it stands.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from control_plane.cli.client import Refused, json_option
from control_plane.cli.screen import Screen
from runtime.protocol.declaration import Engine
from runtime.protocol.node_style import engine_of

_MADE_BY_TOOLS = {"__pycache__", "node_modules", "venv"}


def find_bundle(folder: Path) -> Path:
    """The bundle of this folder."""
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}. `warren init {folder}` makes one to start from.")
    inner = folder / "functions"
    if inner.is_dir():
        return inner
    if any(folder.glob("*.py")):
        return folder
    raise Refused(
        f"No bundle in {folder}: it has neither a folder functions/ nor a Python module. "
        f"`warren init {folder}` makes one to start from."
    )


def is_part(path: Path, bundle: Path) -> bool:
    """Whether this path would go into a push, by its name alone."""
    parts = path.relative_to(bundle).parts
    hidden = any(part.startswith(".") or part in _MADE_BY_TOOLS for part in parts)
    return not hidden and path.suffix != ".pyc" and not path.name.endswith("~")


def read_bundle(bundle: Path) -> dict[str, bytes]:
    """Every file of the bundle, by its path in it."""
    return {str(path.relative_to(bundle).as_posix()): path.read_bytes() for path in _files(bundle)}


def _files(bundle: Path) -> Iterator[Path]:
    for path in sorted(bundle.rglob("*")):
        if path.is_file() and not path.is_symlink() and is_part(path, bundle):
            yield path


def package_files(files: Mapping[str, bytes]) -> list[str]:
    """Which of the files name packages that a push of them has installed."""
    engines = {engine_of(path, content) for path, content in files.items()}
    asking = {Engine.PYTHON: "requirements.txt", Engine.NODE: "package.json"}
    return [file for engine, file in asking.items() if engine in engines and file in files]


def pack(files: dict[str, bytes]) -> bytes:
    """The archive of these files."""
    packed = io.BytesIO()
    # mtime 0 in the gzip header and in every member: what is packed twice is the same bytes twice.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def fingerprint(files: dict[str, bytes]) -> str:
    """Equal for equal files: tells a save that changed something from one that did not."""
    seen = hashlib.sha256()
    for path, content in sorted(files.items()):
        seen.update(f"{path}\0{len(content)}\0".encode())
        seen.update(content)
    return seen.hexdigest()


# --- a bundle to start from -------------------------------------------------------------------------------------------

_HTTP = '''\
"""The routes of this deployment."""

from runtime import HttpRouter, Response, http_action

from .notes import add_note, show_notes

http = HttpRouter()


@http.route(path="/", method="GET")
@http_action
async def hello(ctx, request):
    return Response(f"Hello from {request.url}")


http.route(path="/notes", method="GET", handler=show_notes)
http.route(path="/notes", method="POST", handler=add_note)
'''

_NOTES = '''\
"""Notes: kept in a table, listed and added over HTTP."""

from runtime import Response, http_action, mutation, query


@query
async def list_notes(ctx):
    return await ctx.db.query("notes").collect()


@mutation
async def add(ctx, text: str) -> None:
    await ctx.db.insert("notes", {"text": text})


@http_action
async def show_notes(ctx, request):
    notes = await ctx.run_query(list_notes)
    return Response.json([note["text"] for note in notes])


@http_action
async def add_note(ctx, request):
    text = (await request.text()).strip()
    if not text:
        return Response("Send the note as the body", status=400)
    await ctx.run_mutation(add, text=text)
    return Response("Noted", status=201)
'''

_IGNORED = ".warren/\n__pycache__/\n"

STARTER = {"functions/http.py": _HTTP, "functions/notes.py": _NOTES, ".gitignore": _IGNORED}


@click.command()
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@json_option
def init(directory: Path, as_json: bool) -> None:
    """Write a bundle to start from into DIRECTORY."""
    screen = Screen(json=as_json)
    taken = [path for path in STARTER if path.startswith("functions/") and (directory / path).exists()]
    if taken:
        raise Refused(f"{directory / taken[0]} is there already; nothing was written. Name another folder.")
    written = []
    for path, content in STARTER.items():
        place = directory / path
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, "utf-8")
        written.append(path)
    if screen.json:
        screen.document({"directory": str(directory), "files": written})
        return
    for path in written:
        screen.say(f"  {directory / path}")
    screen.say(f"Start it with: warren dev {directory}", "green")
