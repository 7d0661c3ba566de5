"""How does a lock become a folder?

Into a folder that nobody uses yet; the shelf puts it in its place. The same lock gives the same folder on every machine
of one kind.

Rules
1. Only what the lock names is installed, and only if its hash is the lock's. It is read again before it is followed.
2. Nothing of a package is run. Python's modules are compiled, so that no process has to do it later.
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import PushRefused
from runtime.protocol.declaration import Diagnostic, Engine
from worker.packages import manifest, requirements
from worker.packages.manifest import read_lock, read_manifest
from worker.packages.resolving import NPM_FLAGS, attempt, uv_flags, write_documents
from worker.packages.settling import Measure, Unsettled, inspect, settle
from worker.packages.tools import Tools
from worker.removing import remove

FILES = {Engine.PYTHON: requirements.FILE, Engine.NODE: manifest.FILE}


async def folder_name(tools: Tools, engine: Engine, lock: str) -> str:
    """The name of what this lock becomes on this machine."""
    mark = tools.python_tag if engine is Engine.PYTHON else await tools.node_tag()
    return f"{engine}-{hashlib.sha256(b'|'.join((mark.encode(), lock.encode()))).hexdigest()[:40]}"


async def install(tools: Tools, engine: Engine, lock: str, folder: Path) -> tuple[Path, Measure]:
    """Install what a lock says in ``folder``; where it is inside of it and how much it is, or `PushRefused`."""
    make = _install_python if engine is Engine.PYTHON else _install_node
    try:
        installed = await make(tools, lock, folder)
        return installed, await asyncio.to_thread(settle, installed)
    except Unsettled as error:
        raise PushRefused([Diagnostic(FILES[engine], 1, f"the packages cannot be used: {error}")]) from None


async def _install_python(tools: Tools, lock: str, folder: Path) -> Path:
    if not requirements.is_lock(lock):
        raise PushRefused([Diagnostic(requirements.FILE, 1, "its lock is none: push again")])
    await asyncio.to_thread((folder / "lock.txt").write_text, lock, "utf-8")
    command = [tools.uv, "pip", "install", *uv_flags(tools), "--require-hashes", "--link-mode", "copy"]
    await attempt(tools, folder, [*command, "--target", "installed", "-r", "lock.txt"], requirements.FILE, {})
    installed = folder / "installed"
    (installed / ".lock").unlink(missing_ok=True)
    # Before anything walks there: the compiler writes where a link would lead it.
    await asyncio.to_thread(inspect, installed)
    compiler = [
        tools.python,
        "-I",
        "-S",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        "installed",
    ]
    # With 1 it says that something is no Python of this version. Nobody may ever import it.
    await attempt(tools, folder, compiler, requirements.FILE, {}, good=(0, 1))
    return installed


async def _install_node(tools: Tools, lock: str, folder: Path) -> Path:
    if tools.npm is None:
        raise PushRefused([Diagnostic(manifest.FILE, 1, "this worker has no Node.js with npm, which this file needs")])
    asked = read_manifest(msgspec.json.encode({"dependencies": _asked(lock)}))
    documents = {manifest.FILE: asked.document(), manifest.LOCK_FILE: read_lock(asked, lock.encode(), manifest.FILE)}
    await asyncio.to_thread(write_documents, folder, documents)
    await attempt(tools, folder, [tools.npm, "ci", *NPM_FLAGS], manifest.FILE, {})
    made = folder / "node_modules"
    made.mkdir(exist_ok=True)  # every dependency may be for another kind of machine
    await asyncio.to_thread(remove, made / ".bin")
    (made / ".package-lock.json").unlink(missing_ok=True)
    # Node.js finds what a package requires only below a folder of that name.
    installed = folder / "installed"
    installed.mkdir()
    made.rename(installed / made.name)
    return installed


def _asked(lock: str) -> object:
    """What the package.json asked for when this lock was made."""
    try:
        return msgspec.json.decode(lock, type=_Lock).packages[""]["dependencies"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise PushRefused([Diagnostic(manifest.FILE, 1, "its lock is none: push again")]) from None


class _Lock(msgspec.Struct):
    packages: dict[str, Any]
