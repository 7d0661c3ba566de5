"""What is in the Node-style modules of this bundle, and do they import?

The bundle's files are written into a scratch folder, where the modules find what lies beside them, and are imported
from there as one package. Those that begin with "use node" are executed; the others when one of those imports them.

Rules
1. A bundle loads whole or not at all; every reason is a `Diagnostic` with file, line and a sentence.
2. Only actions live in such modules.
3. Tracebacks name a file as its author does: no path of the machine is shown.
"""

import ast
import importlib
import importlib.util
import linecache
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import msgspec

from runtime.protocol.declaration import Declaration, Diagnostic, Engine, Kind
from runtime.protocol.messages import Level, Load
from runtime.protocol.node_style import engine_of
from runtime.sandbox.guest.collecting import collect
from runtime.sandbox.guest.loader import PACKAGE, Bundle, Refused
from runtime.sandbox.guest.tracebacks import MARK, describe, frames_of
from runtime.sdk.running import RUNNING, Running

_MODULE = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py\Z")
_SPECIAL = frozenset({"http.py", "schema.py", "crons.py", "auth_config.py"})
_DIRECTIVE = "use node"


def load(message: Load, folder: Path, sources: dict[str, list[str]], log: Callable[[Level, str], None]) -> Bundle:
    """Import the Node-style modules of a bundle; raise `Refused` with every reason why they cannot be."""
    ours, wrong = _read(message.bundle, sources)
    if wrong:
        raise Refused(wrong)
    root = folder / PACKAGE
    for path, content in message.bundle.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    files = {_dotted(path): path for path in message.bundle if _MODULE.match(path)}
    # Before the standard one, which would find the files as well, and show their paths.
    sys.meta_path.insert(0, BundleFinder(root, files))
    modules = _execute(ours, files, message, sources, log)
    collected = collect(modules, {name: files[name] for name in modules}, sources)
    declared = [one for one in collected.functions if one.file in ours]
    wrong = [
        *collected.wrong,
        *(_no_action(one.file, one.line, one.path) for one in declared if one.kind is not Kind.ACTION),
    ]
    if wrong:
        raise Refused(wrong)
    functions = tuple(msgspec.structs.replace(one, engine=Engine.PYTHON) for one in declared)
    callables = {one.path: collected.callables[one.path] for one in functions}
    return Bundle(Declaration(functions=functions, node_style=tuple(ours)), callables, {})


def _read(bundle: Mapping[str, bytes], sources: dict[str, list[str]]) -> tuple[list[str], list[Diagnostic]]:
    """Which modules are Node-style, and what is wrong with them as they stand."""
    ours: list[str] = []
    wrong: list[Diagnostic] = []
    for path in sorted(bundle):
        if not _MODULE.match(path):
            continue
        sources[path] = bundle[path].decode("utf-8-sig", errors="replace").splitlines()
        try:
            ast.parse(bundle[path], MARK + path)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = error.lineno if isinstance(error, SyntaxError) else None
            wrong.append(Diagnostic(path, line or 1, f"this file cannot be compiled: {describe(error)}"))
            continue
        if engine_of(path, bundle[path]) is Engine.PYTHON:
            ours.append(path)
            if path in _SPECIAL:
                text = f'{path} cannot begin with "{_DIRECTIVE}": only actions can, in modules of their own'
                wrong.append(Diagnostic(path, 1, text))
    return ours, wrong


def _no_action(file: str, line: int, path: str) -> Diagnostic:
    text = (
        f'{path} is not an action: a module that begins with "{_DIRECTIVE}" holds actions only, move it to another one'
    )
    return Diagnostic(file, line, text)


def _dotted(path: str) -> str:
    return f"{PACKAGE}.{path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")


# --- executing --------------------------------------------------------------------------------------------------------


class BundleLoader(SourceFileLoader):
    """Loads one file of the bundle, under the name that its author knows it by."""

    def __init__(self, name: str, path: str, shown: str) -> None:
        super().__init__(name, path)
        self._shown = MARK + shown

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]  # has no options there
        """Compile it, and let whoever formats a traceback find its lines."""
        lines = bytes(data).decode("utf-8-sig", errors="replace").splitlines(keepends=True)
        linecache.cache[self._shown] = (len(data), None, lines, self._shown)
        code: CodeType = compile(data, self._shown, "exec", dont_inherit=True, optimize=_optimize)
        return code


class BundleFinder:
    """Finds the modules of the bundle for CPython's own import machinery."""

    def __init__(self, root: Path, files: Mapping[str, str]) -> None:
        self._root = root
        self._files = files
        self._folders = {PACKAGE: root}
        for path in files.values():
            parents = path.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                self._folders[".".join([PACKAGE, *parents[:depth]])] = root.joinpath(*parents[:depth])

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Answer CPython's question where a module is."""
        folder = self._folders.get(name)
        where = [str(folder)] if folder is not None else None
        shown = self._files.get(name)
        if shown is not None:
            file = str(self._root / shown)
            loader = BundleLoader(name, file, shown)
            return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=where)
        if where is None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = where
        return spec


def _execute(
    ours: Sequence[str],
    files: Mapping[str, str],
    message: Load,
    sources: dict[str, list[str]],
    log: Callable[[Level, str], None],
) -> dict[str, ModuleType]:
    token = RUNNING.set(Running(None, "import", message.deployment, _no_syscalls, log))
    wrong: dict[tuple[str, int], Diagnostic] = {}
    try:
        for path in ours:
            try:
                importlib.import_module(_dotted(path))
            except BaseException as error:
                found = _import_failure(error, path, sources)
                wrong.setdefault((found.file, found.line), found)
    finally:
        RUNNING.reset(token)
    if wrong:
        raise Refused(list(wrong.values()))
    return dict(_imported(files))


def _imported(files: Mapping[str, str]) -> Iterator[tuple[str, ModuleType]]:
    for name, path in files.items():
        # A router, a schema and their like are declared by the isolate, and are none of ours.
        if name in sys.modules and path not in _SPECIAL:
            yield name, sys.modules[name]


async def _no_syscalls(name: str, *args: Any) -> Any:
    raise RuntimeError(f"{name}: nothing can be asked of the server while the bundle is imported")


def _import_failure(error: BaseException, path: str, sources: Mapping[str, Sequence[str]]) -> Diagnostic:
    frames = frames_of(error, sources)
    file, line = (frames[-1].file, frames[-1].line) if frames else (path, 1)
    return Diagnostic(file, line, describe(error).replace(f"{PACKAGE}.", "").replace(MARK, ""))
