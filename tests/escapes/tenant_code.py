"""Tenant code run through the language layer alone: gate, curated imports, curated builtins; no process, no kernel."""

import ast
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level
from runtime.sandbox import gate, importer
from runtime.sdk.running import RUNNING, Running

FROZEN = 1_700_000_000_123.0


def complaints(source: str) -> list[str]:
    """What the gate says about a module, one message each."""
    return [one.message for one in gate.check("module.py", ast.parse(source))]


def execute(source: str) -> dict[str, Any]:
    """Run a module that the gate lets pass; its variables."""
    tree = ast.parse(source)
    assert gate.check("module.py", tree) == []
    names: dict[str, Any] = {"__name__": "module", "__builtins__": importer.make_builtins(_import)}
    exec(compile(tree, "bundle:module.py", "exec", dont_inherit=True), names)
    return names


def result(source: str) -> Any:
    """Run a module and give what it left in ``result``; where ``main`` is a coroutine function, what that returned."""
    names = execute(source)
    return asyncio.run(names["main"]()) if "main" in names else names["result"]


def _import(name: str, globals: Any, locals: Any, names: tuple[str, ...] | None, level: int) -> Any:
    return importer.import_allowed(name, names)


@contextmanager
def running(kind: Kind | None, *, seed: int | None = None) -> Iterator[list[tuple[Level, str]]]:
    """Run what is inside as one call; the lines it logs. With a seed it is deterministic."""
    lines: list[tuple[Level, str]] = []
    call = Running(
        kind,
        "request",
        "deployment",
        _no_syscall,
        lambda level, text: lines.append((level, text)),
        now=None if seed is None else FROZEN,
        random=None if seed is None else Random(seed),
    )
    token = RUNNING.set(call)
    try:
        yield lines
    finally:
        RUNNING.reset(token)


async def _no_syscall(name: str, *args: Any) -> Any:
    raise AssertionError(f"nothing answers {name} here")
