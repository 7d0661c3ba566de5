from collections.abc import Iterator

import pytest

from runtime.protocol import values
from runtime.protocol.declaration import Calendar, CronDeclaration, Interval, Kind, Shape, Visibility
from tests.units.guests import Host

MANNERS = pytest.mark.parametrize("manners", [True, False], ids=["with manners", "without manners"])


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def refused(host: Host, **files: str) -> list[tuple[str, int, str]]:
    bundle = {name.replace("__", "/") + ".py": text for name, text in files.items()}
    return [(one.file, one.line, one.message) for one in host.load_refused(bundle)]


# --- what is declared -------------------------------------------------------------------------------------------------


def test_functions_are_named_by_module_and_attribute(host: Host) -> None:
    code = (
        "from runtime import *\n\n@internal_mutation\n"
        "async def purge(ctx, user: Id['users'], *, hard: bool = False) -> None: ..."
    )
    declared = host.load({"admin/users.py": code}).functions
    assert len(declared) == 1
    assert (declared[0].path, declared[0].kind, declared[0].visibility, declared[0].file, declared[0].line) == (
        "admin/users:purge",
        Kind.MUTATION,
        Visibility.INTERNAL,
        "admin/users.py",
        3,
    )
    assert declared[0].args == {
        "type": "object",
        "value": {
            "user": {"fieldType": {"type": "id", "tableName": "users"}, "optional": False},
            "hard": {"fieldType": {"type": "boolean"}, "optional": True},
        },
    }
    assert declared[0].returns == {"type": "null"}


def test_an_imported_or_private_name_registers_nothing(host: Host) -> None:
    declared = host.load(
        {
            "a.py": "from .b import shared\nfrom runtime import query\n@query\ndef _hidden(ctx): ...",
            "b.py": "from runtime import query\n@query\ndef shared(ctx): ...\nagain = shared",
        }
    )
    assert [one.path for one in declared.functions] == ["b:shared"]


def test_a_function_made_by_a_helper_is_found_where_it_is_named(host: Host) -> None:
    declared = host.load(
        {
            "helpers.py": "from runtime import query\ndef make(n):\n"
            "    @query\n    def made(ctx):\n        return n\n    return made",
            "m.py": "from .helpers import make\none = make(1)\ntwo = make(2)",
        }
    )
    assert [one.path for one in declared.functions] == ["m:one", "m:two"]
    host.call("m:two")
    assert host.returned() == 2


def test_routes_are_declared_with_their_handlers_names(host: Host) -> None:
    code = (
        "from runtime import *\nfrom .m import named\nhttp = HttpRouter(cors=Cors(allow_origins=['*']))\n"
        "http.route(path='/a', method='GET', handler=named)\n"
        "@http.route(path_prefix='/b/', method='POST')\n@http_action\nasync def here(ctx, request): ...\n"
        "http.route(path='/c', method='GET', handler=http_action(lambda ctx, request: None))\n"
    )
    declaration = host.load(
        {"http.py": code, "m.py": "from runtime import *\n@http_action\nasync def named(ctx, request): ..."}
    )
    assert declaration.cors is not None
    routes = declaration.routes
    assert routes is not None
    assert [(one.method, one.pattern, one.shape, one.handler, one.file, one.line) for one in routes] == [
        ("GET", "/a", Shape.EXACT, "m:named", "http.py", 4),
        ("POST", "/b/", Shape.PREFIX, "http:here", "http.py", 5),
        ("GET", "/c", Shape.EXACT, "<http.py:8>", "http.py", 8),
    ]


def test_a_bundle_without_routes_says_so(host: Host) -> None:
    assert host.load({"m.py": "x = 1"}).routes is None


def test_what_cannot_be_imported_by_its_name_is_a_warning(host: Host) -> None:
    warnings = host.load({"my-script.py": "1", "notes.txt": "x", "lib.js": "var a = 'use node'"}).warnings
    assert [one.file for one in warnings] == ["my-script.py"]


# --- imports ----------------------------------------------------------------------------------------------------------


