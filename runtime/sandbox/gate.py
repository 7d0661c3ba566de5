"""May this code run here?

Reads a tenant's module as a tree, before it is compiled, and lists everything in it that `policy` does not allow: file,
line, what was refused, what to use instead. Pure: it runs nothing and imports nothing. It is manners and depth, not the
wall; what it cannot see (names made at run time) is met again by the guards of `proxies`, and then by the kernel.

Rules
1. What the policy does not name is refused: unknown node, unknown module, unknown member, unknown double underscore.
2. Every string field of every node is looked at, because names hide in odd ones (patterns, aliases, handlers, globals).
3. All findings are returned, in the order of the lines; the tree that was checked is the tree that must be compiled.
4. A builtin or a module is recognised by its name only where the module binds that name nowhere else: no false alarms.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from string import Formatter

from runtime.protocol.declaration import Diagnostic
from runtime.sandbox import policy

_FORMATTER = Formatter()
_INDEX = re.compile(r"\[[^\]]*\]")
# Fields whose string is the tenant's data or the parser's remark, and no identifier.
_NOT_NAMES = frozenset({("Constant", "value"), ("Constant", "kind"), ("ImportFrom", "module"), ("alias", "name")})


def check(path: str, tree: ast.Module | ast.Expression) -> list[Diagnostic]:
    """List everything in this module (or this one expression) that the restricted environment refuses."""
    reading = _Reading(tree)
    found = {(line, message): None for node in ast.walk(tree) for line, message in reading.of(node)}
    return [Diagnostic(path, line, message) for line, message in sorted(found)]


def refused_name(name: str) -> str | None:
    """Say why nobody may use this word as a name of anything, or ``None``."""
    if name in policy.FRAMES:
        return f"'{name}' is not available here: frames and code cannot be reached; {policy.NODE}"
    if _is_dunder(name) and name not in policy.DEFINABLE | policy.READABLE | policy.MODULE_VARIABLES:
        return f"'{name}' is not available here: {policy.DUNDER_HINTS.get(name, policy.NODE)}"
    return None


def refused_attribute(name: str) -> str | None:
    """Say why nobody may read or set an attribute of this name, or ``None``."""
    hint = policy.ATTRIBUTES.get(name)
    if hint is not None:
        return f"'.{name}' is not available here: {hint}"
    if name in policy.MODULE_VARIABLES - policy.READABLE:
        return f"'.{name}' is not available here: import the names you need"
    return refused_name(name)


def refused_module(name: str) -> str | None:
    """Say why this module cannot be imported, or ``None``."""
    if name in policy.MODULES or name in policy.PACKAGES or name == policy.SDK:
        return None
    hint = policy.MODULE_HINTS.get(name) or policy.MODULE_HINTS.get(name.partition(".")[0])
    hint = f'{hint}, or move this to a module that begins with "use node"' if hint else policy.NODE
    if "." not in name and hint == policy.NODE:
        hint = f"a module of this bundle is imported with `from . import {name}`; {hint}"
    return f"module '{name}' is not available here: {hint}"


def refused_member(module: str, name: str) -> str | None:
    """Say why this name cannot be had from a module that is allowed, or ``None``."""
    if module == policy.SDK or f"{module}.{name}" in policy.MODULES:
        return None
    if name in policy.MODULES.get(module, ()):
        return None
    return f"{module} has no '{name}' here: {policy.MEMBER_HINTS.get(f'{module}.{name}', policy.NODE)}"


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


class _Reading:
    """One module being read: what it binds, and which of its names can only mean an allowed module."""

    def __init__(self, tree: ast.AST) -> None:
        self._bound: Counter[str] = Counter()
        imports: dict[str, str] = {}
        for node in ast.walk(tree):
            self._bound.update(_binds(node))
            if isinstance(node, ast.Import):
                imports |= {one.asname or one.name: one.name for one in node.names}
        self._modules = {
            alias: name for alias, name in imports.items() if name in policy.MODULES and self._bound[alias] == 1
        }
        # `"…".format(…)` on a literal is read here; every other way to .format is refused.
        self._literal_formats: set[int] = set()

    def of(self, node: ast.AST) -> Iterator[tuple[int, str]]:
        """Everything refused about one node alone."""
        line = getattr(node, "lineno", 1)
        for message in self._messages(node):
            yield line, message

    def _messages(self, node: ast.AST) -> Iterator[str]:
        kind = type(node).__name__
        if kind not in policy.NODES:
            hint = policy.NODE_HINTS.get(kind, policy.NODE)
            yield f"{_grammar(kind)} is not available here: {hint}"
        yield from _names(node, kind)
        yield from (f"'{name}' cannot be assigned here" for name in _binds(node) if name in policy.READ_ONLY)
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as template), attr="format") as function):
                self._literal_formats.add(id(function))
                yield from _fields(template)
            case ast.Attribute():
                yield from self._attribute(node)
            case ast.Name():
                yield from self._name(node)
            case ast.MatchClass():
                yield from _class_pattern(node)
            case ast.ClassDef(keywords=keywords):
                if any(one.arg in ("metaclass", None) for one in keywords):
                    yield "metaclasses are not available here: use __init_subclass__ or a class decorator"
            case ast.Import() | ast.ImportFrom():
                yield from _import(node)

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        if node.attr == "format" and id(node) in self._literal_formats:
            return
        reason = refused_attribute(node.attr)
        if reason is None and isinstance(node.value, ast.Name) and node.value.id in self._modules:
            reason = refused_member(self._modules[node.value.id], node.attr)
        if reason:
            yield reason

    def _name(self, node: ast.Name) -> Iterator[str]:
        hint = policy.BUILTIN_HINTS.get(node.id)
        if hint and isinstance(node.ctx, ast.Load) and not self._bound[node.id]:
            yield f"'{node.id}' is not available here: {hint}, or move this to a module that begins with \"use node\""


def _names(node: ast.AST, kind: str) -> Iterator[str]:
    """Refuse words in every string field of a node, those that exist and those a new grammar brings."""
    for field, value in ast.iter_fields(node):
        if (kind, field) in _NOT_NAMES or (kind, field) in (("Attribute", "attr"), ("MatchClass", "kwd_attrs")):
            continue  # attributes have a stricter rule, imports one of their own
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and (reason := refused_name(text)):
                yield reason


def _class_pattern(node: ast.MatchClass) -> Iterator[str]:
    if node.patterns:
        yield "positional class patterns are not available here: write `case Point(x=a)`, `case str() as s`"
    yield from filter(None, map(refused_attribute, node.kwd_attrs))


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from filter(None, (refused_module(one.name) for one in node.names))
        return
    names = [one.name for one in node.names]
    if not node.level:
        module = node.module or ""
        if reason := refused_module(module):
            yield reason
        elif "*" not in names:
            yield from filter(None, (refused_member(module, name) for name in names))
        return
    if "*" in names:
        yield "`import *` from a module of the bundle is not available here: name what you import"
    words = [word for word in (node.module or "").split(".") if word]
    yield from filter(None, map(refused_name, [*words, *names]))


def _fields(template: str) -> Iterator[str]:
    """Refuse replacement fields that walk where an expression could not: ``"{0.__class__}"``."""
    try:
        parts = [(name, spec or "") for _, name, spec, _ in _FORMATTER.parse(template) if name is not None]
    except ValueError:
        return  # the call raises the same error when it runs
    for name, spec in parts:
        words = _INDEX.sub("", name).split(".")[1:]
        yield from filter(None, map(refused_attribute, words))
        yield from _fields(spec)


def _binds(node: ast.AST) -> list[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(one.asname or one.name) for one in names]
        case ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name):
            return [name]
        case ast.MatchMapping(rest=str() as name) | ast.ExceptHandler(name=str() as name):
            return [name]
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return names
        case _:
            return []


def _grammar(kind: str) -> str:
    known = {
        "TryStar": "`except*`",
        "TypeAlias": "the `type` statement",
        "TypeVar": "a type parameter in brackets",
        "ParamSpec": "a type parameter in brackets",
        "TypeVarTuple": "a type parameter in brackets",
    }
    return known.get(kind, f"this grammar ({kind})")
