"""What is in this bundle, and does it import?

Reads every module of a bundle, refuses what this server cannot run, executes the modules once as one package with
relative imports, and collects what they declare. Imports behave as CPython's do (circular ones too), because CPython
does them: the bundle is one more finder.

Rules
1. A bundle loads whole or not at all; every reason is a `Diagnostic` with file, line and a sentence.
2. With manners, modules see curated builtins and curated modules only; without, those of the process. The kernel's wall
   stands in both cases.
3. While a bundle is imported the clock is frozen, random is seeded and nothing can be asked of the host.
4. Node-style modules are listed and not read: nothing here imports them, and no other module may.
"""

import ast
import builtins
import functools
import importlib
import importlib.machinery
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import CodeType, ModuleType
from typing import Any

from runtime import limits
from runtime.protocol.declaration import Declaration, Diagnostic, Engine
from runtime.protocol.messages import Level, Load
from runtime.protocol.node_style import engine_of, module_of
from runtime.sandbox import gate, importer
from runtime.sandbox.guest.collecting import collect
from runtime.sandbox.guest.http_calls import Route
from runtime.sandbox.guest.tracebacks import MARK, CallMistake, TimeLimit, describe, frames_of
from runtime.sandbox.proxies.log_lines import say
from runtime.sdk.functions import RegisteredFunction
from runtime.sdk.running import RUNNING, Running

PACKAGE = "_bundle"
_MODULE = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py\Z")
_SCRIPT = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.m?js\Z")
_SEED = 20
_NEVER_NODE_STYLE = {
    "http.py": "routes are made",
    "schema.py": "the schema is made",
    "crons.py": "crons are made",
    "auth_config.py": "identity providers are named",
}


