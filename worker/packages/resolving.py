"""Which versions exactly does a bundle get?

Turns requirements.txt and package.json into locks: every package with its version and its hashes. Only what describes
packages is downloaded here; nothing is installed.

Rules
1. Wheels only, for the Python that this worker runs. A package without one is refused and never built.
2. A package-lock.json of the bundle is kept to; what it does not say is added.
3. A lock says for which Python or Node.js it was made.
4. What has not changed since the active version is not asked for again: its lock is the lock.
"""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from runtime import limits
from runtime.errors import PushRefused
from runtime.invocation import Version
from runtime.protocol.declaration import Diagnostic, Engine, Packages
from worker.packages import manifest, requirements
from worker.packages.complaints import refuse
from worker.packages.manifest import read_lock, read_manifest
from worker.packages.requirements import Requirement, read_requirements
from worker.packages.tools import RunTooLarge, RunTooLong, Tools

_NODE_FILES = (manifest.FILE, manifest.LOCK_FILE)
NPM_FLAGS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-progress",
    "--no-update-notifier",
    "--no-bin-links",
    "--omit-lockfile-registry-resolved",
    "--loglevel=error",
    "--globalconfig=nothing",
    "--workspaces=false",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=30000",
    # Dependencies of dependencies may name repositories and addresses: none of them is gone to.
    "--git=/bin/false",
    "--allow-git=none",
    "--allow-remote=none",
    "--allow-file=none",
    "--allow-directory=none",
    "--cache=home/npm",
)


async def resolve(
    tools: Tools, folder: Path, bundle: Mapping[str, bytes], engines: Collection[Engine], active: Version | None
) -> tuple[Packages | None, tuple[Diagnostic, ...]]:
    """The locks that a bundle needs for these engines, and warnings; raise `PushRefused`. ``folder`` is to work in."""
    kept = active.declaration.packages if active is not None else None
    before = active.bundle if active is not None else {}
    python = node = None
    warnings: tuple[Diagnostic, ...] = ()
    if Engine.PYTHON in engines and requirements.FILE in bundle:
        python = _unchanged(before, bundle, (requirements.FILE,), kept.python if kept else None, python_mark(tools))
        if python is None:
            python = await _resolve_python(tools, folder, read_requirements(bundle[requirements.FILE]))
    if Engine.NODE in engines and manifest.FILE in bundle:
        asked = read_manifest(bundle[manifest.FILE])
        warnings = asked.warnings
        node = _unchanged(before, bundle, _NODE_FILES, kept.node if kept else None, "")
        if node is None and asked.dependencies:
            node = await _resolve_node(tools, folder, asked, bundle.get(manifest.LOCK_FILE))
    return (Packages(python, node) if python or node else None), warnings


def python_mark(tools: Tools) -> str:
    """The first line of a lock of Python packages."""
    return f"# {tools.python_tag}\n"


def _unchanged(
    before: Mapping[str, bytes], bundle: Mapping[str, bytes], files: Collection[str], lock: str | None, mark: str
) -> str | None:
    same = all(before.get(file) == bundle.get(file) for file in files)
    return lock if lock is not None and same and lock.startswith(mark) else None


async def _resolve_python(tools: Tools, folder: Path, asked: tuple[Requirement, ...]) -> str | None:
    if not asked:
        return None
    lines = {one.name: one.line for one in asked}
    await asyncio.to_thread((folder / requirements.FILE).write_text, "".join(f"{one.text}\n" for one in asked), "utf-8")
    command = [tools.uv, "pip", "compile", *uv_flags(tools), "--generate-hashes", "--no-header", "--no-annotate"]
    await attempt(tools, folder, [*command, "-o", "lock.txt", requirements.FILE], requirements.FILE, lines)
    lock = await asyncio.to_thread((folder / "lock.txt").read_text, "utf-8")
    return _bounded(python_mark(tools) + lock, requirements.FILE)


async def _resolve_node(tools: Tools, folder: Path, asked: manifest.Manifest, given: bytes | None) -> str:
    npm = tools.npm
    if npm is None or tools.node is None:
        raise PushRefused([Diagnostic(manifest.FILE, 1, "this server has no Node.js with npm, which this file needs")])
    documents = {manifest.FILE: asked.document()}
    if given is not None:
        documents[manifest.LOCK_FILE] = read_lock(asked, given)
    await asyncio.to_thread(write_documents, folder, documents)
    command = [npm, "install", "--package-lock-only", *NPM_FLAGS]
    await attempt(tools, folder, command, manifest.FILE, asked.lines)
    made = await asyncio.to_thread((folder / manifest.LOCK_FILE).read_bytes)
    # Read as if it were the bundle's: what npm has found out it was told by strangers.
    lock = msgspec.json.encode(read_lock(asked, made, manifest.FILE)).decode()
    return _bounded(lock, manifest.FILE)


def uv_flags(tools: Tools) -> tuple[str, ...]:
    """What every run of uv is told."""
    only = ("--no-config", "--no-python-downloads", "--only-binary", ":all:", "--quiet")
    return (*only, "--python", tools.python, "--cache-dir", "home/uv")


def write_documents(folder: Path, documents: Mapping[str, object]) -> None:
    """Write JSON files."""
    for name, document in documents.items():
        (folder / name).write_bytes(msgspec.json.encode(document))


async def attempt(
    tools: Tools, folder: Path, command: list[str], file: str, lines: Mapping[str, int], good: Collection[int] = (0,)
) -> None:
    """Run a tool that must end with a good code; raise `PushRefused` about this file when it does not."""
    try:
        ran = await tools.run(folder, command)
    except (RunTooLong, RunTooLarge) as error:
        raise PushRefused([Diagnostic(file, 1, f"the packages cannot be installed: {error}")]) from None
    if ran.code not in good:
        raise refuse(ran, file, lines)


def _bounded(lock: str, file: str) -> str:
    size = len(lock.encode())
    if size > limits.PACKAGE_LOCK:
        message = f"what this file resolves to takes {size} bytes, the limit PACKAGE_LOCK is {int(limits.PACKAGE_LOCK)}"
        raise PushRefused([Diagnostic(file, 1, message)])
    return lock
