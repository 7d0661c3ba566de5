"""Packages of Node-style modules, from the push to the answer, through a whole server and whatever befalls it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from control_plane.cli.bundles import read_bundle
from tests.conftest import LiveServer, Tenant
from tests.package_index import PackageIndex, package_index

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "links" / "functions"
ACTION = """"use node"
import {0}
from runtime import action

@action
def number(ctx) -> float:
    return {0}.number()
"""


def bundle(package: str, asked: str | None = None) -> dict[str, str]:
    """A bundle with an action that calls a package."""
    return {"a.py": ACTION.format(package), "requirements.txt": f"{package}\n" if asked is None else asked}


def returning(number: float) -> str:
    """A package whose function returns this."""
    return f"def number(): return {number}\n"


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with package_index() as found:
        for name in ("one", "two", "three", "four", "five"):
            found.add_wheel(name, "1.0", {f"{name}.py": returning(1.0)})
        yield found


@pytest.fixture(scope="module")
def server(index: PackageIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("data"), None, **index.variables)
    yield server
    server.stop()


@pytest.fixture
def own_server(index: PackageIndex, tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path / "data", None, **index.variables)
    yield server
    if server.process.poll() is None:
        server.stop()


def number(tenant: Tenant) -> float:
    """What the action of the bundle returns."""
    answer = tenant.run("a:number")
    assert answer["status"] == "success", answer
    value: float = answer["value"]
    return value


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_example_answers(server: LiveServer, index: PackageIndex) -> None:
    # Stand-ins for the two packages, as far as the example uses them: this machine's index is the only one here.
    pictures = "class Code:\n    def svg_inline(self, scale): return f'<svg {scale}>'\ndef make(text): return Code()\n"
    index.add_wheel("segno", "1.6.6", {"segno.py": pictures})
    index.add_npm("slugify", "1.6.9", {"index.js": "module.exports = (text) => text.toLowerCase()"})
    tenant = server.tenant(read_bundle(EXAMPLE))
    link = {"title": "Tea", "url": "https://example.com/menu"}
    assert tenant.request("POST", "/links", json=link).json() == {"slug": "tea"}
    assert tenant.request("POST", "/links", json=link).status_code == 409
    assert tenant.get("/links/tea").headers["location"] == "https://example.com/menu"
    assert tenant.get("/links/tea/qr").text == "<svg 8>"
    listed = tenant.control("GET", "functions").json()["functions"]
    assert {each["path"]: each["engine"] for each in listed} == {
        "http:create": "isolate",
        "http:follow": "isolate",
        "http:show_code": "isolate",
        "links:add": "isolate",
        "links:by_slug": "isolate",
        "slugs:make": "node",
        "codes:draw": "python",
    }


def test_a_push_of_changed_code_and_a_rollback_ask_nobody(server: LiveServer, index: PackageIndex) -> None:
    tenant = server.tenant(bundle("one"))
    assert number(tenant) == 1.0
    index.add_wheel("one", "2.0", {"one.py": returning(2.0)})
    index.asked.clear()
    changed = bundle("one")["a.py"].replace("one.number()", "one.number() + 10")
    assert tenant.push({**bundle("one"), "a.py": changed}).status_code == 201
    assert number(tenant) == 11.0
    assert tenant.control("POST", "rollback", json={"version": 1}).status_code == 200
    assert number(tenant) == 1.0
    assert index.asked == []
    assert tenant.push(bundle("one", "one>1\n")).status_code == 201
    assert number(tenant) == 2.0


def test_what_cannot_be_had_is_refused_and_the_running_version_goes_on(server: LiveServer, index: PackageIndex) -> None:
    tenant = server.tenant(bundle("two"))
    index.add_sdist("built", "1.0", "raise SystemExit(1)")
    for asked, line, reason in (
        ("two\nbuilt\n", 2, "no usable wheels"),
        ("two\n\nnothing-like-it\n", 3, "not found in the package registry"),
        ("-e .\ntwo\n", 1, "nothing can be installed from the bundle itself"),
        ("two @ git+https://host.example/two\n", 1, "packages come from the server's package index"),
    ):
        answer = tenant.push(bundle("two", asked))
        assert answer.status_code == 422, answer.text
        [found] = answer.json()["diagnostics"]
        assert (found["file"], found["line"]) == ("requirements.txt", line)
        assert reason in found["message"]
    assert number(tenant) == 1.0


def test_a_package_that_is_imported_is_behind_the_wall(server: LiveServer, index: PackageIndex) -> None:
    code = (
        "import os, pathlib\n"
        "def number():\n"
        "    seen = [name for name in os.environ if name.startswith(('WARREN_A', 'UV_', 'PIP_'))]\n"
        "    here = pathlib.Path(__file__)\n"
        "    try:\n"
        "        here.with_name('other.py').write_text('x')\n"
        "    except OSError:\n"
        "        return float(len(seen))\n"
        "    return -1.0\n"
    )
    index.add_wheel("three", "3.0", {"three.py": code})
    assert number(server.tenant(bundle("three"))) == 0.0


def test_a_server_killed_while_it_installs_has_installed_nothing(own_server: LiveServer, index: PackageIndex) -> None:
    tenant = own_server.tenant()
    index.may_answer.clear()
    index.is_asked.clear()

    def push() -> None:
        with suppress(httpx.TransportError):
            tenant.push(bundle("four"))

    pushing = threading.Thread(target=push)
    pushing.start()
    assert index.is_asked.wait(30)
    own_server.kill()
    pushing.join()
    index.may_answer.set()
    own_server.start()
    assert tenant.control("GET", "versions").json()["versions"] == []
    assert tenant.push(bundle("four")).status_code == 201
    assert number(tenant) == 1.0
    assert list((own_server.data / "packages" / "work").iterdir()) == []


def test_packages_that_are_gone_are_installed_again_from_the_lock(own_server: LiveServer, index: PackageIndex) -> None:
    tenant = own_server.tenant(bundle("five"))
    assert number(tenant) == 1.0
    own_server.stop()
    # As on another machine, whose worker has never seen this version.
    for path in sorted((own_server.data / "packages").rglob("*"), reverse=True):
        path.chmod(0o755)
        path.rmdir() if path.is_dir() else path.unlink()
    index.add_wheel("five", "2.0", {"five.py": returning(2.0)})
    own_server.start()
    assert number(tenant) == 1.0
    # And where they are there nobody is asked.
    own_server.stop()
    index.asked.clear()
    own_server.start()
    assert number(tenant) == 1.0
    assert index.asked == []


def test_without_an_index_everything_that_is_there_works(index: PackageIndex, tmp_path: Path) -> None:
    nowhere = {**index.variables, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    server = LiveServer(tmp_path / "data", None, **nowhere)
    try:
        tenant = server.tenant(
            {"a.py": '"use node"\nfrom runtime import action\n@action\ndef number(ctx): return 7.0\n'}
        )
        assert number(tenant) == 7.0
        answer = tenant.push(bundle("one"))
        assert answer.status_code == 422
        assert "cannot be reached or used from this server" in answer.json()["diagnostics"][0]["message"]
        assert number(tenant) == 7.0
    finally:
        server.stop()
