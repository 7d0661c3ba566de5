"""What do real uv and real npm make of a bundle's packages, hostile ones included?"""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from runtime import limits
from runtime.errors import PushRefused
from runtime.invocation import Version
from runtime.limits import Limit
from runtime.names import VersionNumber
from runtime.protocol.declaration import Declaration, Engine, Packages
from tests.package_index import PackageIndex, package_index
from worker.packages.folders import PackageFolders
from worker.packages.shelf import Shelf
from worker.packages.tools import RunTooLarge, RunTooLong, Tools

BOTH = (Engine.PYTHON, Engine.NODE)
ONE = {"one/__init__.py": "def number():\n    return 1\n"}
with_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index() as found:
        yield found


@pytest.fixture
def folders(index: PackageIndex, tmp_path: Path) -> PackageFolders:
    return _folders(index, tmp_path)


def _folders(index: PackageIndex, tmp_path: Path, **more: str) -> PackageFolders:
    return PackageFolders(Tools({**index.variables, **more}), Shelf(tmp_path / "packages", 1 << 30))


def bundle(requirements: str | None = None, **dependencies: str) -> dict[str, bytes]:
    """A bundle that asks for this."""
    files = {} if requirements is None else {"requirements.txt": requirements.encode()}
    if dependencies:
        files["package.json"] = json.dumps({"dependencies": dependencies}, indent=1).encode()
    return files


async def locks(folders: PackageFolders, asked: Mapping[str, bytes]) -> Packages:
    packages, _ = await folders.resolve(asked, BOTH, None)
    assert packages is not None
    return packages


async def refused(folders: PackageFolders, asked: Mapping[str, bytes]) -> tuple[str, int, str]:
    """The one reason why these packages cannot be had."""
    with pytest.raises(PushRefused) as caught:
        await folders.open(await locks(folders, asked))
    [found] = caught.value.diagnostics
    return found.file, found.line, found.message


def python_says(folder: Path | None, code: str) -> str:
    """What a Python with this folder in its path prints."""
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# --- Python -----------------------------------------------------------------------------------------------------------


