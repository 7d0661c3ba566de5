"""Which server, which deployment and which key does a command use?"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from control_plane.cli.client import DEFAULT_URL, LOCAL, Target, find_target
from control_plane.cli.main import main


def _invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WARREN_URL", "WARREN_DEPLOYMENT", "WARREN_DEPLOY_KEY", "WARREN_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens: the port is taken, so nobody else will, and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_deploy_key_names_its_deployment() -> None:
    target = find_target("http://s/", None, "shop|secret", None)
    assert (target.url, target.deployment, target.key) == ("http://s", "shop", "shop|secret")


def test_the_admin_key_is_used_where_the_deploy_key_is_of_another_deployment() -> None:
    assert Target("u", "other", "shop|secret", "admin").key == "admin"
    assert Target("u", "shop", "shop|secret", "admin").key == "shop|secret"
    assert Target("u", "other", "shop|secret", None).key == "shop|secret"


def test_keys_are_not_in_what_is_printed_of_a_target() -> None:
    assert "secret" not in repr(Target("u", "shop", "shop|secret", "also secret"))


def test_what_warren_dev_has_left_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCAL).parent.mkdir()
    (tmp_path / LOCAL).write_text(json.dumps({"url": "http://l", "deployment": "d", "admin_key": "k"}))
    (tmp_path / "functions").mkdir()
    monkeypatch.chdir(tmp_path / "functions")
    target = find_target(None, None, None, None)
    assert (target.url, target.deployment, target.key) == ("http://l", "d", "k")


@pytest.mark.parametrize("said", [("http://s", None), (None, "x|y")])
def test_what_warren_dev_has_left_is_not_mixed_with_what_was_said(
    said: tuple[str | None, str | None], tmp_path: Path
) -> None:
    (tmp_path / LOCAL).parent.mkdir()
    (tmp_path / LOCAL).write_text(json.dumps({"url": "http://l", "deployment": "d", "admin_key": "k"}))
    target = find_target(said[0], None, said[1], None)
    assert target.admin_key is None
    assert target.url == (said[0] or DEFAULT_URL)


def test_without_a_server_a_command_says_how_to_have_one(nobody: str) -> None:
    done = _invoke("versions", WARREN_URL=nobody, WARREN_DEPLOY_KEY="shop|secret")
    assert done.exit_code == 1
    assert f"Nothing answers at {nobody}" in done.output and "warren dev" in done.output


def test_a_refusal_is_json_where_json_was_asked_for(nobody: str) -> None:
    done = _invoke("versions", "--json", WARREN_URL=nobody, WARREN_DEPLOY_KEY="shop|secret")
    assert done.exit_code == 1
    assert "Nothing answers" in json.loads(done.stdout)["error"]["message"]


def test_a_command_that_needs_a_deployment_says_how_to_name_one() -> None:
    done = _invoke("versions", WARREN_ADMIN_KEY="admin")
    assert done.exit_code == 1
    assert "--deployment" in done.output


def test_arguments_that_are_no_object_are_refused_before_anything_is_sent() -> None:
    assert _invoke("run", "a:b", "[1]").exit_code == 2
    assert _invoke("run", "a:b", "{").exit_code == 2


def test_a_key_may_stand_in_a_file(nobody: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("shop|secret\n")
    done = _invoke("versions", WARREN_URL=nobody, WARREN_DEPLOY_KEY_FILE=str(tmp_path / "key"))
    assert "Nothing answers" in done.output  # it knew the deployment and the key, and got as far as the server
