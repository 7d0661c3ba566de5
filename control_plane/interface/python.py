"""How is a deployment's OpenAPI document turned into a typed Python client?

One module that needs nothing but httpx: a class for each module of the bundle, a method for each function, and types
for what goes in and comes out. What is written depends on the document alone: the same document, the same text.

Rules
1. The document is a stranger's word: of it only function paths, identifiers and quoted text are written.
2. The module passes mypy's strict mode as it stands.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.interface import preamble
from control_plane.interface.naming import Scope, is_parameter
from control_plane.interface.types import BUILTINS, Types
from runtime.names import FunctionPath, InvalidName, parse_function_path

_LINE = "# --- copied from here ---\n"
_NAME = re.compile(r"[a-z0-9-]{1,63}\Z")
_KINDS = ("query", "mutation", "action")
_IMPORTS = """
from __future__ import annotations

import base64
import builtins
import math
import struct
from collections.abc import Mapping
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal, Never, NewType, NotRequired, Self, TypedDict

import httpx
"""


class NotADocument(ValueError):
    """This is no OpenAPI document of a deployment; the message says why."""


@dataclass(frozen=True, slots=True)
class _Function:
    path: FunctionPath
    kind: str
    arguments: Mapping[str, Any]
    value: Any


@dataclass(slots=True)
class _Folder:
    """A module of the bundle, or a folder of modules, or both."""

    functions: list[_Function] = field(default_factory=list)
    inner: dict[str, "_Folder"] = field(default_factory=dict)


def client_module(document: Any) -> str:
    """The text of a client for the deployment that this OpenAPI document describes; raise `NotADocument`."""
    functions = _functions(document)
    root = _Folder()
    for function in functions:
        place = root
        for part in function.path.module.split("/"):
            place = place.inner.setdefault(part, _Folder())
        place.functions.append(function)
    writer = _Writer()
    classes = writer.classes(root)
    title = str(document.get("info", {}).get("title"))
    head = (
        f'"""A typed client of {f"the deployment {title}" if _NAME.match(title) else "a deployment"}.\n\n'
        'Made by ``warren codegen`` from its OpenAPI document: change the functions, not this file.\n"""\n\n'
        '# mypy: disable-error-code="no-any-return"\n# ruff: noqa\n'
    )
    common = Path(preamble.__file__).read_text("utf-8").partition(_LINE)[2]
    text = "\n\n".join([common.strip("\n") + "\n", *(f"{each}\n" for each in (*writer.types.definitions, *classes))])
    return head + _IMPORTS + "\n\n" + text


def _functions(document: Any) -> list[_Function]:
    paths = document.get("paths") if isinstance(document, Mapping) else None
    if not isinstance(paths, Mapping):
        raise NotADocument("this is no OpenAPI document: it has no paths")
    found = []
    for item in paths.values():
        operation = item.get("post") if isinstance(item, Mapping) else None
        about = operation.get("x-warren-function") if isinstance(operation, Mapping) else None
        if isinstance(operation, Mapping) and isinstance(about, Mapping):
            found.append(_function(operation, about))
    return sorted(found, key=lambda each: each.path)


def _function(operation: Mapping[str, Any], about: Mapping[str, Any]) -> _Function:
    try:
        path = parse_function_path(str(about.get("path")))
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        arguments, value = body["properties"]["args"], answer["oneOf"][0]["properties"]["value"]
    except (InvalidName, KeyError, IndexError, TypeError) as error:
        raise NotADocument(f"an operation of this document is none of a function: {error}") from None
    kind = about.get("kind")
    if kind not in _KINDS or not isinstance(arguments, Mapping):
        raise NotADocument(f"{path} is neither a query nor a mutation nor an action of named arguments")
    return _Function(path, str(kind), arguments, value)


