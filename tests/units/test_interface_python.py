"""A typed client from a document that somebody made up."""

import ast
from typing import Any

import pytest

from control_plane.interface.openapi import document
from control_plane.interface.python import NotADocument, client_module
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, Visibility

ATTACKS = [
    "x'\"\\\n",
    '"""',
    "a\nimport os\n",
    "b: int = exec('1')",
    "}",
    "🐇",
    "",
    "None",
    "self",
    "__class__",
    "builtins",
]


def written(path: str, **more: Any) -> str:
    """The client of a deployment of one function."""
    function = FunctionDeclaration(path, Kind.QUERY, Visibility.PUBLIC, "m.py", 1, **more)
    return client_module(document("shop", 1, Declaration((function,)), "http://a", "http://b"))


def calls_of(text: str) -> set[str]:
    """Everything that a module calls by name, wherever it does."""
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return {ast.unparse(function) for function in calls}


@pytest.mark.parametrize("text", ATTACKS)
def test_no_text_of_a_document_becomes_code(text: str) -> None:
    fields = {"a": {"fieldType": {"type": "literal", "value": text}, "optional": False}}
    inner = {"type": "object", "value": {text: {"fieldType": {"type": "id", "tableName": text}, "optional": True}}}
    harmless = written("m:f", args={"type": "object", "value": fields}, returns=inner)
    compile(harmless, "client.py", "exec")
    assert not {"exec", "eval", "__import__"} & calls_of(harmless)
    assert not any(
        isinstance(node, ast.Import) and node.names[0].name == "os" for node in ast.walk(ast.parse(harmless))
    )


@pytest.mark.parametrize("text", ATTACKS)
def test_a_path_that_is_none_is_no_function(text: str) -> None:
    found = document("shop", 1, Declaration(), "http://a", "http://b")
    found["paths"]["/x"] = {"post": {"x-warren-function": {"path": f"m:{text} ", "kind": "query"}}}
    with pytest.raises(NotADocument):
        client_module(found)


@pytest.mark.parametrize("wrong", [None, [], {}, {"paths": 1}, {"paths": {"/": {"post": {"x-warren-function": {}}}}}])
def test_what_is_no_document_is_refused(wrong: Any) -> None:
    with pytest.raises(NotADocument):
        client_module(wrong)


@pytest.mark.parametrize(
    "name", ["Client", "Caller", "UNSET", "Any", "httpx", "_caller", "close", "list", "class_", "__init__"]
)
def test_a_function_may_have_any_name(name: str) -> None:
    text = written(f"{name}:{name}", args={"type": "object", "value": {}}, returns={"type": "array", "value": {}})
    scope: dict[str, Any] = {"__name__": "client"}
    exec(compile(text, "client.py", "exec"), scope)
    client = scope["Client"]("http://127.0.0.1:1")
    (room,) = (value for value in vars(client).values() if type(value).__name__.startswith("Modules"))
    (method,) = (each for each in dir(room) if not each.startswith(("__", "_caller")) or each == "_caller_")
    assert callable(getattr(room, method))


def test_the_same_document_makes_the_same_text() -> None:
    assert written("m:f", returns={"type": "number"}) == written("m:f", returns={"type": "number"})
