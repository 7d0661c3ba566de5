"""Does the gate see the attack in the text, wherever it hides?"""

import ast
import sys
import types

import pytest

from runtime.sandbox import gate, policy
from tests.escapes.tenant_code import complaints

ATTACKS = {
    "a class walk": "().__class__.__base__.__subclasses__()",
    "the bases of a class": "int.__bases__",
    "the order of bases": "int.mro()",
    "the globals of a function": "(lambda: 0).__globals__",
    "the code of a function": "(lambda: 0).__code__",
    "the closure of a function": "(lambda: 0).__closure__",
    "the object of a method": "print.__self__",
    "the function of a method": "x.__func__",
    "what a decorator wraps": "x.__wrapped__",
    "builtins by name": "__builtins__",
    "the import function": "__import__('os')",
    "the loader": "__loader__",
    "the spec": "__spec__",
    "the class maker": "__build_class__(f, 'X')",
    "reduction": "x.__reduce_ex__(2)",
    "the dictionary of an object": "x.__dict__",
    "the unguarded reader": "object.__getattribute__(x, 'y')",
    "a generator's frame": "(i for i in ()).gi_frame",
    "a coroutine's frame": "c.cr_frame.f_back",
    "a coroutine's origin": "c.cr_origin",
    "an async generator's frame": "g.ag_frame",
    "a traceback's frame": "e.tb_frame",
    "an exception's traceback": "e.__traceback__",
    "a frame's globals": "f.f_globals",
    "new code out of old": "c.co_consts",
    "str.format": "template.format(x)",
    "str.format, unbound": "str.format(template, x)",
    "str.format in a variable": "f = '{0.__class__}'.format",
    "str.format_map": "'{x}'.format_map(m)",
    "a literal that walks": "'{0.__class__}'.format(x)",
    "a literal that walks behind an index": "'{0[a].__class__}'.format(x)",
    "a literal that walks in a format specification": "'{0:{1.__class__}}'.format(x, y)",
    "an f-string": "f'{x.__class__}'",
    "a nested f-string": "f'{1:{x.__class__}}'",
    "AttributeError.obj": "try:\n    x.y\nexcept AttributeError as e:\n    e.obj",
    "a keyword pattern": "match x:\n    case object(__class__=c): pass",
    "a keyword pattern for a method": "match x:\n    case str(format=f): pass",
    "a positional pattern": "match x:\n    case Point(a): pass",
    "match arguments": "class A:\n    __match_args__ = ('__class__',)",
    "a capture": "match x:\n    case __builtins__: pass",
    "a star capture": "match x:\n    case [*__builtins__]: pass",
    "the rest of a mapping": "match x:\n    case {**__builtins__}: pass",
    "an as-pattern": "match x:\n    case 1 as __builtins__: pass",
    "a metaclass": "class A(metaclass=M): pass",
    "a metaclass in a dictionary": "class A(**{'metaclass': M}): pass",
    "a prepared namespace": "class A:\n    def __prepare__(n, b): return {}",
    "replaced bases": "class A:\n    def __mro_entries__(self, b): return ()",
    "a finalizer": "class A:\n    def __del__(self): pass",
    "reduction, defined": "class A:\n    def __reduce_ex__(self, p): return ()",
    "the annotations of a class": "class A:\n    __annotations__ = {}",
    "the module of a class": "class A:\n    __module__ = 'os'",
    "the name of the module": "__name__ = 'builtins'",
    "the name of the module, by a function": "def __name__(): pass",
    "the class cell": "class A:\n    def f(self): return __class__",
    "except*": "try:\n    x\nexcept* ValueError:\n    pass",
    "an alias": "import json as __builtins__",
    "an imported alias": "from json import loads as __import__",
    "an imported name": "from .other import __builtins__",
    "a handler": "try:\n    x\nexcept ValueError as __builtins__:\n    pass",
    "a parameter": "def f(__builtins__): pass",
    "a star parameter": "def f(*__builtins__): pass",
    "a keyword": "f(__class__=1)",
    "a global": "def f():\n    global __builtins__",
    "a nonlocal": "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x.__class__ = 1",
    "a loop": "for __builtins__ in x: pass",
    "a with": "with x as __builtins__: pass",
    "a walrus": "(__builtins__ := 1)",
    "a comprehension": "[x for __builtins__ in y]",
    "a deletion": "del __builtins__",
    "an assigned attribute": "x.__class__ = y",
    "an augmented attribute": "x.__dict__ |= y",
    "a decorator": "@x.__class__\ndef f(): pass",
    "a default": "def f(x=y.__class__): pass",
    "an annotation": "def f(x: y.__class__): pass",
    "another alphabet": "x.__ｃlass__",  # noqa: RUF001 - the parser makes it plain, and so must the gate see it
    "another alphabet for a name": "__ｂuiltins__",  # noqa: RUF001 - as above
    "another alphabet for a frame": "x.ｇi_frame",  # noqa: RUF001 - as above
    "the event loop of a task": "task.get_loop()",
    "the event loop of a lock": "lock._get_loop()",
    "the frames of a task": "task.get_stack()",
    "the globals of a module as members": "IntEnum._convert_('X', 'os', f)",
    "eval": "eval('1')",
    "exec": "exec('1')",
    "compile": "compile('1', '', 'eval')",
    "open": "open('/etc/passwd')",
    "input": "input()",
    "globals": "globals()",
    "locals": "locals()",
    "vars": "vars(x)",
    "a debugger": "breakpoint()",
    "the end of the process": "raise SystemExit",
    "os": "import os",
    "a part of os": "import os.path",
    "os under another name": "import os as json",
    "a member of os": "from os import system",
    "an import far inside": "def f():\n    if 1:\n        import subprocess",
    "ctypes": "import ctypes",
    "pickle": "import pickle",
    "gc": "import gc",
    "sys": "from sys import modules",
    "inspect": "import inspect",
    "importlib": "import importlib",
    "the builtins module": "import builtins",
    "an underscored module": "import _io",
    "an inner module of the sdk": "import runtime.sandbox",
    "a module behind an allowed one": "import json.decoder",
    "a module inside an allowed one": "from json import codecs",
    "a module through an attribute": "import statistics\nstatistics.sys",
    "operator.attrgetter": "from operator import attrgetter",
    "operator.methodcaller": "import operator\noperator.methodcaller('x')",
    "string.Formatter": "from string import Formatter",
    "a metaclass of the library": "from abc import ABCMeta",
    "evaluated hints": "from typing import get_type_hints",
    "generated source": "from dataclasses import make_dataclass",
    "a file of io": "from io import open",
    "a file handler": "from logging import FileHandler",
    "the host's network card": "from uuid import getnode",
    "a thread of asyncio": "import asyncio\nasyncio.to_thread(f)",
    "a loop of asyncio": "from asyncio import get_event_loop",
    "a stream of asyncio": "from asyncio import open_connection",
    "everything of a bundle's module": "from .other import *",
}


