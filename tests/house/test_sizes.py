"""Is every file, function, signature, port and folder small enough to be read in one sitting?"""

import ast
from collections import Counter
from pathlib import PurePosixPath

from tests.house.reading import complaints, files, house, sources

FILE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 7
PORT_METHODS = 8
FOLDER_FILES = 10

# path: why it may be longer
LONG_FILES: dict[str, str] = {}
# path:function: why it may be longer
LONG_FUNCTIONS: dict[str, str] = {}
# path:function: why it may take more
WIDE_SIGNATURES: dict[str, str] = {}
# folder: why it may hold more
FULL_FOLDERS: dict[str, str] = {
    "tests/contracts": "one suite per port and per face that clients see",
    "tests/units": "one file per room of the house, named after it",
    "tests/walks": "one file per thing that somebody does with a server",
}


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    broken = {s.path: f"{n} lines" for s in sources() if (n := s.text.count("\n")) > FILE_LINES}
    assert complaints(broken, LONG_FILES) == []


def test_no_function_is_longer_than_fifty_lines() -> None:
    broken = {
        f"{source.path}:{function.name}": f"{length} lines"
        for source in sources()
        for function in source.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    }
    assert complaints(broken, LONG_FUNCTIONS) == []


def test_no_function_takes_more_than_seven_parameters() -> None:
    broken: dict[str, str] = {}
    for source in sources():
        for function in source.functions():
            given = function.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in named)
            if count > PARAMETERS:
                broken[f"{source.path}:{function.name}"] = f"{count} parameters"
    assert complaints(broken, WIDE_SIGNATURES) == []


def test_no_port_has_more_than_eight_methods() -> None:
    for source in house():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases
            ):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
                assert len(methods) <= PORT_METHODS, f"{source.path}: {node.name}"


def test_no_folder_holds_more_than_ten_python_files() -> None:
    rooms = Counter(
        str(PurePosixPath(path).parent)
        for path in files()
        if path.endswith(".py") and not path.endswith("__init__.py") and not path.startswith("tests/bundles/")
    )
    broken = {folder: f"{count} files" for folder, count in rooms.items() if count > FOLDER_FILES}
    assert complaints(broken, FULL_FOLDERS) == []
