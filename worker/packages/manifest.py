"""What does a package.json ask for, and what does a package-lock.json say?

Reads both as a stranger's. What npm gets to see is written anew from what was understood here: dependencies, and a lock
that names versions and hashes. Where they come from is the registry that the operator chose.

Rules
1. A dependency is a name with versions of the registry (or an alias of one); no URLs, no repositories, no paths.
2. Every entry of a lock has a version of the registry and a hash, or lies inside of a package that has. No entry says
   where it is downloaded from.
3. Scripts, workspaces and every other field of a package.json mean nothing here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from runtime import limits
from runtime.errors import PushRefused
from runtime.protocol.declaration import Diagnostic

FILE = "package.json"
LOCK_FILE = "package-lock.json"

_NAME = r"(?:@[A-Za-z0-9~_][A-Za-z0-9._~-]*/)?[A-Za-z0-9~_][A-Za-z0-9._~-]*"
_WHOLE_NAME = re.compile(_NAME)
_VERSIONS = re.compile(rf"(?:npm:{_NAME}@?)?[A-Za-z0-9.*^~<>=| +-]*")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]*")
_PLACE = re.compile(rf"node_modules/{_NAME}(?:/node_modules/{_NAME})*")
_INTEGRITY = re.compile(r"sha(?:256|384|512)-[A-Za-z0-9+/=]+(?: sha[0-9]+-[A-Za-z0-9+/=]+)*")
_NOT_INSTALLED = ("optionalDependencies", "peerDependencies", "workspaces")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The dependencies of a bundle by name, the line of each, and remarks on what is not installed."""

    dependencies: Mapping[str, str]
    lines: Mapping[str, int]
    warnings: tuple[Diagnostic, ...]

    def document(self) -> dict[str, Any]:
        """The package.json that npm gets to see."""
        return {"name": "bundle", "version": "1.0.0", "private": True, "dependencies": dict(self.dependencies)}


def read_manifest(data: bytes) -> Manifest:
    """What the package.json asks for; raise `PushRefused` with every dependency that cannot be followed."""
    document = _object(FILE, data)
    asked = document.get("dependencies", {})
    if not isinstance(asked, dict):
        raise PushRefused([Diagnostic(FILE, _line(data, "dependencies"), "dependencies is not an object")])
    wrong = []
    for name, versions in asked.items():
        if reason := _objection(name, versions):
            wrong.append(Diagnostic(FILE, _line(data, name), reason))
    if len(asked) > limits.PACKAGE_REQUIREMENTS:
        limit = int(limits.PACKAGE_REQUIREMENTS)
        wrong.append(Diagnostic(FILE, 1, f"{len(asked)} dependencies, the limit PACKAGE_REQUIREMENTS is {limit}"))
    if wrong:
        raise PushRefused(wrong[: limits.DIAGNOSTICS])
    warnings = [
        Diagnostic(FILE, _line(data, field), f"{field} are not installed; only dependencies are")
        for field in _NOT_INSTALLED
        if document.get(field)
    ]
    return Manifest(asked, {name: _line(data, name) for name in asked}, tuple(warnings))


def read_lock(manifest: Manifest, data: bytes, file: str = LOCK_FILE) -> dict[str, Any]:
    """A package-lock.json as npm gets to see it; raise `PushRefused` for what the registry would not be asked for."""
    document = _object(file, data)
    entries = document.get("packages")
    if document.get("lockfileVersion") not in (2, 3) or not isinstance(entries, dict):
        message = "this lock is not of version 2 or 3: make it anew with `npm install` of npm 7 or later"
        raise PushRefused([Diagnostic(file, 1, message)])
    # A lock that was made here names no address of the registry: one that is in it leads elsewhere.
    origins = ("https://", "http://") if file == LOCK_FILE else ()
    wrong = [Diagnostic(file, _line(data, place), reason) for place, reason in _lock_objections(entries, origins)]
    if wrong:
        raise PushRefused(wrong[: limits.DIAGNOSTICS])
    asked = manifest.document()
    root = {key: asked[key] for key in ("name", "version", "dependencies")}
    packages = {place: _without_origin(entry) for place, entry in entries.items() if place}
    head = {"name": asked["name"], "version": asked["version"], "lockfileVersion": 3, "requires": True}
    return {**head, "packages": {"": root, **packages}}


def _objection(name: str, versions: Any) -> str | None:
    if len(name) > limits.PACKAGE_TEXT or not _WHOLE_NAME.fullmatch(name):
        return f"{name[:80]!r} is not the name of a package"
    if not isinstance(versions, str) or len(versions) > limits.PACKAGE_TEXT:
        return f"{name}: its versions are not text of at most {int(limits.PACKAGE_TEXT)} characters"
    if not _VERSIONS.fullmatch(versions):
        return (
            f"{name}: {versions[:80]!r} is not a range of versions; packages come from the server's registry, by name, "
            "not from URLs, repositories or paths"
        )
    return None


def _lock_objections(entries: Mapping[str, Any], origins: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for place, entry in entries.items():
        if not place:
            continue
        shown = place[:120]
        if not _PLACE.fullmatch(place) or not isinstance(entry, dict) or entry.get("link"):
            yield place, f"{shown!r} is no package of the registry: links and folders are not installed"
            continue
        version, resolved = entry.get("version"), entry.get("resolved")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            yield place, f"{shown}: its version is not one of the registry"
        elif resolved is not None and not str(resolved).startswith(origins):
            yield place, f"{shown}: it comes from {str(resolved)[:80]!r} and not from the registry"
        elif not (entry.get("inBundle") or _is_hash(entry.get("integrity"))):
            yield place, f"{shown}: it has no integrity (a SHA-256, SHA-384 or SHA-512)"


def _is_hash(integrity: Any) -> bool:
    return isinstance(integrity, str) and _INTEGRITY.fullmatch(integrity) is not None


def _without_origin(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "resolved"}


def _object(file: str, data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise PushRefused([Diagnostic(file, 1, f"this file is not JSON: {str(error)[:200]}")]) from None
    if not isinstance(document, dict):
        raise PushRefused([Diagnostic(file, 1, "this file holds no JSON object")])
    return document


def _line(data: bytes, word: str) -> int:
    """Where this word is first the name of something, for a person who looks for it."""
    at = re.search(re.escape(msgspec.json.encode(word)) + rb"\s*:", data)
    return data.count(b"\n", 0, at.start()) + 1 if at else 1
