"""Do Node-style modules of both languages find their packages, from the push to the call?

Real uv, npm, guests and crews; only the confinement is not there.
"""

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.bundles import read_bundle
from runtime.errors import PushRefused
from runtime.invocation import Deployment, Version
from runtime.names import DeploymentName, VersionNumber
from runtime.protocol.declaration import Diagnostic, Engine
from tests.package_index import PackageIndex, package_index
from tests.units.node_style_house import NAME, House
from worker.analysis import Analysis
from worker.packages.folders import PackageFolders
from worker.packages.shelf import Shelf
from worker.packages.tools import Tools

PYTHON = """"use node"
import numbers_of_others
from runtime import action

@action
def count(ctx, upto: int) -> list[int]:
    return numbers_of_others.numbers(upto)
"""
NODE = """"use node";
import { action } from "warren";
import evenly from "evenly";
export const half = action({ handler: async (ctx, { n }) => evenly(n) });
"""


class Worker(House):
    """A worker of one deployment, with packages of its own."""

    def __init__(self, folder: Path, index: PackageIndex) -> None:
        super().__init__(folder)
        self.index = index
        self.folders = PackageFolders(Tools(index.variables), Shelf(folder / "packages", 1))
        self.crews._open_folders = self.folders.open
        self.analysis = Analysis(self.folders, self.crews, self._find)

    async def _find(self, name: DeploymentName) -> Deployment:
        return Deployment(name, self.version, self.environment)

    async def deploy(self, files: Mapping[str, str]) -> None:
        """Make these files the active version, as they declare themselves."""
        bundle = {path: text.encode() for path, text in files.items()}
        declaration = await self.analysis.analyse(NAME, bundle, self.environment)
        number = VersionNumber(self.version.number + 1)
        self.version = Version(number, str(number), bundle, declaration)

    async def refused(self, files: Mapping[str, str]) -> list[Diagnostic]:
        """Why these files cannot be deployed."""
        with pytest.raises(PushRefused) as caught:
            await self.deploy(files)
        return list(caught.value.diagnostics)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    with package_index() as index:
        index.add_wheel("numbers_of_others", "1.0", {"numbers_of_others.py": _NUMBERS})
        index.add_npm(
            "evenly", "1.0.0", {"index.js": "module.exports = (n) => n / require('two')"}, dependencies={"two": "*"}
        )
        index.add_npm("two", "2.0.0", {"index.js": "module.exports = 2"})
        worker = Worker(tmp_path, index)
        yield worker
        await worker.close()


_NUMBERS = "def numbers(upto):\n    return list(range(upto))\n"
BOTH: dict[str, Any] = {
    "a.py": PYTHON,
    "b.mjs": NODE,
    "requirements.txt": "numbers_of_others\n",
    "package.json": json.dumps({"dependencies": {"evenly": "1"}}),
}


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
async def test_modules_of_both_languages_are_declared_and_run_with_their_packages(worker: Worker) -> None:
    await worker.deploy(BOTH)
    declared = {one.path: one.engine for one in worker.version.declaration.functions}
    assert declared == {"a:count": Engine.PYTHON, "b:half": Engine.NODE}
    assert await worker.value("a:count", upto=3) == [0, 1, 2]
    assert await worker.value("b:half", n=5) == 2.5


async def test_without_its_packages_a_module_is_refused_at_its_import(worker: Worker) -> None:
    [found] = await worker.refused({"a.py": PYTHON})
    assert (found.file, found.line) == ("a.py", 2)
    assert "numbers_of_others" in found.message
    assert worker.version.number == 1


async def test_a_package_that_ends_the_process_is_a_reason(worker: Worker) -> None:
    worker.index.add_wheel("hostile", "1.0", {"hostile.py": "import os\nos.kill(os.getpid(), 9)\n"})
    [found] = await worker.refused({"a.py": '"use node"\nimport hostile\n', "requirements.txt": "hostile"})
    assert (found.file, found.line) == ("a.py", 1)
    assert "ended their process" in found.message


async def test_what_a_crew_uses_is_kept_until_it_ends(worker: Worker, tmp_path: Path) -> None:
    ready = tmp_path / "packages" / "ready"
    await worker.deploy({"a.py": PYTHON, "requirements.txt": "numbers_of_others\n"})
    await worker.value("a:count", upto=1)
    [place] = ready.iterdir()
    # There is room for nothing: whatever is not in use goes when something else is installed.
    for name in ("one", "two"):
        worker.index.add_wheel(name, "1.0", {f"{name}.py": ""})
        packages, _ = await worker.folders.resolve({"requirements.txt": name.encode()}, {Engine.PYTHON}, None)
        (await worker.folders.open(packages)).close()
    assert place in set(ready.iterdir())
    assert len(set(ready.iterdir())) == 2
    assert await worker.value("a:count", upto=2) == [0, 1]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
async def test_the_example_is_declared_and_runs(worker: Worker) -> None:
    # Stand-ins for the two packages, as far as the example uses them: this machine's index is the only one here.
    pictures = "class Code:\n    def svg_inline(self, scale): return f'<svg {scale}>'\ndef make(text): return Code()\n"
    worker.index.add_wheel("segno", "1.6.6", {"segno.py": pictures})
    worker.index.add_npm("slugify", "1.6.9", {"index.js": "module.exports = (text) => text.toLowerCase()"})
    files = read_bundle(Path(__file__).resolve().parents[2] / "examples" / "links" / "functions")
    await worker.deploy({path: content.decode() for path, content in files.items()})
    assert await worker.value("slugs:make", title="Tea") == "tea"
    assert await worker.value("codes:draw", text="x") == "<svg 8>"
