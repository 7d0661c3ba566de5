"""What is understood of a requirements.txt, a package.json and a package-lock.json, and what is refused?"""

import json
import logging
from typing import Any

import pytest

from runtime import limits
from runtime.errors import PushRefused
from worker.packages.complaints import refuse
from worker.packages.manifest import Manifest, read_lock, read_manifest
from worker.packages.requirements import read_requirements
from worker.packages.tools import Ran

HASH = "--hash=sha256:" + "0f" * 32


def objections(text: str | bytes) -> list[tuple[int, str]]:
    with pytest.raises(PushRefused) as caught:
        read_requirements(text if isinstance(text, bytes) else text.encode())
    assert {one.file for one in caught.value.diagnostics} == {"requirements.txt"}
    return [(one.line, one.message) for one in caught.value.diagnostics]


# --- requirements.txt -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("idna", "idna"),
        ("idna==3.7", "idna"),
        ("  Zope.Interface >= 5 , < 8  # a comment", "zope-interface"),
        ("requests[socks, security]~=2.32", "requests"),
        ("a (>=1,<2)", "a"),
        ("a_b!=1.*; python_version < '3.13' and (sys_platform == \"linux\")", "a-b"),
        ("a===1.0+local.1", "a"),
        (f"idna==3.7 {HASH} {HASH}", "idna"),
        (f"\ufeffidna==3.7 \\\n    {HASH} \\\n    {HASH}\n", "idna"),
    ],
)
def test_a_requirement_is_a_name_and_what_versions_may_be(text: str, name: str) -> None:
    [found] = read_requirements(text.encode())
    assert (found.name, found.line) == (name, 1)
    assert "\n" not in found.text and "#" not in found.text


def test_requirements_keep_their_lines() -> None:
    found = read_requirements(b"# first\n\na\n\r\nb==1 \\\n  ; python_version > '3'\nc")
    assert [(one.name, one.line) for one in found] == [("a", 3), ("b", 5), ("c", 7)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-e .", "nothing can be installed from the bundle itself"),
        ("--editable=./x", "nothing can be installed from the bundle itself"),
        ("-r more.txt", "other files are not read"),
        ("--constraint more.txt", "other files are not read"),
        ("--" + "index-url https://index.example/simple", "options are not followed"),
        ("-i https://index.example/simple", "options are not followed"),
        ("--find-links /etc", "options are not followed"),
        ("--no-binary :all:", "options are not followed"),
        ("--pre", "options are not followed"),
        ("git+https://host.example/x.git", "not from URLs"),
        ("x @ git+ssh://host.example/x.git", "not from URLs"),
        ("x @ https://host.example/x.whl", "not from URLs"),
        ("x@file:///etc/passwd", "not from URLs"),
        ("file:./x", "not from URLs"),
        ("./x", "not from URLs"),
        ("/etc/x.tar.gz", "not from URLs"),
        ("x-1.0-py3-none-any.whl", "not from URLs"),
        ("..", "not from URLs"),
        ("x==${SECRET}", "is not a requirement"),
        ("x==1 --global-option=y", "is not a requirement"),
        ("x==1 --hash=md5:00", "is not a requirement"),
        ("x>=", "is not a requirement"),
        ("x y", "is not a requirement"),
        ("ü", "is not a requirement"),
        ("x==1;", "is not a requirement"),
    ],
)
def test_anything_else_is_refused_with_its_line(line: str, reason: str) -> None:
    [(number, message)] = objections(f"idna\n\n{line}\n")
    assert number == 3
    assert reason in message


def test_every_line_that_cannot_be_followed_is_told_at_once() -> None:
    assert [line for line, _ in objections("-e .\nidna\n--pre\n")] == [1, 3]


def test_a_file_of_requirements_has_limits() -> None:
    many = "".join(f"p{number}\n" for number in range(limits.PACKAGE_REQUIREMENTS + 1))
    [(line, message)] = objections(many)
    assert line == limits.PACKAGE_REQUIREMENTS + 1
    assert f"limit PACKAGE_REQUIREMENTS is {int(limits.PACKAGE_REQUIREMENTS)}" in message
    assert "PACKAGE_TEXT" in objections("x" * 2_000)[0][1]
    assert objections(b"\xff\xfe")[0][1] == "this file is not UTF-8 text"


# --- package.json -----------------------------------------------------------------------------------------------------


def manifest(**dependencies: Any) -> Manifest:
    return read_manifest(json.dumps({"dependencies": dependencies}).encode())


