"""Do the guards hold where the gate cannot look: names made at run time, and helpers of the library that take them?"""

import ast
from typing import Any, ClassVar

import pytest

from runtime.sandbox import importer, policy, proxies
from runtime.sdk.annotations import arguments_of
from tests.escapes.tenant_code import complaints, execute, result

UNDER = "D = '_' * 2\n"

ATTACKS = {
    "getattr": "getattr((), D + 'class' + D)",
    "getattr with a default": "getattr((), D + 'class' + D, None)",
    "getattr for a frame": "getattr((i for i in ()), 'gi_' + 'frame')",
    "getattr for str.format": "getattr('{0}', 'for' + 'mat')",
    "getattr through map": "list(map(getattr, [()], [D + 'class' + D]))",
    "getattr through reduce": "import functools\nfunctools.reduce(getattr, [D + 'class' + D], ())",
    "getattr through partial": "import functools\nfunctools.partial(getattr, ())(D + 'class' + D)",
    "setattr": "class A: pass\nsetattr(A, D + 'bases' + D, ())",
    "delattr": "class A: pass\ndelattr(A, D + 'module' + D)",
    "a text that changes its mind": (
        "class S(str):\n    def __eq__(self, o): return True\n    def __hash__(self): return 1\n"
        "getattr((), S(D + 'class' + D))"
    ),
    "a class out of type": "type('A', (), {})",
    "a class out of the type of a class": "type(type(1))('A', (), {})",
    "a subclass of type": "class M(type): pass",
    "a subclass of the type of an enum": "import enum\nclass M(type(enum.Enum)): pass",
    "a function out of its type": "type(lambda: 0)(None, {})",
    "a method out of its type": "import types\ntypes.MethodType(print, 1)",
    "code out of its type": "import types\ntypes.CodeType()",
    "a module out of its type": "import types\ntypes.ModuleType('x')",
    "the type of a module": "import json\ntype(json)('os')",
    "any attribute by wraps": "import functools\nfunctools.wraps(print, assigned=(D + 'self' + D,))",
    "an enum with methods of the language": "import enum\nenum.Enum('E', {D + 'reduce_ex' + D: lambda s, p: 0})",
    "an enum with fields for dataclass": "import enum\nenum.Enum('E', [(D + 'annotations' + D, {'x': int})])",
    "an enum with names that change": ("import enum\nclass S(str): pass\nenum.Enum('E', [(S(D + 'init' + D), 1)])"),
    "source in a field's name": (
        "import dataclasses, typing\nT = typing.TypedDict('T', {'x=print(1)': int})\ndataclasses.dataclass(T)"
    ),
    "source in an annotation": "import typing\ntyping.Optional['().' + D + 'class' + D]",
    "source in an annotation of a dictionary": "import typing\ntyping.TypedDict('T', {'a': '[].' + D + 'class' + D})",
    "source in an annotation in the text": "from typing import Optional\nx: Optional['().__class__'] = None",
    "a changed module": "import json\njson.loads = print",
    "a changed module through setattr": "import json\nsetattr(json, 'loads', print)",
    "a deleted member": "import json\ndel json.loads",
    "a timer's loop": "import asyncio\ngetattr(asyncio.Lock(), '_' + 'loop')",
    "the import function": "import json\ngetattr(json, D + 'builtins' + D)",
    "the loader of a module": "import json\ngetattr(json, D + 'loader' + D)",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_guards_refuse(attack: str) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        execute(UNDER + attack)


def test_a_refused_attribute_is_never_there() -> None:
    assert result(UNDER + "result = hasattr((), D + 'class' + D)") is False


def test_type_of_a_class_is_the_word_type_and_no_metaclass() -> None:
    source = """
from abc import ABC
from enum import Enum
from datetime import datetime
result = [type(one) is type for one in (int, ABC, Enum, datetime, type)]
"""
    assert result(source) == [True, True, True, True, True]


def test_annotations_give_no_metaclass_either() -> None:
    source = "import typing\nresult = typing.get_origin(type[int]) is type and typing.get_args(list[type]) == (type,)"
    assert result(source) is True


def test_a_field_that_was_renamed_reads_no_other_attribute() -> None:
    source = (
        UNDER
        + """
import dataclasses
mine = dataclasses.field(default=1)
@dataclasses.dataclass
class A:
    x: int = mine
mine.name = D + 'class' + D
dataclasses.fields(A)[0].name = D + 'class' + D
@dataclasses.dataclass
class B(A):
    y: int = 2
result = [dataclasses.asdict(A()), dataclasses.astuple(A()), dataclasses.asdict(B())]
"""
    )
    assert result(source) == [{"x": 1}, (1,), {"x": 1, "y": 2}]


@pytest.mark.parametrize(
    ("module", "member"),
    [
        ("json", "decoder"),
        ("asyncio", "base_events"),
        ("email", "message"),
        ("urllib", "request"),
        ("runtime", "sandbox"),
    ],
)
def test_a_loaded_module_of_the_host_is_not_found_behind_its_package(module: str, member: str) -> None:
    importer.allowed_module(module)
    builtins = importer.make_builtins(lambda name, *rest: importer.import_allowed(name, rest[2]))
    with pytest.raises(ImportError, match=f"{module} has no '{member}'"):
        exec(f"from {module} import {member}", {"__builtins__": builtins})


@pytest.mark.parametrize(
    "name", ["os", "sys", "builtins", "json.decoder", "runtime.sandbox", "importlib", "", "collections.os"]
)
def test_a_module_that_is_not_on_the_page_is_refused_by_name(name: str) -> None:
    with pytest.raises(ImportError, match=name or "module ''"):
        importer.allowed_module(name)


def test_nothing_dangerous_is_a_builtin() -> None:
    offered = importer.make_builtins(lambda *rest: None)
    missing = {"open", "eval", "exec", "compile", "input", "globals", "locals", "vars", "dir", "breakpoint", "help"}
    missing |= {"exit", "quit", "SystemExit", "KeyboardInterrupt", "__loader__", "__spec__", "copyright", "license"}
    assert missing & set(offered) == set()
    assert set(offered) <= policy.BUILTINS | policy.GUARDED_BUILTINS | {"__import__"}


def test_the_guarded_builtins_on_the_page_are_those_that_are_guarded() -> None:
    assert set(proxies.BUILTINS) == policy.GUARDED_BUILTINS


def test_star_import_of_an_allowed_module_gives_the_listed_names_only() -> None:
    names = execute("from json import *\nfrom operator import *")
    given = set(names) - {"__name__", "__builtins__"}
    assert given == {one for one in policy.MODULES["json"] | policy.MODULES["operator"] if one in given}
    assert "attrgetter" not in given


def test_an_annotation_that_is_text_is_read_by_the_same_rules() -> None:
    with pytest.raises(TypeError, match="__class__"):
        execute("from typing import List\nList['a.__cla' 'ss__']")
    assert complaints("x: 'Later | None' = None") == []
    assert (
        result("from typing import Optional\nresult = str(Optional['Later'])") == "typing.Optional[ForwardRef('Later')]"
    )


# --- what can be reached ----------------------------------------------------------------------------------------------


def test_no_module_frame_code_or_metaclass_is_reachable_by_permitted_names() -> None:
    from tests.escapes.reachability import audit

    found, edges = audit()
    assert found == []
    assert edges > 5_000


def test_the_audit_would_see_a_leak() -> None:
    from tests.escapes.reachability import reach

    class Leaky:
        inner: ClassVar[list[Any]] = [{"deep": ast}]

    found, _ = reach({"leaky": Leaky()})
    assert found


def test_an_annotation_of_a_function_is_read_by_the_same_rules() -> None:
    source = "def f(ctx, x: '().__class__'): pass\ndef g(ctx, x: 'int | None') -> 'list[str]': pass"
    importer.allowed_module("typing")
    names = execute(source)
    with pytest.raises(TypeError, match="__class__"):
        arguments_of(names["f"], None)
    assert set(arguments_of(names["g"], None).fields) == {"x"}