class Refused(Exception):
    """The bundle cannot be loaded, for these reasons."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} reasons")
        self.diagnostics = tuple(diagnostics)


@dataclass(slots=True)
class Bundle:
    """A loaded bundle: what it declares, what can be called, and the source lines that tracebacks show."""

    declaration: Declaration
    functions: dict[str, RegisteredFunction]
    routes: dict[str, Route]


@dataclass(slots=True)
class _Parsed:
    """The modules of a bundle before anything ran: dotted name → file and code, and what was wrong."""

    files: dict[str, str] = field(default_factory=dict)
    code: dict[str, CodeType] = field(default_factory=dict)
    node_style: dict[str, str] = field(default_factory=dict)
    wrong: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)


def load(message: Load, sources: dict[str, list[str]], log: Callable[[Level, str], None]) -> Bundle:
    """Import a bundle; raise `Refused` with every reason why it cannot be. ``sources`` is filled with its lines."""
    parsed = _parse(message, sources)
    if parsed.wrong:
        raise Refused(parsed.wrong)
    modules = _execute(parsed, message, sources, log)
    collected = collect(modules, parsed.files, sources)
    if collected.wrong:
        raise Refused(collected.wrong)
    declaration = Declaration(
        functions=tuple(collected.functions),
        routes=collected.routes,
        cors=collected.cors,
        warnings=tuple(parsed.warnings),
        auth=collected.auth,
        schema=collected.schema,
        crons=collected.crons,
        node_style=tuple(sorted(parsed.node_style.values())),
    )
    return Bundle(declaration, collected.callables, collected.handlers)


# --- reading ----------------------------------------------------------------------------------------------------------


def _parse(message: Load, sources: dict[str, list[str]]) -> _Parsed:
    parsed, files = _Parsed(), message.bundle
    left = {path for path, data in files.items() if engine_of(path, data) is not Engine.ISOLATE}
    for path in sorted(left):
        _leave_to_workers(path, parsed)
    for path in sorted(files.keys() - left):
        if _MODULE.match(path):
            _parse_module(path, message, sources, parsed)
        elif path.endswith(".py"):
            text = f"{path} is not imported: the name of a module is made of letters, digits and underscores"
            parsed.warnings.append(Diagnostic(path, 1, text))
    parsed.wrong.extend(_ambiguous(parsed.files | parsed.node_style))
    for name in parsed.files.keys() & parsed.node_style:
        parsed.wrong.append(_same_name(parsed.files[name], parsed.node_style[name]))
    return parsed


def _same_name(one: str, other: str) -> Diagnostic:
    return Diagnostic(other, 1, f"{one} and {other} have the same name, and so would their functions: rename one")


def _leave_to_workers(path: str, parsed: _Parsed) -> None:
    if path in _NEVER_NODE_STYLE:
        text = f'{path} cannot begin with "use node": {_NEVER_NODE_STYLE[path]} where the bundle is loaded'
        parsed.wrong.append(Diagnostic(path, 1, text))
    elif _MODULE.match(path) or _SCRIPT.match(path):
        same = parsed.node_style.setdefault(_dotted(path), path)
        if same != path:
            parsed.wrong.append(_same_name(same, path))
    else:
        text = f"{path} is not run: the name of a module is made of letters, digits and underscores"
        parsed.warnings.append(Diagnostic(path, 1, text))


def _parse_module(path: str, message: Load, sources: dict[str, list[str]], parsed: _Parsed) -> None:
    data = message.bundle[path]
    try:
        sources[path] = data.decode("utf-8-sig", errors="replace").splitlines()
        if message.checked:
            # A tree of objects, looked at node by node, costs an isolate a megabyte and a cold start a millisecond.
            name = _dotted(path)
            parsed.files[name] = path
            parsed.code[name] = compile(data, MARK + path, "exec", dont_inherit=True)
            return
        tree = ast.parse(data, MARK + path)
        refused = gate.check(path, tree) if message.manners else []
        refused += _imports_of_workers(path, tree, parsed.node_style)
        parsed.wrong.extend(refused)
        if not refused:
            name = _dotted(path)
            parsed.files[name] = path
            parsed.code[name] = compile(tree, MARK + path, "exec", dont_inherit=True)
    except SyntaxError as error:
        shown = f": {error.text.strip()[:200]}" if error.text and error.text.strip() else ""
        parsed.wrong.append(Diagnostic(path, error.lineno or 1, f"SyntaxError: {error.msg}{shown}"))
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        parsed.wrong.append(Diagnostic(path, 1, f"this file cannot be compiled: {describe(error)}"))


def _imports_of_workers(path: str, tree: ast.Module, node_style: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Find the import statements of an ordinary module that name a Node-style one."""
    if not node_style:
        return
    package = _dotted(path).split(".")
    if not path.endswith("__init__.py"):
        package.pop()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not 0 < node.level <= len(package):
            continue
        parts = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
        named = ".".join(part for part in parts if part)
        for name in (named, *(f"{named}.{one.name}" for one in node.names)):
            if name in node_style:
                module = module_of(node_style[name]).replace("/", ".")
                text = (
                    f'{node_style[name]} begins with "use node" and cannot be imported here: '
                    f"refer to its functions as internal.{module}.name, api.{module}.name or by a string"
                )
                yield Diagnostic(path, node.lineno, text)


def _ambiguous(files: Mapping[str, str]) -> Iterator[Diagnostic]:
    for name, path in files.items():
        folder = module_of(path) + "/"
        if not path.endswith("__init__.py") and any(other.startswith(folder) for other in files.values()):
            yield Diagnostic(path, 1, f"{path} and the folder {folder} have the same name: rename one of them ({name})")


def _dotted(path: str) -> str:
    dotted = f"{PACKAGE}.{module_of(path).replace('/', '.')}"
    return dotted.removesuffix(".__init__")


# --- executing --------------------------------------------------------------------------------------------------------