@pytest.mark.parametrize("source", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_gate_refuses(source: str) -> None:
    assert complaints(source)


def test_every_finding_has_its_file_and_line_and_they_come_in_order() -> None:
    found = gate.check(
        "a/b.py", ast.parse("import os\nx = 1\ny = open('f')\nz = x.__class__\nfrom json import nothing\n")
    )
    assert [(one.file, one.line) for one in found] == [("a/b.py", 1), ("a/b.py", 3), ("a/b.py", 4), ("a/b.py", 5)]
    assert ["os" in found[0].message, "open" in found[1].message, "__class__" in found[2].message] == [True] * 3
    assert "json has no 'nothing' here" in found[3].message


@pytest.mark.parametrize(
    "source", ["import os", "import numpy", "open('x')", "x.__globals__", "from json import codecs"]
)
def test_a_refusal_points_to_use_node(source: str) -> None:
    assert '"use node"' in complaints(source)[0]


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        ("import os", "from runtime import env"),
        ("import time\ntime.sleep(1)", "asyncio.sleep"),
        ("from uuid import uuid1", "uuid4"),
        ("import messages", "from . import messages"),
        ("x.__class__", "type(x)"),
        ("t.format(x)", "f-string"),
    ],
)
def test_a_refusal_says_what_to_use_instead(source: str, instead: str) -> None:
    assert instead in complaints(source)[0]


@pytest.mark.parametrize(
    "source",
    [
        "def f(input, open): return input + open",
        "vars = [1]\nprint(vars)",
        "def f(json): return json.anything",
        "import json\ndef f():\n    json = g()\n    return json.anything",
        "def eval(x): return x\neval(1)",
        "class A:\n    def format(self): return 1",
        "'{} {name!r:>{width}}'.format(1, name=2, width=3)",
        "'{0.name} {0[format]}'.format(x)",
        "class A:\n    def f(self): self.__private = 1\n    def g(self): return self.__private",
        "x = 'a __class__ in a text, and gi_frame'",
    ],
)
def test_a_name_that_only_looks_like_a_builtin_or_module_is_let_pass(source: str) -> None:
    assert complaints(source) == []


def test_every_kind_of_node_is_allowed_by_name_or_refused() -> None:
    class Walrus2(ast.Pass):
        """Grammar that nobody has thought about."""

    tree = ast.Module([Walrus2(lineno=3, col_offset=0)], [])
    assert [(one.line, "Walrus2" in one.message) for one in gate.check("m.py", tree)] == [(3, True)]


def test_a_name_in_a_field_that_nobody_knows_is_seen() -> None:
    tree = ast.parse("pass")
    tree.body[0]._fields = ("hidden",)  # type: ignore[misc]  # a grammar of tomorrow
    tree.body[0].hidden = ["x", "__builtins__"]  # type: ignore[attr-defined]  # a grammar of tomorrow
    assert gate.check("m.py", tree)


def test_every_node_on_the_page_exists_or_is_an_alias_of_one() -> None:
    assert [name for name in policy.NODES if not hasattr(ast, name)] == []


# The grammar came with 3.12.
if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("source", ["type X = int", "def f[T](x: T): pass", "class A[**P, *Ts]: pass"])
    def test_type_parameters_are_refused_with_a_way_out(source: str) -> None:
        assert "typing" in complaints(source)[0]


def test_every_attribute_of_frames_tracebacks_generators_and_code_is_on_the_page() -> None:
    makers = (
        types.FrameType,
        types.TracebackType,
        types.CodeType,
        types.GeneratorType,
        types.CoroutineType,
        types.AsyncGeneratorType,
    )
    harmless = {"clear", "close", "send", "throw", "replace", "aclose", "asend", "athrow"}
    names = {name for maker in makers for name in vars(maker) if not name.startswith("__")} - harmless
    assert names - {name for name in names if gate.refused_name(name)} == {
        name for name in names if name in {"_co_code_adaptive", "_varname_from_oparg"}
    }


@pytest.mark.parametrize("depth", [100, 5000])
def test_a_deep_tree_does_not_stop_the_gate(depth: int) -> None:
    tree: ast.expr = ast.Name("x", ast.Load())
    for _ in range(depth):
        tree = ast.Attribute(tree, "a", ast.Load())
    assert gate.check("m.py", ast.Module([ast.Expr(ast.Attribute(tree, "__class__", ast.Load()))], []))
