"""What can a tenant get hold of, going from what it is given by attributes and items that the gate permits?"""

import gc
import types
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from runtime.sandbox import importer, policy
from runtime.sandbox.gate import refused_attribute

# Properties make new things without end (a method of a method of …); this many of one type show what they lead to.
_OF_ONE_TYPE = 400
_DEPTH = 8
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def audit() -> tuple[list[str], int]:
    """Walk from every builtin and every allowed module: the leaks, as paths, and the number of steps taken."""
    start: dict[str, Any] = dict(importer.make_builtins(lambda *rest: None))
    del start["__build_class__"], start["__import__"]  # names that the gate refuses
    start |= {name: importer.allowed_module(name) for name in (*policy.MODULES, *policy.PACKAGES, policy.SDK)}
    return reach(start)


def reach(start: Mapping[str, Any]) -> tuple[list[str], int]:
    """Walk from these things: the leaks, as paths, and the number of steps taken."""
    seen: dict[int, Any] = {}
    of_type: Counter[type] = Counter()
    waiting = deque((name, thing, 0) for name, thing in start.items())
    leaks: list[str] = []
    edges = 0
    while waiting:
        path, thing, depth = waiting.popleft()
        if isinstance(thing, _PLAIN) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if _leaks(thing):
            leaks.append(path)
            continue
        of_type[type(thing)] += 1
        if depth == _DEPTH or (of_type[type(thing)] > _OF_ONE_TYPE and not isinstance(thing, type | importer.Proxy)):
            continue
        for step, value in _steps(thing):
            edges += 1
            waiting.append((path + step, value, depth + 1))
    return leaks, edges


def _leaks(thing: Any) -> bool:
    if isinstance(thing, types.ModuleType):
        return not isinstance(thing, importer.Proxy)
    if isinstance(thing, types.FrameType | types.CodeType | types.TracebackType):
        return True
    return isinstance(thing, type) and issubclass(thing, type)


def _steps(thing: Any) -> Iterator[tuple[str, Any]]:
    kinds: list[type] = [*type(thing).__mro__, *(thing.__mro__ if isinstance(thing, type) else ())]
    names = {name for kind in kinds for name in vars(kind)}
    names |= set(getattr(thing, "__dict__", ()))
    for name in sorted(one for one in names if isinstance(one, str)):
        if refused_attribute(name) is None:
            try:
                yield f".{name}", getattr(thing, name)
            except Exception:
                continue
    if isinstance(thing, dict | types.MappingProxyType):
        yield from ((f"[{key!r:.40}]", value) for key, value in list(thing.items()))
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from ((f"[{number}]", value) for number, value in enumerate(thing))
    elif type(thing) in (map, filter, zip):
        yield from (("[…]", one) for one in gc.get_referents(thing))