def _names_of(text: str) -> set[str]:
    """Everything that a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                names |= {each.asname or each.name for each in imported}
    return names


class _Writer:
    def __init__(self) -> None:
        self._reserved = _names_of(_IMPORTS) | _names_of(Path(preamble.__file__).read_text("utf-8"))
        self._names = Scope(self._reserved | {"Client"} | BUILTINS)
        self.types = Types(self._names)

    def classes(self, root: _Folder) -> list[str]:
        """The classes of everything under the root, what is used first, and `Client` last."""
        written: list[str] = []
        attributes = self._inner(root, ("Modules",), Scope({*self._reserved, *_ATTRIBUTES_OF_A_CALLER}), written)
        lines = [f"        self.{attribute} = {name}(self)" for attribute, name in attributes]
        written.append(
            "class Client(Caller):\n"
            '    """The functions of the deployment. ``url`` is its cloud URL."""\n\n'
            "    def __init__(\n        self,\n        url: str,\n        *,\n        token: str | None = None,\n"
            "        headers: Mapping[str, str] | None = None,\n        http: httpx.Client | None = None,\n"
            "    ) -> None:\n        super().__init__(url, token=token, headers=headers, http=http)\n"
            + "".join(f"{line}\n" for line in lines).rstrip("\n")
        )
        return written

    def _inner(
        self, folder: _Folder, words: tuple[str, ...], scope: Scope, written: list[str]
    ) -> list[tuple[str, str]]:
        """The attributes of what lies in a folder, with the names of their classes, which are written before."""
        return [
            (scope.attribute(part), self._class((*words, part), inner, written))
            for part, inner in sorted(folder.inner.items())
        ]

    def _class(self, words: tuple[str, ...], folder: _Folder, written: list[str]) -> str:
        name = self._names.type(*words)
        scope = Scope({*self._reserved, "_caller"})
        methods = [(scope.attribute(each.path.name), each) for each in folder.functions]
        attributes = self._inner(folder, words, scope, written)
        # Within the class these mean its own attributes.
        hidden = {method for method, _ in methods} | {attribute for attribute, _ in attributes}
        lines = [
            f"class {name}:",
            f'    """``{"/".join(words[1:])}``"""\n',
            "    def __init__(self, caller: Caller) -> None:",
            "        self._caller = caller",
            *(f"        self.{attribute} = {inner}(caller)" for attribute, inner in attributes),
        ]
        for method, function in methods:
            lines += ["", *self._method(method, function, hidden)]
        written.append("\n".join(lines))
        return name

    def _method(self, method: str, function: _Function, hidden: set[str]) -> list[str]:
        path, words = function.path, (function.path.module, function.path.name)
        parameters, given = self._parameters(function.arguments, words)
        shown = [_outside(parameter, hidden) for parameter in parameters]
        result = _outside(self.types.annotation(function.value, *words, "Result"), hidden)
        inside = f"self._caller.call({function.kind!r}, {str(path)!r}, {given})"
        return [
            f"    def {method}({', '.join(['self', *shown])}) -> {result}:",
            f'        """The {function.kind} ``{path}``."""',
            f"        return {inside}",
        ]

    def _parameters(self, arguments: Mapping[str, Any], words: tuple[str, ...]) -> tuple[list[str], str]:
        """The parameters of a method, and the expression of the arguments to send."""
        fields = arguments.get("properties")
        if not isinstance(fields, Mapping):
            if isinstance(arguments.get("additionalProperties"), Mapping):
                return [f"arguments: {self.types.annotation(arguments, *words, 'Args')}"], "arguments"
            return ["/", "**arguments: Any"], "arguments"
        if not all(is_parameter(name) for name in fields):
            return [f"arguments: {self.types.annotation(arguments, *words, 'Args')}"], "arguments"
        required = set(arguments.get("required") or ())
        annotated = {name: self.types.annotation(schema, *words, name) for name, schema in fields.items()}
        parameters = [f"{name}: {annotated[name]}" for name in fields if name in required]
        parameters += [f"{name}: {annotated[name]} | Unset = UNSET" for name in fields if name not in required]
        given = "{" + ", ".join(f"{name!r}: {name}" for name in fields) + "}"
        return (["*", *parameters] if parameters else []), given


_ATTRIBUTES_OF_A_CALLER = frozenset(name for name in dir(preamble.Caller) if not name.startswith("__")) | {
    *("url", "token", "_headers", "_own", "_http")
}
_WORD = re.compile(r"(?<![\w.'\"])(list|dict|str|bytes|bool|float|int)\b(?!['\"])")


def _outside(text: str, hidden: set[str]) -> str:
    """An annotation as it must be written where these names mean something else."""
    name, colon, annotation = text.partition(": ")
    if not colon:
        name, annotation = "", text
    shown = _WORD.sub(lambda found: f"builtins.{found[1]}" if found[1] in hidden else found[1], annotation)
    return f"{name}{colon}{shown}"
