"""Which folders does a bundle import from?

The room's door: from a bundle to its locks, from locks to folders that are there. The order, and nothing else.

Rules
1. Where there is nothing to install nothing is started and nobody is asked.
2. Who opens folders closes them: until then they are not removed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.invocation import Version
from runtime.protocol.declaration import Diagnostic, Engine, Packages
from worker.packages.installing import folder_name, install
from worker.packages.resolving import resolve
from worker.packages.shelf import Held, Shelf
from worker.packages.tools import Tools


@dataclass(frozen=True, slots=True)
class Opened:
    """The folders of one bundle: ``python`` belongs into the path of its interpreter, ``node`` is a node_modules."""

    held: Mapping[Engine, Held]

    @property
    def python(self) -> Path | None:
        """Where Python's packages lie."""
        return self._path(Engine.PYTHON)

    @property
    def node(self) -> Path | None:
        """The node_modules of the scripts."""
        folder = self._path(Engine.NODE)
        return folder / "node_modules" if folder is not None else None

    def close(self) -> None:
        """They are not used any more. Twice is harmless."""
        for each in self.held.values():
            each.release()

    def _path(self, engine: Engine) -> Path | None:
        return self.held[engine].path if engine in self.held else None


class PackageFolders:
    """The packages of all bundles on this machine."""

    def __init__(self, tools: Tools, shelf: Shelf) -> None:
        self._tools = tools
        self._shelf = shelf

    async def resolve(
        self, bundle: Mapping[str, bytes], engines: Collection[Engine], active: Version | None
    ) -> tuple[Packages | None, tuple[Diagnostic, ...]]:
        """What a bundle needs for these engines, as locks, and warnings; raise `PushRefused`.

        ``active`` is the version that runs now: what it has resolved already is not resolved again.
        """
        async with self._shelf.workspace() as folder:
            return await resolve(self._tools, folder, bundle, engines, active)

    async def open(self, packages: Packages | None) -> Opened:
        """The folders of these locks, installed now where they are missing; raise `PushRefused` when they cannot be."""
        opened = Opened(held := {})
        locks = {Engine.PYTHON: packages.python, Engine.NODE: packages.node} if packages is not None else {}
        try:
            for engine, lock in locks.items():
                if lock is not None:
                    held[engine] = await self._open(engine, lock)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _open(self, engine: Engine, lock: str) -> Held:
        name = await folder_name(self._tools, engine, lock)
        return await self._shelf.take(name, lambda folder: install(self._tools, engine, lock, folder))
