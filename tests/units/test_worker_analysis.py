"""What becomes of what guests say about Node-style modules? The guests speak from a script here."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.errors import IsolateLost, Overloaded, PushRefused
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Diagnostic, Engine, FunctionDeclaration, Kind, Visibility
from worker.analysis import Analysis
from worker.packages.folders import PackageFolders
from worker.packages.shelf import Shelf
from worker.packages.tools import Tools

NAME = DeploymentName("mine")
BUNDLE = {"a.py": b"'use node'", "b.mjs": b"'use node'", "c.py": b"x = 1"}


def function(path: str, file: str, kind: Kind = Kind.ACTION) -> FunctionDeclaration:
    return FunctionDeclaration(path, kind, Visibility.INTERNAL, file, 3)


class Script:
    """Guests that say what stands here."""

    def __init__(self, said: Mapping[Engine, Declaration | Exception]) -> None:
        self.said = said
        self.asked: list[tuple[Engine, Path | None]] = []

    async def analyse(
        self,
        name: DeploymentName,
        bundle: Mapping[str, bytes],
        environment: Mapping[str, str],
        engine: Engine,
        packages: Path | None,
    ) -> Declaration:
        """What the guest of this language says."""
        self.asked.append((engine, packages))
        said = self.said.get(engine, Declaration())
        if isinstance(said, Exception):
            raise said
        return said


async def analyse(
    tmp_path: Path, said: Mapping[Engine, Declaration | Exception], bundle: Mapping[str, bytes] = BUNDLE
) -> tuple[Declaration, Script]:
    async def nobody(name: DeploymentName) -> None:
        return None

    script = Script(said)
    analysis = Analysis(PackageFolders(Tools({}), Shelf(tmp_path, 1 << 20)), script, nobody)
    return await analysis.analyse(NAME, bundle, {}), script


async def test_each_language_says_what_its_own_files_declare(tmp_path: Path) -> None:
    python = Declaration(functions=(function("a:f", "a.py"), function("c:g", "c.py"), function("b:h", "b.mjs")))
    node = Declaration(functions=(function("b:h", "b.mjs"), function("x:y", "x.mjs")))
    found, script = await analyse(tmp_path, {Engine.PYTHON: python, Engine.NODE: node})
    assert sorted(script.asked) == [(Engine.NODE, None), (Engine.PYTHON, None)]
    assert {one.path: one.engine for one in found.functions} == {"a:f": Engine.PYTHON, "b:h": Engine.NODE}
    assert found.node_style == ("a.py", "b.mjs")
    assert found.packages is None


async def test_only_the_languages_that_are_there_are_started(tmp_path: Path) -> None:
    _, script = await analyse(tmp_path, {}, {"b.mjs": b"'use node'", "c.py": b""})
    assert script.asked == [(Engine.NODE, None)]


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION, Kind.HTTP_ACTION])
async def test_only_actions_live_in_such_a_module(tmp_path: Path, kind: Kind) -> None:
    said = Declaration(functions=(function("a:f", "a.py", kind), function("c:g", "c.py", kind)))
    with pytest.raises(PushRefused) as caught:
        await analyse(tmp_path, {Engine.PYTHON: said})
    [found] = caught.value.diagnostics
    assert (found.file, found.line) == ("a.py", 3)
    assert f"a:f is a {kind.value.replace('_', ' ')}" in found.message
    assert 'begins with "use node" holds actions only' in found.message


async def test_every_reason_of_every_language_is_told_at_once(tmp_path: Path) -> None:
    refused = PushRefused([Diagnostic("a.py", 7, "KeyError: 'x'")])
    with pytest.raises(PushRefused) as caught:
        await analyse(tmp_path, {Engine.PYTHON: refused, Engine.NODE: IsolateLost("signal 9")})
    found = [(one.file, one.line, one.message) for one in caught.value.diagnostics]
    assert found[1] == ("a.py", 7, "KeyError: 'x'")
    assert found[0][:2] == ("b.mjs", 1)
    assert "ended their process: signal 9" in found[0][2]


async def test_what_is_nobody_s_mistake_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(Overloaded):
        await analyse(tmp_path, {Engine.PYTHON: Overloaded("no room")})


async def test_a_file_of_requirements_is_read_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(PushRefused, match="options are not followed"):
        await analyse(tmp_path, {}, {**BUNDLE, "requirements.txt": b"--pre"})
