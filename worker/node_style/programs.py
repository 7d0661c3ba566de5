"""What is a Node-style process started with?

The command of each engine, the folder of the packages, and whose it is. Knows no confinement: the launcher does.

Rules
1. A program names no secret: code and environment go over its channel, once it is confined.
"""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from runtime.isolates.process import IsolateProcess
from runtime.names import DeploymentName
from runtime.protocol.declaration import Engine, Packages

# Of what may be in use; the rest is Node's own and what lies outside its heap.
_HEAP = "--max-old-space-size=384"


@dataclass(frozen=True, slots=True)
class Program:
    """One process to be started: its guest serves this deployment, with these packages."""

    engine: Engine
    deployment: DeploymentName
    packages: Path | None

    def command(self, node: str) -> tuple[str, ...]:
        """What to execute; ``node`` is the Node.js to use."""
        packages = () if self.packages is None else (str(self.packages),)
        guests = house() / "sandbox" / "node_style"
        if self.engine is Engine.NODE:
            # The packages are linked to: what one of them imports is looked for beside it, where it was linked.
            return (node, _HEAP, "--preserve-symlinks", str(guests / "javascript" / "main.mjs"), *packages)
        return (sys.executable, "-P", "-s", str(guests / "start.py"), *packages)

    def readable(self, node: str) -> tuple[Path, ...]:
        """What it has to read, beside its own scratch folder."""
        packages = () if self.packages is None else (self.packages,)
        if self.engine is Engine.NODE:
            return (Path(node).resolve().parent.parent, house(), *packages)
        return (Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix), house(), *packages)


class Launcher(Protocol):
    """Who starts processes, confined."""

    async def launch(self, program: Program) -> IsolateProcess:
        """Start it with its channel on descriptor 3; raise `Overloaded` or `IsolateLost` when there can be none."""
        ...


class Folders(Protocol):
    """The packages of one bundle, for as long as somebody uses them."""

    @property
    def python(self) -> Path | None:
        """What belongs into the path of a Python interpreter."""
        ...

    @property
    def node(self) -> Path | None:
        """A ``node_modules``, whatever its name."""
        ...

    def close(self) -> None:
        """They are not used any more. Twice is harmless."""
        ...


OpenFolders = Callable[[Packages | None], Awaitable[Folders]]
"""Has the packages of these locks there; raises `PushRefused` when they cannot be."""


def house() -> Path:
    """Where our own code is."""
    found = find_spec("runtime")
    assert found is not None and found.submodule_search_locations, "Warren is not whole: it cannot find itself"
    return Path(found.submodule_search_locations[0]).resolve()
