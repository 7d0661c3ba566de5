"""What does a guest do with the modules that it leaves to the workers, and which are they?"""

from collections.abc import Iterator

import pytest

from runtime.protocol.declaration import Engine, Kind
from runtime.protocol.messages import Load, Loaded
from runtime.protocol.node_style import engine_of
from tests.units.guests import Host

NODE_STYLE = '"use node"\nimport os, subprocess\nfrom runtime import action\n@action\nasync def send(ctx): ...\n'


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def refused(host: Host, files: dict[str, str]) -> list[tuple[str, int, str]]:
    return [(one.file, one.line, one.message) for one in host.load_refused(files)]


# --- which they are ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '"use node"',
        "'use node'\nimport os",
        '"""use node"""\n',
        "'''use node''' # all of Python",
        '"use node"; import os',
        "# -*- coding: utf-8 -*-\n\n   # a comment\n\f\n'use node'\n",
        '\ufeff"use node"\r\nimport os\r\n',
    ],
)
def test_a_python_module_is_node_style_by_its_first_statement(text: str) -> None:
    assert engine_of("m.py", text.encode()) is Engine.PYTHON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import os\n'use node'",
        "x = 'use node'",
        "'use node'.strip()",
        "'use node' + x",
        "'use node' 'and more'",
        "'use node\"",
        "r'use node'",
        "'use strict'",
        "('use node')",
        "  # only a comment",
    ],
)
def test_anything_else_is_an_ordinary_module(text: str) -> None:
    assert engine_of("m.py", text.encode()) is Engine.ISOLATE


@pytest.mark.parametrize(
    "text",
    [
        '"use node";\nimport fs from "node:fs";',
        "'use node'\n",
        "#!/usr/bin/env node\n// hi\n/* there\n * 'x' */ \"use node\"; export const a = 1",
        '"use node" // a comment',
    ],
)
def test_a_script_is_node_style_by_its_first_statement(text: str) -> None:
    assert engine_of("m.mjs", text.encode()) is engine_of("m.js", text.encode()) is Engine.NODE
    assert engine_of("m.txt", text.encode()) is Engine.ISOLATE


@pytest.mark.parametrize(
    "text", ["", "let a = 'use node'", "'use strict'", "/* 'use node'", "// 'use node'", "'use node'.a"]
)
def test_any_other_script_is_none(text: str) -> None:
    assert engine_of("m.mjs", text.encode()) is Engine.ISOLATE


@pytest.mark.parametrize("text", [" \n" * 200_000, "/*" * 200_000, "//\n" * 200_000, "/**/" * 100_000, "#\n" * 200_000])
def test_a_file_of_nothing_is_read_once(text: str) -> None:
    # With backtracking this would never end.
    assert engine_of("m.mjs", text.encode() + b"x") is Engine.ISOLATE
    assert engine_of("m.py", text.encode() + b"x") is Engine.ISOLATE


# --- what is done with them -------------------------------------------------------------------------------------------


def test_they_are_listed_and_neither_read_nor_imported(host: Host) -> None:
    declaration = host.load(
        {
            "mail/send.py": NODE_STYLE + "raise SystemExit(1)",
            "pictures.mjs": '"use node"; throw new Error()',
            "broken.py": "'use node'\nthis is no Python",
            "plain.js": "let a = 1",
            "m.py": "from runtime import query\n@query\ndef f(ctx): ...",
        }
    )
    assert declaration.node_style == ("broken.py", "mail/send.py", "pictures.mjs")
    assert [one.path for one in declaration.functions] == ["m:f"]


def test_they_are_left_alone_when_a_version_is_loaded_again(host: Host) -> None:
    host.say(Load({"a.py": NODE_STYLE.encode(), "m.py": b"x = 1"}, {}, "happy-otter-123", True, checked=True))
    assert host.expect(Loaded).declaration.node_style == ("a.py",)


@pytest.mark.parametrize(
    ("file", "code", "line"),
    [
        ("m.py", "from .mail.send import send", 1),
        ("m.py", "\nfrom .mail import send", 2),
        ("m.py", "def f():\n    from . import pictures", 2),
        ("mail/other.py", "x = 1\nfrom .send import send", 2),
        ("mail/other.py", "from ..mail import send as s", 1),
        ("mail/__init__.py", "from . import send", 1),
    ],
)
def test_an_ordinary_module_cannot_import_one(host: Host, file: str, code: str, line: int) -> None:
    found = refused(host, {"mail/send.py": NODE_STYLE, "pictures.mjs": "'use node'", file: code})
    assert [one[:2] for one in found] == [(file, line)]
    name = "pictures" if "pictures" in code else "mail.send"
    assert 'begins with "use node" and cannot be imported here' in found[0][2]
    assert f"internal.{name}.name" in found[0][2]


def test_one_may_be_named_like_an_ordinary_name_elsewhere(host: Host) -> None:
    host.load({"mail/send.py": NODE_STYLE, "send.py": "x = 1", "m.py": "from .send import x\nfrom . import send"})


def test_an_ordinary_module_refers_to_its_functions_by_name(host: Host) -> None:
    caller = (
        "from runtime import action, internal\n@action\n"
        "async def f(ctx):\n    return await ctx.run_action(internal.mail.send.send, to='x')"
    )
    host.load({"mail/send.py": NODE_STYLE, "m.py": caller})
    host.call("m:f", Kind.ACTION)
    syscall, args = host.asked()
    assert (syscall.name, args[0]) == ("run.action", "mail/send:send")
    host.answer(syscall, 7)
    assert host.returned() == 7


@pytest.mark.parametrize("file", ["http.py", "schema.py", "crons.py", "auth_config.py"])
def test_the_special_files_cannot_be_node_style(host: Host, file: str) -> None:
    found = refused(host, {file: NODE_STYLE})
    assert found[0][:2] == (file, 1)
    assert f'{file} cannot begin with "use node"' in found[0][2]


def test_two_files_of_one_module_name_are_refused(host: Host) -> None:
    found = refused(host, {"a.py": "x = 1", "a.mjs": "'use node'", "b.py": NODE_STYLE, "b.js": "'use node'"})
    assert sorted(one[0] for one in found) == ["a.mjs", "b.py"]
    assert all("have the same name" in one[2] for one in found)
    assert "same name" in refused(host, {"c.py": NODE_STYLE, "c/d.py": "x = 1"})[0][2]


def test_a_name_that_no_function_path_can_hold_is_a_warning(host: Host) -> None:
    declaration = host.load({"send-mail.mjs": "'use node'", "1.py": NODE_STYLE})
    assert declaration.node_style == ()
    assert [one.file for one in declaration.warnings] == ["1.py", "send-mail.mjs"]