@MANNERS
def test_modules_import_each_other_relatively(manners: bool) -> None:
    host = Host(manners)
    host.load(
        {
            "a.py": "from runtime import query\nfrom . import b\nfrom .deep.er import c\nfrom .deep import er\n@query\n"
            "def q(ctx):\n    return [b.B, c(), er.D]",
            "b.py": "B = 'b'",
            "deep/er.py": "from ..b import B\nfrom .. import b\nD = 'd'\n"
            "def c():\n    from .late import L\n    return B + b.B + L",
            "deep/late.py": "L = 'late'",
        }
    )
    host.call("a:q")
    assert host.returned() == ["b", "bblate", "d"]
    host.close()


@MANNERS
def test_circular_imports_work_as_python_does_them(manners: bool) -> None:
    host = Host(manners)
    host.load(
        {
            "a.py": "from runtime import query\nfrom . import b\nA = 1\n@query\ndef q(ctx):\n    return b.total()",
            "b.py": "from . import a\ndef total():\n    return a.A + 1",
        }
    )
    host.call("a:q")
    assert host.returned() == 2
    host.close()


@MANNERS
def test_a_circular_import_of_a_name_fails_with_file_and_line(manners: bool) -> None:
    host = Host(manners)
    found = refused(host, a="from .b import B\nA = 1", b="from .a import A\nB = 1")
    assert ("b.py", 1) in [(file, line) for file, line, _ in found]
    assert all("_bundle" not in message and "unknown location" not in message for _, _, message in found)
    host.close()


@MANNERS
def test_each_module_runs_once(manners: bool) -> None:
    host = Host(manners)
    host.load(
        {
            "a.py": "from .counter import seen\nseen.append('a')",
            "b.py": "from .counter import seen\nseen.append('b')",
            "counter.py": "from runtime import query\nseen = []\n@query\ndef q(ctx):\n    return seen",
        }
    )
    host.call("counter:q")
    assert host.returned() == ["a", "b"]
    host.close()


def test_a_file_called_like_the_standard_library_does_not_shadow_it(host: Host) -> None:
    host.load(
        {
            "json.py": "x = 1",
            "m.py": "import json\nfrom runtime import query\n@query\ndef q(ctx):\n    return json.dumps([1])",
        }
    )
    host.call("m:q")
    assert host.returned() == "[1]"


def test_a_package_may_have_code_of_its_own(host: Host) -> None:
    host.load(
        {
            "deep/__init__.py": "X = 1",
            "m.py": "from .deep import X\nfrom runtime import query\n@query\ndef q(ctx):\n    return X",
        }
    )
    host.call("m:q")
    assert host.returned() == 1


def test_a_module_of_the_bundle_imported_absolutely_gets_a_hint(host: Host) -> None:
    found = refused(host, a="def f():\n    pass\nimport b", b="x = 1")
    assert found[0][:2] == ("a.py", 3)
    assert "from . import b" in found[0][2]


def test_dataclasses_and_typed_dicts_work_in_a_bundle(host: Host) -> None:
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import TypedDict\n"
        "from runtime import query\n@query\n"
        "def q(ctx, message: Message) -> str:\n    return Point(1, message['text']).label\n"
        "class Message(TypedDict, total=False):\n    text: str\n"
        "@dataclass\nclass Point:\n    x: int\n    label: str = ''\n"
    )
    host.load({"m.py": code})
    host.call("m:q", message={"text": "hi"})
    assert host.returned() == "hi"


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_syntax_error_shows_file_line_and_text(host: Host) -> None:
    assert refused(host, m="x = 1\ndef broken(:\n    pass") == [
        ("m.py", 2, "SyntaxError: invalid syntax: def broken(:")
    ]


def test_every_broken_file_is_reported(host: Host) -> None:
    assert [one[0] for one in refused(host, a="(", b="x = 1", c="import os")] == ["a.py", "c.py"]


@pytest.mark.parametrize("data", [b"x = '\0'", b"# coding: nonsense\n", b"\xff", b"(" * 5000 + b")" * 5000])
def test_what_is_no_python_text_is_refused(host: Host, data: bytes) -> None:
    assert [one.file for one in host.load_refused({"m.py": data})] == ["m.py"]