async def test_a_wheel_and_what_it_requires_are_installed(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_wheel("one", "1.0", ONE, requires=("two>=2",))
    index.add_wheel("two", "2.0", {"two.py": "number = 2\n"})
    opened = await folders.open(await locks(folders, bundle("one\n")))
    assert python_says(opened.python, "import one, two; print(one.number() + two.number)") == "3"
    assert opened.node is None
    opened.close()


async def test_nobody_may_write_what_was_installed(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_wheel("one", "1.0", ONE, mode=0o6777)
    opened = await folders.open(await locks(folders, bundle("one")))
    assert opened.python is not None
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in (opened.python, *opened.python.rglob("*"))}
    assert modes <= {0o444, 0o555}
    assert list(opened.python.rglob("*.pyc"))
    opened.close()


async def test_the_same_lock_is_installed_once(index: PackageIndex, folders: PackageFolders, tmp_path: Path) -> None:
    index.add_wheel("one", "1.0", ONE)
    packages = await locks(folders, bundle("one==1.0"))
    index.asked.clear()
    (await _folders(index, tmp_path / "other").open(packages)).close()
    alone = index.downloads()
    index.asked.clear()
    # Two workers of one machine, each asked twice at once.
    workers = [folders, folders, _folders(index, tmp_path), _folders(index, tmp_path)]
    opened = await asyncio.gather(*(worker.open(packages) for worker in workers))
    assert len({each.python for each in opened}) == 1
    assert index.downloads() == alone
    for each in opened:
        each.close()


async def test_what_is_unchanged_is_not_asked_for_again(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_wheel("one", "1.0", ONE)
    asked = bundle("one")
    packages = await locks(folders, asked)
    version = Version(VersionNumber(1), "", asked, Declaration(packages=packages))
    index.add_wheel("one", "1.1", ONE)
    before = list(index.asked)
    again, _ = await folders.resolve({**asked, "m.py": b"changed"}, BOTH, version)
    assert (again, index.asked) == (packages, before)
    newer, _ = await folders.resolve(bundle("one>1.0"), BOTH, version)
    assert newer is not None and newer.python is not None and "one==1.1" in newer.python


async def test_a_lock_of_another_python_is_made_anew(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_wheel("one", "1.0", ONE)
    packages = Packages(python="# cpython-399 elsewhere\none==0.9\n")
    version = Version(VersionNumber(1), "", bundle("one"), Declaration(packages=packages))
    again, _ = await folders.resolve(bundle("one"), BOTH, version)
    assert again is not None and again.python is not None and "one==1.0" in again.python


async def test_where_nothing_is_asked_for_nobody_is_asked(index: PackageIndex, folders: PackageFolders) -> None:
    for asked in (bundle(), bundle("# nothing yet\n"), {"package.json": b"{}"}):
        assert await folders.resolve(asked, BOTH, None) == (None, ())
    index.add_wheel("one", "1.0", ONE)
    assert await folders.resolve(bundle("one", one="1"), (), None) == (None, ())
    assert (await folders.open(None)).python is None
    assert index.asked == []


async def test_what_has_no_wheel_is_refused_and_not_built(
    index: PackageIndex, folders: PackageFolders, tmp_path: Path
) -> None:
    index.add_sdist("one", "1.0", f"open({str(tmp_path / 'built')!r}, 'w')")
    file, line, message = await refused(folders, bundle("# a comment\none==1.0\n"))
    assert (file, line) == ("requirements.txt", 2)
    assert "no usable wheels" in message
    assert not (tmp_path / "built").exists()


async def test_requirements_that_contradict_each_other_are_refused(
    index: PackageIndex, folders: PackageFolders
) -> None:
    index.add_wheel("one", "1.0", ONE, requires=("two>=2",))
    index.add_wheel("two", "1.0", {"two.py": ""})
    index.add_wheel("two", "2.0", {"two.py": ""})
    file, line, message = await refused(folders, bundle("\none\ntwo<2\n"))
    assert (file, line) == ("requirements.txt", 2)
    assert "two>=2" in message and "unsatisfiable" in message


async def test_what_nobody_offers_is_refused_with_its_line(folders: PackageFolders, index: PackageIndex) -> None:
    index.add_wheel("one", "1.0", ONE)
    file, line, message = await refused(folders, bundle("one\n\nno-such-thing\n"))
    assert (file, line) == ("requirements.txt", 3)
    assert "no-such-thing" in message and index.address not in message


async def test_an_index_that_cannot_be_reached_is_said_to_be_that(index: PackageIndex, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    folders = _folders(index, tmp_path, UV_DEFAULT_INDEX=f"{nobody}/simple", NPM_CONFIG_REGISTRY=f"{nobody}/")
    file, line, message = await refused(folders, bundle("one\n"))
    assert (file, line) == ("requirements.txt", 1)
    assert "cannot be reached or used from this server" in message and nobody not in message


async def test_what_is_not_what_the_lock_says_is_not_installed(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_wheel("one", "1.0", ONE)
    packages = await locks(folders, bundle("one"))
    index.add_wheel("one", "1.0", {"one/__init__.py": "import os; os.abort()"})
    with pytest.raises(PushRefused, match=r"(?i)hash"):
        await folders.open(packages)


@pytest.mark.parametrize(
    "lock",
    ["--" + "index-url http://127.0.0.1:9\n", "one @ file:///etc/one.whl\n", "one==1.0\n", "-r /etc/passwd", "--pre"],
)
async def test_what_is_no_lock_is_not_followed(index: PackageIndex, folders: PackageFolders, lock: str) -> None:
    with pytest.raises(PushRefused, match="its lock is none"):
        await folders.open(Packages(python=lock))
    node = json.dumps({"lockfileVersion": 3, "packages": {"": {"dependencies": {}}, "node_modules/x": {"link": True}}})
    for wrong in ("{}", "[]", "x", '{"packages": {"": 7}}', node):
        with pytest.raises(PushRefused):
            await folders.open(Packages(node=wrong))
    assert index.asked == []


async def test_what_python_would_run_when_it_starts_is_not_run(
    index: PackageIndex, folders: PackageFolders, tmp_path: Path
) -> None:
    code = f"import os; os.mkdir({str(tmp_path / 'run')!r})"
    index.add_wheel("one", "1.0", {**ONE, "one.pth": code})
    opened = await folders.open(await locks(folders, bundle("one")))
    assert python_says(opened.python, "import one; print(one.number())") == "1"
    opened.close()
    for name in ("sitecustomize.py", "usercustomize/__init__.py"):
        index.add_wheel("bad", "1.0", {name: code})
        assert "would be run whenever Python starts" in (await refused(folders, bundle("bad")))[2]
    assert not (tmp_path / "run").exists()


async def test_a_wheel_cannot_write_elsewhere(index: PackageIndex, folders: PackageFolders, tmp_path: Path) -> None:
    up = [f"{'../' * depth}outside-{depth}.txt" for depth in range(1, 9)]
    index.add_wheel("one", "1.0", {**dict.fromkeys([*up, str(tmp_path / "absolute.txt")], "x"), **ONE})
    opened = await folders.open(await locks(folders, bundle("one")))
    assert opened.python is not None
    found = {*tmp_path.parent.rglob("outside-*.txt"), *tmp_path.parent.rglob("absolute.txt")}
    assert [path for path in found if not path.is_relative_to(opened.python)] == []
    opened.close()


async def test_more_than_the_limit_is_not_installed(
    index: PackageIndex, folders: PackageFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add_wheel("one", "1.0", {f"one/m{number}.py": "" for number in range(100)})
    packages = await locks(folders, bundle("one"))
    monkeypatch.setattr(limits, "PACKAGE_FILES", Limit(50, "files", "for this test"))
    with pytest.raises(PushRefused, match="limit PACKAGE_FILES is 50"):
        await folders.open(packages)
    monkeypatch.setattr(limits, "PACKAGE_LOCK", Limit(50, "bytes", "for this test"))
    assert "limit PACKAGE_LOCK is 50" in (await refused(folders, bundle("one")))[2]


# --- npm --------------------------------------------------------------------------------------------------------------


def node_says(folder: Path | None, name: str, tmp_path: Path) -> str:
    """What a script beside this node_modules finds in a package."""
    assert folder is not None
    place = tmp_path / "beside"
    place.mkdir(exist_ok=True)
    (place / "node_modules").symlink_to(folder)
    command = ["node", "-e", f"console.log(require({name!r}))"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout.strip()


@with_npm
async def test_a_package_of_npm_and_its_dependencies_are_installed(
    index: PackageIndex, folders: PackageFolders, tmp_path: Path
) -> None:
    index.add_npm("@some/two", "2.0.0", {"index.js": "module.exports = 2"})
    code = {"index.js": "module.exports = 1 + require('@some/two')"}
    index.add_npm("one", "1.0.0", code, dependencies={"@some/two": "^2.0.0"}, bin={"one": "index.js"})
    opened = await folders.open(await locks(folders, bundle(one="^1.0.0")))
    assert node_says(opened.node, "one", tmp_path) == "3"
    assert opened.node is not None and not [path for path in opened.node.rglob("*") if path.is_symlink()]
    opened.close()


@with_npm
async def test_scripts_of_packages_are_not_run(index: PackageIndex, folders: PackageFolders, tmp_path: Path) -> None:
    script = f"touch {tmp_path / 'run'}"
    stages = ("preinstall", "install", "postinstall", "prepare")
    index.add_npm("one", "1.0.0", {"index.js": "", "binding.gyp": "{}"}, scripts=dict.fromkeys(stages, script))
    (await folders.open(await locks(folders, bundle(one="1.0.0")))).close()
    assert "one-1.0.0.tgz" in index.downloads()
    assert not (tmp_path / "run").exists()


@with_npm
async def test_a_lock_of_the_bundle_is_kept_to(index: PackageIndex, folders: PackageFolders) -> None:
    index.add_npm("one", "1.0.0", {"index.js": ""})
    asked = bundle(one="^1.0.0")
    made = (await locks(folders, asked)).node
    assert made is not None
    index.add_npm("one", "1.1.0", {"index.js": ""})
    kept = (await locks(folders, {**asked, "package-lock.json": made.encode()})).node
    assert kept is not None and '"version":"1.0.0"' in kept.replace(" ", "").replace('"name":"bundle",', "")
    assert '"1.1.0"' not in kept
    newest = (await locks(folders, asked)).node
    assert newest is not None and '"1.1.0"' in newest


@with_npm
@pytest.mark.parametrize("elsewhere", ["git+ssh://git@127.0.0.1/x.git", "http://127.0.0.1:9/x.tgz", "file:../../x"])
async def test_a_dependency_of_a_dependency_cannot_lead_elsewhere(
    index: PackageIndex, folders: PackageFolders, elsewhere: str
) -> None:
    index.add_npm("one", "1.0.0", {"index.js": ""}, dependencies={"two": elsewhere})
    file, _, message = await refused(folders, bundle(one="1.0.0"))
    assert file == "package.json"
    assert message


@with_npm
async def test_what_the_registry_does_not_have_is_refused_with_its_line(
    index: PackageIndex, folders: PackageFolders
) -> None:
    index.add_npm("one", "1.0.0", {"index.js": ""})
    file, line, message = await refused(folders, bundle(one="1.0.0", nothing="1"))
    assert (file, line) == ("package.json", 4)
    assert "nothing" in message and index.address not in message
    assert (await refused(folders, bundle(one="99")))[:2] == ("package.json", 3)


# --- how the tools are run --------------------------------------------------------------------------------------------


async def test_the_tools_see_nothing_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_ADMIN_KEY", "secret")
    ran = await Tools({"UV_INDEX": "x"}).run(tmp_path, ["/usr/bin/env"])
    seen = dict(line.split("=", 1) for line in ran.text.splitlines())
    assert seen.keys() - {"PWD", "OLDPWD", "SHLVL", "_"} == {"HOME", "TMPDIR", "PATH", "LC_ALL", "NO_COLOR", "UV_INDEX"}
    assert seen["HOME"].startswith(str(tmp_path))


async def test_a_run_that_takes_too_long_ends_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PACKAGE_TIME", Limit(1_000, "ms", "for this test"))
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    script = 'trap "" TERM; (sleep 600 >/dev/null 2>&1) & sleep 600'
    with pytest.raises(RunTooLong, match="PACKAGE_TIME"):
        await Tools({}).run(tmp_path, ["/bin/sh", "-c", script])
    os.close(writing)
    # End of file comes when nobody holds the other end any more.
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)


async def test_a_run_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from worker.packages.tools import Tools\n"
        "asyncio.run(Tools({}).run(Path(sys.argv[1]), ['/bin/sh', '-c', 'echo $$ > begun; exec cat > end < pipe']))"
    )
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as starter:
        # Opening it waits for the one that reads.
        writing = await asyncio.to_thread((tmp_path / "pipe").open, "wb", 0)
        starter.kill()
    with writing, pytest.raises(BrokenPipeError):
        while True:
            await asyncio.to_thread(writing.write, b"x")


async def test_a_run_that_writes_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PACKAGE_BYTES", Limit(1 << 20, "bytes", "for this test"))
    monkeypatch.setattr(limits, "PACKAGE_FILES", Limit(10, "files", "for this test"))
    one_file = await Tools({}).run(tmp_path, ["/bin/sh", "-c", "exec head -c 9000000 /dev/zero > large"])
    assert one_file.code != 0
    assert (tmp_path / "large").stat().st_size <= 1 << 20
    (tmp_path / "large").unlink()
    with pytest.raises(RunTooLarge, match="limit PACKAGE_FILES is 10"):
        await Tools({}).run(tmp_path, ["/bin/sh", "-c", "for i in $(seq 20); do echo > f$i; done; sleep 600"])
