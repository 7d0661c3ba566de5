"""Does every file say what it is for, keep its types, and keep quiet about the machine it was written on?"""

import ast
import re
from pathlib import PurePosixPath

import pytest

from tests.house.reading import ROOT, files, house, sources

# A module of that name collects whatever has no home; find the home instead.
NO_HOME = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"}

# Split, so that this page does not find itself.
MACHINES_AND_HOSTS = [
    r"/wor" r"k/(main|shared)\b",
    r"/tm" r"p/(wenv|brief)",
    r"/opt/" r"(pypi|wheels)",
    r"/ho" r"me/[a-z]+/",
    r"\bpypi" r"\.org\b",
    r"python" r"hosted\.org",
    r"registry\." r"npmjs\.org",
    r"--(extra-)?index" r"-url",
]
# Attacks look for what lies on real machines, and may name it.
MAY_NAME_PATHS = ("tests/escapes/",)
MARKS_OF_UNFINISHED_WORK = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")


def test_every_file_of_ours_says_what_it_is_for() -> None:
    # A file of tests is named after its room, and each test is a sentence.
    told = [source for source in sources() if source.text.strip() and "/test_" not in source.path]
    silent = [source.path for source in told if not ast.get_docstring(source.tree)]
    assert silent == []


def test_every_public_function_of_the_house_says_what_it_does() -> None:
    silent = [
        f"{source.path}:{node.name}"
        for source in house()
        for node in ast.iter_child_nodes(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_function_is_typed() -> None:
    untyped = []
    for source in sources():
        for function in source.functions():
            given = function.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            bare = [a.arg for a in named if a and a.annotation is None and a.arg not in ("self", "cls")]
            if bare or function.returns is None:
                untyped.append(f"{source.path}:{function.lineno} {function.name}")
    assert untyped == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = [
        path for path in files() if path.endswith(".py") and NO_HOME & set(PurePosixPath(path).with_suffix("").parts)
    ]
    assert drawers == []


def test_every_silenced_check_has_its_reason_beside_it() -> None:
    silenced = re.compile(r"#\s*(type: " r"ignore|no" r"qa)(\[[\w, -]+\]|: ?[A-Z]+\d+(, ?[A-Z]+\d+)*)?(?P<reason>.*)")
    bare = [
        f"{source.path}:{number}"
        for source in house()
        for number, line in enumerate(source.text.splitlines(), 1)
        if (found := silenced.search(line)) and len(found["reason"].strip(" #-:")) < 8
    ]
    assert bare == []


@pytest.mark.parametrize("pattern", MACHINES_AND_HOSTS)
def test_nothing_names_the_machine_it_was_written_on(pattern: str) -> None:
    guilty = [
        path
        for path in files()
        if not path.startswith(MAY_NAME_PATHS)
        and re.search(pattern, (ROOT / path).read_text("utf-8", errors="replace"))
    ]
    assert guilty == []


def test_nothing_is_left_for_later_in_a_comment() -> None:
    unfinished = [source.path for source in sources() if MARKS_OF_UNFINISHED_WORK.search(source.text)]
    assert unfinished == []