def test_an_error_at_import_shows_the_deepest_line_of_the_bundle(host: Host) -> None:
    found = refused(host, a="from .b import f\n\nf()", b="def f():\n    return {}['x']")
    assert found == [("b.py", 2, "KeyError: 'x'")]


CRONS = "from runtime import *\nfrom .jobs import sweep\ncrons = Crons()\n"
JOBS = "from runtime import *\n@internal_mutation\nasync def sweep(ctx): pass\n@query\nasync def look(ctx): pass\n"


def test_crons_are_declared_with_their_place(host: Host) -> None:
    code = CRONS + "crons.interval('a', sweep, {'n': 1}, minutes=2)\ncrons.daily('b', internal.jobs.sweep, hour=3)\n"
    found = host.load({"crons.py": code, "jobs.py": JOBS}).crons
    assert found == (
        CronDeclaration("a", Interval(120), "jobs:sweep", values.encode({"n": 1}), "crons.py", 4),
        CronDeclaration("b", Calendar("0 3 * * *", "UTC"), "jobs:sweep", values.encode({}), "crons.py", 5),
    )


@pytest.mark.parametrize(
    "line, word",
    [
        ("crons.interval('a', sweep, seconds=0)", "seconds"),
        ("crons.interval('a', sweep)", "one of them"),
        ("crons.cron('a', '* * *', sweep)", "five"),
        ("crons.daily('a', look, hour=1)", "a query"),
    ],
)
def test_a_wrong_cron_is_found_at_its_line(host: Host, line: str, word: str) -> None:
    found = refused(host, crons=CRONS + "from .jobs import look\n" + line, jobs=JOBS)
    assert found[0][:2] == ("crons.py", 5)
    assert word in found[0][2]


def test_a_cron_of_a_function_without_a_path_is_found_at_its_line(host: Host) -> None:
    code = (
        CRONS
        + "\ndef make():\n  async def inner(ctx): pass\n  return mutation(inner)\ncrons.daily('a', make(), hour=1)"
    )
    found = refused(host, crons=code, jobs=JOBS)
    assert found[0][:2] == ("crons.py", 8)
    assert "has no path" in found[0][2]


@pytest.mark.parametrize("code", ["x = 1", "crons = 5"])
def test_crons_py_must_define_crons(host: Host, code: str) -> None:
    found = refused(host, crons=code)
    assert found[0][:2] == ("crons.py", 1)
    assert "crons = Crons()" in found[0][2]


@pytest.mark.parametrize("code, line", [("x = 1", 1), ("x = 1\nhttp = 5", 2)])
def test_http_py_must_define_the_router(host: Host, code: str, line: int) -> None:
    found = refused(host, http=code)
    assert found[0][:2] == ("http.py", line)
    assert "http = HttpRouter()" in found[0][2]


def test_a_wrong_route_is_found_at_its_line(host: Host) -> None:
    code = (
        "from runtime import *\nhttp = HttpRouter()\n"
        "h = http_action(lambda c, r: None)\nhttp.route(path='x', method='GET', handler=h)"
    )
    found = refused(host, http=code)
    assert found[0][:2] == ("http.py", 4)


def test_an_annotation_that_is_no_value_is_found_at_its_function(host: Host) -> None:
    found = refused(host, m="from runtime import query\n\n@query\ndef q(ctx, when: complex): ...")
    assert found[0][:2] == ("m.py", 3)
    assert "parameter 'when' of q is annotated with complex" in found[0][2]


def test_a_module_and_a_folder_of_one_name_are_refused(host: Host) -> None:
    assert "same name" in refused(host, a="x = 1", a__b="y = 1")[0][2]


def test_nothing_can_be_asked_of_the_host_at_import(host: Host) -> None:
    found = refused(host, m="import asyncio\nasync def f(): ...\nasyncio.create_task(f())")
    assert found[0][:2] == ("m.py", 3)


def test_clock_and_random_stand_still_at_import(host: Host) -> None:
    files = {
        "m.py": "import time, random\nfrom runtime import query\nX = [time.time(), random.random()]\n"
        "@query\ndef q(ctx):\n    return X"
    }
    host.load(files)
    host.call("m:q")
    first = host.returned()
    other = Host()
    other.load(files)
    other.call("m:q")
    assert other.returned() == first
    other.close()
