"""What goes into a push, and what does a new bundle look like?"""

import io
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from control_plane.cli.bundles import (
    STARTER,
    find_bundle,
    fingerprint,
    init,
    pack,
    package_files,
    read_bundle,
)
from control_plane.cli.client import Refused


def _write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def test_a_bundle_is_the_folder_functions(tmp_path: Path) -> None:
    _write(tmp_path, "functions/http.py", "README.md")
    assert find_bundle(tmp_path) == tmp_path / "functions"


def test_a_folder_with_modules_is_a_bundle_itself(tmp_path: Path) -> None:
    _write(tmp_path, "http.py")
    assert find_bundle(tmp_path) == tmp_path


def test_files_of_packages_count_where_modules_use_them() -> None:
    asking = {"requirements.txt": b"idna", "package.json": b"{}", "m.py": b"x = 1"}
    assert package_files(asking) == []
    assert package_files({**asking, "a.py": b"'use node'"}) == ["requirements.txt"]
    assert package_files({**asking, "a.py": b"'use node'", "b.mjs": b"'use node'"}) == [
        "requirements.txt",
        "package.json",
    ]
    assert package_files({"a.py": b"'use node'"}) == []


def test_a_folder_without_modules_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="warren init"):
        find_bundle(tmp_path)
    with pytest.raises(Refused, match="There is no folder"):
        find_bundle(tmp_path / "nowhere")


def test_what_is_hidden_made_by_tools_or_a_link_stays_at_home(tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("secret")
    bundle = tmp_path / "functions"
    _write(bundle, "http.py", "admin/users.py", "package.json", ".env", ".git/config", "__pycache__/http.pyc", "a.py~")
    _write(bundle, "node_modules/x/index.js")
    (bundle / "link.py").symlink_to(secret)
    (bundle / "outside").symlink_to(tmp_path)
    assert sorted(read_bundle(bundle)) == ["admin/users.py", "http.py", "package.json"]


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    _write(tmp_path, "http.py", "a/b.py")
    assert pack(read_bundle(tmp_path)) == pack(read_bundle(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(pack(read_bundle(tmp_path)))) as archive:
        assert archive.getnames() == ["a/b.py", "http.py"]


def test_a_fingerprint_tells_apart_what_moved_from_one_file_to_another() -> None:
    assert fingerprint({"a": b"xy", "b": b""}) != fingerprint({"a": b"x", "b": b"y"})
    assert fingerprint({"a": b"1", "b": b"2"}) == fingerprint({"b": b"2", "a": b"1"})


def test_init_writes_a_bundle_and_never_over_one(tmp_path: Path) -> None:
    first = CliRunner().invoke(init, [str(tmp_path)])
    assert first.exit_code == 0
    assert {path: (tmp_path / path).read_text() for path in STARTER} == STARTER
    (tmp_path / "functions/http.py").write_text("mine")
    second = CliRunner().invoke(init, [str(tmp_path)])
    assert second.exit_code == 1
    assert "nothing was written" in second.output
    assert (tmp_path / "functions/http.py").read_text() == "mine"