def test_dependencies_are_understood_and_the_rest_means_nothing() -> None:
    text = {
        "name": "mine",
        "type": "module",
        "scripts": {"install": "rm -rf /"},
        "dependencies": {"one": "^1.0.0 || 2.x", "@some/two": "latest", "three": "npm:@other/four@~3.1", "five": ""},
        "optionalDependencies": {"six": "1"},
        "devDependencies": {"seven": "file:.."},
    }
    found = read_manifest(json.dumps(text, indent=1).encode())
    assert found.document() == {
        "name": "bundle",
        "version": "1.0.0",
        "private": True,
        "dependencies": text["dependencies"],
    }
    assert found.lines["@some/two"] == 9
    assert [one.message for one in found.warnings] == ["optionalDependencies are not installed; only dependencies are"]


@pytest.mark.parametrize(
    "versions",
    [
        "git+ssh://git@host.example/x.git",
        "github:a/b",
        "a/b",
        "https://host.example/x.tgz",
        "file:../x",
        "../x",
        "/etc",
        "link:x",
        "workspace:*",
        "npm:x@file:y",
        "$(id)",
        7,
        None,
        "x" * 2_000,
    ],
)
def test_a_dependency_that_is_not_of_the_registry_is_refused(versions: Any) -> None:
    text = json.dumps({"dependencies": {"one": "1", "two": versions}}, indent=1)
    with pytest.raises(PushRefused) as caught:
        read_manifest(text.encode())
    [found] = caught.value.diagnostics
    assert (found.file, found.line) == ("package.json", 4)
    assert found.message.startswith("two: ")


@pytest.mark.parametrize("name", ["", ".x", "a b", "../x", "@a", "a/b", "--git", "x" * 2_000])
def test_what_is_not_the_name_of_a_package_is_refused(name: str) -> None:
    with pytest.raises(PushRefused, match="is not the name of a package"):
        manifest(**{name: "1"})


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"dependencies": []}', b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(PushRefused):
        read_manifest(text)


# --- package-lock.json ------------------------------------------------------------------------------------------------

ENTRY = {"version": "1.0.0", "integrity": "sha512-AAAA==", "resolved": "https://registry.example/one.tgz"}


def lock(**packages: Any) -> bytes:
    return json.dumps({"lockfileVersion": 3, "packages": {"": {"scripts": {"install": "x"}}, **packages}}).encode()


def test_of_a_lock_versions_and_hashes_are_kept_and_no_address() -> None:
    found = read_lock(manifest(one="1"), lock(**{"node_modules/one": ENTRY, "node_modules/@a/b/node_modules/c": ENTRY}))
    assert found["packages"] == {
        "": {"name": "bundle", "version": "1.0.0", "dependencies": {"one": "1"}},
        "node_modules/one": {"version": "1.0.0", "integrity": "sha512-AAAA=="},
        "node_modules/@a/b/node_modules/c": {"version": "1.0.0", "integrity": "sha512-AAAA=="},
    }
    inside = {"version": "1.0.0", "inBundle": True}
    assert read_lock(manifest(), lock(**{"node_modules/one/node_modules/two": inside}))


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("node_modules/../../x", {}),
        ("../x", {}),
        ("one", {}),
        ("node_modules/one", {"link": True}),
        ("node_modules/one", {"resolved": "git+ssh://git@host.example/x.git#1"}),
        ("node_modules/one", {"resolved": "file:../x.tgz"}),
        ("node_modules/one", {"resolved": 7}),
        ("node_modules/one", {"version": "file:../x"}),
        ("node_modules/one", {"version": None}),
        ("node_modules/one", {"integrity": None}),
        ("node_modules/one", {"integrity": "sha1-AAAA"}),
    ],
)
def test_an_entry_of_a_lock_that_leads_elsewhere_is_refused(place: str, changes: dict[str, Any]) -> None:
    with pytest.raises(PushRefused) as caught:
        read_lock(manifest(one="1"), lock(**{place: {**ENTRY, **changes}}))
    [found] = caught.value.diagnostics
    assert (found.file, found.line) == ("package-lock.json", 1)


def test_an_old_lock_is_refused_with_what_to_do() -> None:
    with pytest.raises(PushRefused, match="make it anew"):
        read_lock(manifest(), b'{"lockfileVersion": 1, "dependencies": {}}')


# --- what tools say ---------------------------------------------------------------------------------------------------


def test_what_a_tool_says_is_one_line_of_the_log_without_passwords(caplog: pytest.LogCaptureFixture) -> None:
    said = "error: no wheel\nWARNING forged line\n  from https://operator:s3cret@index.example/simple"
    with caplog.at_level(logging.INFO):
        refused = refuse(Ran(1, said), "requirements.txt", {})
    [record] = caplog.records
    assert record.getMessage().count("\n") == 0
    assert "no wheel | WARNING forged line" in record.getMessage()
    assert "s3cret" not in record.getMessage() and "s3cret" not in str(refused)