class BundleFinder:
    """Finds and executes the modules of one bundle for CPython's own import machinery."""

    def __init__(self, parsed: _Parsed, make_globals: Callable[[], dict[str, Any]]) -> None:
        self._parsed = parsed
        self._make_globals = make_globals
        self._packages = {PACKAGE}
        for name, path in parsed.files.items():
            parents = name.split(".") if path.endswith("__init__.py") else name.split(".")[:-1]
            self._packages.update(".".join(parents[: depth + 1]) for depth in range(len(parents)))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Answer CPython's question where a module is."""
        if name in self._packages:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # duck-typed
        if name in self._parsed.code:
            return importlib.machinery.ModuleSpec(name, self)  # type: ignore[arg-type]  # duck-typed
        return None

    def forget(self) -> None:
        """Take the modules back, so that another bundle can be loaded in this process."""
        for name in (*self._packages, *self._parsed.code):
            sys.modules.pop(name, None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Let CPython make the module object."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        names = module.__dict__
        names.pop("__loader__", None)
        names.update(self._make_globals())
        code = self._parsed.code.get(module.__name__)
        if code is not None:
            exec(code, names)
        # It leads to the loader, and is needed only to tell circular imports from missing names, and of packages.
        if module.__name__ not in self._packages:
            names.pop("__spec__", None)


def _execute(
    parsed: _Parsed, message: Load, sources: dict[str, list[str]], log: Callable[[Level, str], None]
) -> dict[str, ModuleType]:
    known = _install(parsed, message.manners)
    token = RUNNING.set(
        Running(None, "import", message.deployment, _no_syscalls, log, now=_FROZEN, random=Random(_SEED))
    )
    wrong: dict[tuple[str, int], Diagnostic] = {}
    modules: dict[str, ModuleType] = {}
    try:
        for name in parsed.code:
            try:
                modules[name] = known(name)
            except BaseException as error:
                found = _import_failure(error, parsed.files[name], sources)
                wrong.setdefault((found.file, found.line), found)
                if isinstance(error, TimeLimit):
                    break
    finally:
        RUNNING.reset(token)
    if wrong:
        raise Refused(list(wrong.values()))
    for module in modules.values():
        # It leads to the loader, and the import machinery needs it only while something is still being imported.
        vars(module).pop("__spec__", None)
    return modules


def forget() -> None:
    """Take back the bundle that this process has loaded, if it has."""
    # Not by looking through sys.modules: touching every name there would copy every page it lies on.
    for earlier in [one for one in sys.meta_path if isinstance(one, BundleFinder)]:
        earlier.forget()
        sys.meta_path.remove(earlier)


def _install(parsed: _Parsed, manners: bool) -> Callable[[str], ModuleType]:
    forget()
    names = {name.split(".")[1] for name in parsed.files if "." in name}
    importing = functools.partial(_import, names, importer.import_allowed if manners else None)
    visible = (
        importer.make_builtins(importing) if manners else {**vars(builtins), "__import__": importing, "print": say}
    )
    sys.meta_path.append(BundleFinder(parsed, lambda: {"__builtins__": visible}))
    return importlib.import_module


def _import(
    own: set[str],
    allowed: Callable[[str, Sequence[str] | None], Any] | None,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Any = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    if level > 0:
        module = importlib.__import__(name, globals, locals, fromlist or (), level)
        _bind_unfinished(module, fromlist or ())
        return module
    try:
        return (
            importlib.__import__(name, globals, locals, fromlist or (), 0)
            if allowed is None
            else allowed(name, fromlist)
        )
    except ImportError as error:
        if name.partition(".")[0] in own:
            raise ImportError(f"{name} is a module of this bundle: write 'from . import {name}'") from error
        raise


def _bind_unfinished(package: ModuleType, names: Sequence[str]) -> None:
    """Let ``from . import b`` find a ``b`` that is still being executed, as the interpreter's own import does."""
    for name in names:
        unfinished = sys.modules.get(f"{package.__name__}.{name}")
        if unfinished is not None and not hasattr(package, name):
            setattr(package, name, unfinished)


async def _no_syscalls(name: str, *args: Any) -> Any:
    raise RuntimeError(f"{name}: nothing can be asked of the server while the bundle is imported")


def _import_failure(error: BaseException, path: str, sources: Mapping[str, Sequence[str]]) -> Diagnostic:
    frames = frames_of(error, sources)
    file, line = (frames[-1].file, frames[-1].line) if frames else (path, 1)
    if isinstance(error, TimeLimit):
        return Diagnostic(file, line, f"importing the bundle took too long, limit {limits.LOAD_TIME} ms")
    text = error.args[0] if type(error) is CallMistake else describe(error)
    # CPython looks for a module's place on a disk, and a bundle has none.
    return Diagnostic(file, line, text.replace(f"{PACKAGE}.", "").replace(MARK, "").replace(" (unknown location)", ""))


# 2020-01-01: import time has no request whose clock it could show.
_FROZEN = 1_577_836_800_000.0
