"""What do the project's own files look like?

Reads them once and answers for all house tests. Knows no rule: the rules stand in the tests beside it.

Rules
1. What is looked at is what is kept: ignored folders are left out by name, so that it works without git, too.
2. An exception from a rule is listed beside the rule with its reason, and a listed exception that is not needed any
   more fails the test.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("runtime", "worker", "control_plane")
_LEFT_OUT = {"__pycache__", "build", "dist", "node_modules", "warren-data"}
_HIDDEN_AND_KEPT = {".ci"}
# Programs of tenants: they follow the tenant API and its habits; some are wrong on purpose.
_TENANTS = ("tests/bundles/", "examples/", "benchmarks/bundles/")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file: its path in the project and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The name by which it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_test(self) -> bool:
        """Whether it stands in tests/."""
        return self.path.startswith("tests/")

    def functions(self) -> Iterator[FunctionNode]:
        """Every function and method, inner ones included."""
        for node in ast.walk(self.tree):
            if isinstance(node, FunctionNode):
                yield node


def _is_kept(folder: str) -> bool:
    hidden = folder.startswith(".") and folder not in _HIDDEN_AND_KEPT
    return not (hidden or folder in _LEFT_OUT or folder.endswith(".egg-info"))


@cache
def files() -> tuple[str, ...]:
    """Every file that is kept, by its path in the project."""
    found = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if _is_kept(name)]
        found += [str((Path(folder) / name).relative_to(ROOT)) for name in names]
    return tuple(sorted(found))


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of ours, programs of tenants left out."""
    found = []
    for path in files():
        if path.endswith(".py") and not path.startswith(_TENANTS):
            text = (ROOT / path).read_text("utf-8")
            found.append(Source(path, text, ast.parse(text, path)))
    return tuple(found)


def house() -> tuple[Source, ...]:
    """The Python files of the product itself."""
    return tuple(source for source in sources() if source.path.startswith(tuple(f"{name}/" for name in OURS)))


def complaints(broken: Mapping[str, str], exceptions: Mapping[str, str]) -> list[str]:
    """What breaks a rule without being listed, and what is listed without breaking it."""
    unlisted = [f"{where}: {what}" for where, what in broken.items() if where not in exceptions]
    needless = [
        f"{where} is listed as an exception and needs none any more" for where in exceptions if where not in broken
    ]
    return unlisted + needless
