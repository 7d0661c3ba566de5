"""What do the Node-style modules of a bundle declare?

Has their packages installed, has each language's modules imported behind its wall, and puts together what they say.
Implements `analyse` of the port `Errands` for the process that it stands in.

Rules
1. What guests say is a stranger's claim: a function counts if it lies in a Node-style file of the guest's language.
2. Only actions live in such a file.
3. Every reason of every language is told at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from runtime.errors import IsolateLost, PushRefused
from runtime.invocation import Deployment, Invocation, Outcome
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Diagnostic, Engine, FunctionDeclaration, Kind
from runtime.protocol.node_style import engine_of
from worker.packages.folders import Opened, PackageFolders

Find = Callable[[DeploymentName], Awaitable[Deployment | None]]


class Guests(Protocol):
    """Who imports modules of one language in a process that ends with it."""

    async def analyse(
        self,
        name: DeploymentName,
        bundle: Mapping[str, bytes],
        environment: Mapping[str, str],
        engine: Engine,
        packages: Path | None,
    ) -> Declaration:
        """What they declare; raises `PushRefused`, or `IsolateLost` when they ended the process."""
        ...


class Analysis:
    """Learns what Node-style modules declare. ``find`` gives the deployment as it is now."""

    def __init__(self, folders: PackageFolders, guests: Guests, find: Find) -> None:
        self._folders = folders
        self._guests = guests
        self._find = find

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Install packages, import modules; raise `PushRefused` with every reason why they cannot be deployed."""
        files = {path: engine for path in bundle if (engine := engine_of(path, bundle[path])) is not Engine.ISOLATE}
        deployment = await self._find(name)
        active = deployment.version if deployment is not None else None
        packages, warnings = await self._folders.resolve(bundle, set(files.values()), active)
        opened = await self._folders.open(packages)
        try:
            functions = await self._declared(name, bundle, environment, files, opened)
        finally:
            opened.close()
        return Declaration(functions=functions, warnings=warnings, node_style=tuple(sorted(files)), packages=packages)

    async def _declared(
        self,
        name: DeploymentName,
        bundle: Mapping[str, bytes],
        environment: Mapping[str, str],
        files: Mapping[str, Engine],
        opened: Opened,
    ) -> tuple[FunctionDeclaration, ...]:
        folders = {Engine.PYTHON: opened.python, Engine.NODE: opened.node}
        engines = sorted(set(files.values()))
        results = await asyncio.gather(
            *(self._guests.analyse(name, bundle, environment, engine, folders[engine]) for engine in engines),
            return_exceptions=True,
        )
        functions: list[FunctionDeclaration] = []
        wrong: list[Diagnostic] = []
        for engine, result in zip(engines, results, strict=True):
            match result:
                case Declaration():
                    own = list(_functions(result, engine, files))
                    functions += own
                    wrong += [_no_action(one) for one in own if one.kind is not Kind.ACTION]
                case PushRefused():
                    wrong += result.diagnostics
                case IsolateLost():
                    wrong.append(_ended(engine, files, result))
                case error:
                    raise error
        if wrong:
            raise PushRefused(wrong)
        return tuple(functions)


def _functions(declaration: Declaration, engine: Engine, files: Mapping[str, Engine]) -> Iterator[FunctionDeclaration]:
    for function in declaration.functions:
        if files.get(function.file) is engine:
            yield msgspec.structs.replace(function, engine=engine)


def _no_action(function: FunctionDeclaration) -> Diagnostic:
    kind = function.kind.value.replace("_", " ")
    text = f'{function.path} is a {kind}: a module that begins with "use node" holds actions only'
    return Diagnostic(function.file, function.line, text)


def _ended(engine: Engine, files: Mapping[str, Engine], lost: IsolateLost) -> Diagnostic:
    file = min(path for path in files if files[path] is engine)
    return Diagnostic(
        file, 1, f"importing the Node-style modules ended their process: {lost}. Do no work at import time."
    )


@dataclass(frozen=True, slots=True)
class LocalErrands:
    """Errands that this process does itself: the port `Errands`, put together."""

    runs: Callable[[Invocation], Awaitable[Outcome]]
    analyses: Analysis

    async def run(self, invocation: Invocation) -> Outcome:
        """Have a Node-style action run here."""
        return await self.runs(invocation)

    async def analyse(
        self, name: DeploymentName, bundle: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> Declaration:
        """Learn here what Node-style modules declare."""
        return await self.analyses.analyse(name, bundle, environment)
