"""Who imports whom? The layers are contracts in pyproject.toml; here is what those cannot say."""

import ast
import sys
from collections.abc import Iterator

from tests.house.reading import OURS, Source, house

# What is carried through the wall, beside the standard library: every byte of it is attack surface and memory.
BEHIND_THE_WALL = {"ada_url", "msgspec", "multipart"}
ROOMS_BEHIND_THE_WALL = {"limits", "names", "protocol", "sandbox", "sdk"}
# path: why it may look at the environment
READERS_OF_THE_ENVIRONMENT = {
    "runtime/settings.py": "the one place where settings are read",
    "runtime/sandbox/kernel/report.py": "proves that nothing is in it",
    "runtime/sandbox/node_style/python_guest.py": "a guest: its environment is the tenant's, which packages read",
    "runtime/sandbox/importer.py": "sets the zygote's time zone, before the first fork; reads nothing",
}


def _package(source: Source) -> list[str]:
    parts = source.module.split(".")
    return parts if source.path.endswith("__init__.py") else parts[:-1]


def _imports(source: Source) -> Iterator[str]:
    """The full name of everything it imports, at any depth of the file."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*_package(source)[: len(_package(source)) - node.level + 1], *filter(None, [node.module])]
                )
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _graph() -> dict[str, set[str]]:
    modules = {source.module: source for source in house()}

    def module_of(name: str) -> str | None:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name or None

    return {
        source.module: {found for name in _imports(source) if (found := module_of(name)) and found != source.module}
        for source in house()
    }


def _walk(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for module in graph[waiting.pop()] - seen:
            seen.add(module)
            waiting.append(module)
    return seen


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = _graph()
    assert [module for module in graph if module in _walk(graph, module)] == []


def test_runtime_never_imports_the_office_or_the_night_shift() -> None:
    for source in house():
        if source.path.startswith("runtime/"):
            upward = [name for name in _imports(source) if name.split(".")[0] in ("control_plane", "worker", "tests")]
            assert upward == [], source.path


def test_what_is_carried_through_the_wall_is_short() -> None:
    for source in house():
        room = source.path.removeprefix("runtime/").split("/")[0].removesuffix(".py")
        if not source.path.startswith("runtime/") or room not in ROOMS_BEHIND_THE_WALL:
            continue
        for name in _imports(source):
            root, _, rest = name.partition(".")
            allowed = (
                rest.split(".")[0] in ROOMS_BEHIND_THE_WALL
                if root in OURS and rest
                else root in sys.stdlib_module_names or root in BEHIND_THE_WALL
            )
            assert allowed, f"{source.path} imports {name}"


def test_only_the_sandbox_knows_the_sandbox() -> None:
    for source in house():
        if not source.path.startswith("runtime/sandbox/"):
            inward = [name for name in _imports(source) if name.startswith("runtime.sandbox")]
            assert inward == [], source.path


def test_only_settings_look_at_the_environment() -> None:
    for source in house():
        looks = any(
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv")
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            for node in ast.walk(source.tree)
        )
        assert not looks or source.path in READERS_OF_THE_ENVIRONMENT, source.path
