"""What does an import give to a tenant?

Modules made of the names that `policy` lists, and of nothing else; the builtins that belong to them; and, in the
zygote, everything loaded beforehand that such code may need later, because behind the wall no file can be opened.

Rules
1. A tenant never holds a real module: what it gets is a `Proxy` made of chosen values, none of which is a module.
2. ``from m import n`` of a name that is not there is refused before the interpreter looks for a real ``m.n``.
3. `preload` is called once, in the zygote, after everything of ours is imported. It ends with `seal`: from then on
   nothing can be found to import, what is in `sys.modules` is all there is.
4. Proxies are built on first use and kept; building one in the zygote shares it with every isolate.
"""

import builtins
import contextlib
import importlib
import io
import linecache
import os
import pkgutil
import sys
import time
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from runtime.sandbox import policy, proxies
from runtime.sandbox.gate import refused_member, refused_module
from runtime.sandbox.proxies import chance, log_lines, reflection

_PROXIES: dict[str, "Proxy"] = {}


class Proxy(ModuleType):
    """A module made of chosen values."""

    def __init__(self, name: str, values: Mapping[str, object]) -> None:
        super().__init__(name)
        vars(self).update(values, __all__=sorted(values))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_absent(vars(self)["__name__"], name))

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{vars(self)['__name__']} cannot be changed here: '{name}' was not set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{vars(self)['__name__']} cannot be changed here: '{name}' was not deleted")

    def __dir__(self) -> list[str]:
        return list(vars(self)["__all__"])


def allowed_module(name: str) -> ModuleType:
    """Give the tenant's view of a module; raises ImportError with a sentence when the policy has none."""
    if name not in _PROXIES:
        if reason := refused_module(name):
            raise ImportError(reason, name=name)
        _PROXIES[name] = Proxy(name, _values(name))
        # A package shows the modules below it as attributes: `import urllib.parse` gives `urllib`.
        vars(_PROXIES[name]).update(_below(name))
    return _PROXIES[name]


def import_allowed(name: str, names: Iterable[str] | None = None) -> ModuleType:
    """Do one absolute import: with ``names`` the module itself comes back, without them the package at its top."""
    module = allowed_module(name)
    return module if names else allowed_module(name.partition(".")[0])


def make_builtins(import_: Callable[..., Any]) -> dict[str, Any]:
    """Make the ``__builtins__`` of a bundle, whose import statements call ``import_`` as they would ``__import__``."""
    offered: dict[str, Any] = {name: getattr(builtins, name) for name in policy.BUILTINS if hasattr(builtins, name)}
    offered |= proxies.BUILTINS

    def checked(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = None,
        level: int = 0,
    ) -> Any:
        if isinstance(fromlist, list):
            # The interpreter asks, not a statement: C code (`strptime`, `Pattern.sub`) imports by way of the builtins
            # of the frame that called it. It drops what it is given and takes the real module itself.
            importlib.import_module(name)
            return None
        module = import_(name, globals, locals, fromlist, level)
        if isinstance(module, Proxy):
            for wanted in fromlist or ():
                if wanted != "*" and wanted not in vars(module):
                    raise ImportError(_absent(name, wanted), name=name)
        return module

    offered["__import__"] = checked
    return offered


def preload() -> None:
    """Load everything that tenants and the guest may need, set the process up for them, and `seal` it."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name in _LATE_IMPORTS.split():
        with contextlib.suppress(ImportError):  # not in every Python
            importlib.import_module(name)
    _load_encodings()
    for name in (*policy.MODULES, *policy.PACKAGES, policy.SDK):
        allowed_module(name)
    _keep_time_zones()
    # Source lines are never read from files; the guest writes tracebacks from the text it was sent.
    vars(linecache)["updatecache"] = _no_lines
    log_lines.install()
    seal()


def seal() -> None:
    """Leave nothing to find: from here on an import gives what is loaded or fails at once, without a kernel call."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.path.clear()


# What the standard library and the sdk's parsers import when first used.
_LATE_IMPORTS = """
    _strptime _pydatetime _pydecimal stringprep unicodedata encodings.idna encodings.punycode locale tokenize difflib
    textwrap html.entities email.utils calendar json.encoder json.decoder csv decimal fractions statistics heapq
    asyncio.taskgroups asyncio.timeouts asyncio.staggered traceback warnings contextvars copyreg typing weakref
    zoneinfo zoneinfo._common zoneinfo._tzpath tzdata hashlib hmac secrets string struct zlib bisect graphlib pprint
    reprlib dataclasses enum inspect ast opcode dis keyword queue gc multipart ada_url msgspec msgspec.json
    msgspec.msgpack msgspec.inspect concurrent.futures concurrent.futures.thread _colorize importlib.resources
"""


def _values(name: str) -> dict[str, object]:
    if name in policy.PACKAGES:
        return {}
    real = importlib.import_module(name)
    _TAMERS.get(name, lambda _real: None)(real)
    names = getattr(real, "__all__", ()) if name == policy.SDK else policy.MODULES[name]
    chosen = proxies.STAND_INS.get(name, {})
    values = {one: chosen.get(one, getattr(real, one, None)) for one in names if one in chosen or hasattr(real, one)}
    leaks = [one for one, value in values.items() if isinstance(value, ModuleType)]
    if leaks:
        raise ImportError(f"the policy gives modules away: {name} {leaks}", name=name)
    return values


_TAMERS: Mapping[str, Callable[[Any], None]] = {
    "enum": lambda _real: reflection.tame_enum(),
    "typing": lambda _real: reflection.tame_forward_references(),
    "statistics": chance.tame_statistics,
}


def _below(name: str) -> dict[str, ModuleType]:
    prefix = f"{name}."
    children = [one for one in policy.MODULES if one.startswith(prefix) and "." not in one[len(prefix) :]]
    return {one[len(prefix) :]: allowed_module(one) for one in children}


def _absent(module: str, name: str) -> str:
    return refused_member(module, name) or f"{module} has no '{name}'"


def _load_encodings() -> None:
    package = importlib.import_module("encodings")
    for found in pkgutil.iter_modules(package.__path__, "encodings."):
        with contextlib.suppress(ImportError, LookupError):  # Windows only
            importlib.import_module(found.name)


def _keep_time_zones() -> None:
    """Keep every time zone in memory and let `zoneinfo` read there: the half megabyte is shared by all isolates."""
    common = importlib.import_module("zoneinfo._common")
    zoneinfo.reset_tzpath(())
    data: dict[str, bytes] = {}
    for key in zoneinfo.available_timezones():
        with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError), common.load_tzdata(key) as file:
            data[key] = file.read()

    def load(key: str) -> io.BytesIO:
        if key not in data:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
        return io.BytesIO(data[key])

    vars(common)["load_tzdata"] = load
    proxy = vars(allowed_module("zoneinfo"))
    proxy["available_timezones"] = lambda: set(data)


def _no_lines(_filename: str, _module_globals: object = None) -> list[str]:
    return []
