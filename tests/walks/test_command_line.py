"""The commands of ``warren``, against a whole server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from control_plane.cli.main import main
from tests.conftest import LiveServer

Warren = Callable[..., Result]

FUNCTIONS = """
from runtime import ApplicationError, HttpRouter, Response, action, env, http_action, mutation, query

http = HttpRouter()

@http.route(path="/", method="GET")
@http_action
async def hello(ctx, request):
    print("hello was asked")
    return Response("one")

@query
async def add(ctx, a: int, b: int) -> int:
    print("adding")
    return a + b

@action
async def variable(ctx, name: str):
    return env.get(name)

@action
async def refuse(ctx):
    raise ApplicationError({"why": "closed"})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a bundle that works."""
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions/http.py").write_text(FUNCTIONS)
    return tmp_path


@pytest.fixture
def warren(server: LiveServer, project: Path) -> Warren:
    """The command, with the deploy key of a deployment of its own; its bundle is pushed."""
    tenant = server.tenant()
    environment = {"WARREN_URL": f"http://127.0.0.1:{server.port}", "WARREN_DEPLOY_KEY": tenant.key}

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), env=environment, input=stdin)

    pushed = invoke("deploy", str(project))
    assert pushed.exit_code == 0, pushed.output
    return invoke


def test_deploy_says_which_version_is_live_and_where(warren: Warren, project: Path) -> None:
    again = warren("deploy", "--json", str(project))
    assert json.loads(again.stdout)["version"] == 1
    (project / "functions/http.py").write_text(FUNCTIONS.replace("one", "two"))
    changed = warren("deploy", str(project))
    assert "Version 2" in changed.output and "HTTP actions: http://" in changed.output


def test_a_refused_deploy_shows_file_line_reason_and_source(warren: Warren, project: Path) -> None:
    (project / "functions/http.py").write_text(FUNCTIONS + "import subprocess\n")
    line = FUNCTIONS.count("\n") + 1
    refused = warren("deploy", str(project))
    assert refused.exit_code == 1
    assert f"http.py:{line}: " in refused.output
    assert "    import subprocess\n" in refused.output
    assert refused.output.count("module 'subprocess'") == 1
    assert "nothing was changed" in refused.output
    as_json = json.loads(warren("deploy", "--json", str(project)).stdout)
    assert as_json["error"]["diagnostics"][0]["line"] == line
    assert json.loads(warren("versions", "--json").stdout)[0]["version"] == 1


def test_run_prints_the_value_and_shows_what_was_said(warren: Warren) -> None:
    done = warren("run", "http:add", '{"a": 2, "b": 3}')
    assert done.exit_code == 0
    assert done.stdout == "5\n"
    assert "adding" in done.stderr
    assert json.loads(warren("run", "--json", "http:add", '{"a": 2, "b": 3}').stdout)["value"] == 5


def test_run_of_what_fails_ends_with_code_one(warren: Warren) -> None:
    for arguments in (["http:refuse"], ["http:add", '{"a": "x", "b": 1}'], ["http:missing"]):
        done = warren("run", *arguments)
        assert done.exit_code == 1, done.output
    assert '"why": "closed"' in warren("run", "http:refuse").stderr
    assert "http:missing" in warren("run", "http:missing").stderr


def test_variables_are_live_and_keep_their_lines(warren: Warren) -> None:
    assert warren("env", "set", "A=1=2").exit_code == 0
    assert warren("env", "set", "B", "-", stdin="one\ntwo\n").exit_code == 0
    assert json.loads(warren("env", "list", "--json").stdout) == {"A": "1=2", "B": "one\ntwo\n"}
    assert warren("env", "get", "B").stdout == "one\ntwo\n"
    assert json.loads(warren("run", "http:variable", '{"name": "B"}').stdout) == "one\ntwo\n"
    assert warren("env", "unset", "A").exit_code == 0
    missing = warren("env", "get", "A")
    assert missing.exit_code == 1 and "no variable A" in missing.stderr


def test_functions_versions_and_rollback_tell_the_same_story(warren: Warren, project: Path) -> None:
    (project / "functions/http.py").write_text(
        FUNCTIONS + "\nfrom runtime import mutation as m\n@m\ndef extra(ctx): pass\n"
    )
    assert warren("deploy", str(project)).exit_code == 0
    assert "http:extra" in warren("functions").output
    assert warren("rollback", "1").exit_code == 0
    assert "http:extra" not in warren("functions").output
    active = [each["version"] for each in json.loads(warren("versions", "--json").stdout) if each["active"]]
    assert active == [1]
    refused = warren("rollback", "99")
    assert refused.exit_code == 1 and "99" in refused.stderr


def test_logs_are_read_and_filtered(warren: Warren) -> None:
    warren("run", "http:add", '{"a": 1, "b": 1}')
    lines = [json.loads(line) for line in warren("logs", "--json").stdout.splitlines()]
    said = next(line for line in lines if line["text"] == "adding")
    only = warren("logs", "--json", "--request-id", said["request_id"]).stdout.splitlines()
    assert {json.loads(line)["request_id"] for line in only} == {said["request_id"]}
    assert "adding" not in warren("logs", "--level", "error").stdout
    assert "adding" in warren("logs", "--since", "10m").stdout


def test_keys_are_made_listed_and_removed(warren: Warren) -> None:
    made = json.loads(warren("keys", "create", "ci", "--json").stdout)
    assert warren("versions", "--deploy-key", made["deploy_key"]).exit_code == 0
    assert made["id"] in warren("keys", "list").output
    assert warren("keys", "remove", made["id"]).exit_code == 0
    refused = warren("versions", "--deploy-key", made["deploy_key"])
    assert refused.exit_code == 1 and "WARREN_DEPLOY_KEY" in refused.stderr


def test_the_operator_makes_pauses_and_deletes_deployments(server: LiveServer) -> None:
    environment = {"WARREN_URL": f"http://127.0.0.1:{server.port}", "WARREN_ADMIN_KEY": server.admin_key}

    def operate(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["deployments", *arguments], env=environment)

    made = json.loads(operate("create", "by-hand", "--json").stdout)
    assert made["deploy_key"].startswith("by-hand|")
    assert operate("pause", "by-hand").exit_code == 0
    assert json.loads(operate("show", "by-hand").stdout)["paused"] is True
    assert operate("resume", "by-hand").exit_code == 0
    assert "by-hand" in operate("list").output
    assert operate("delete", "by-hand").exit_code == 1  # nobody was there to say yes
    assert operate("delete", "by-hand", "--yes").exit_code == 0
    assert operate("show", "by-hand").exit_code == 1


def test_a_deploy_key_is_not_the_operators(warren: Warren) -> None:
    refused = warren("deployments", "list")
    assert refused.exit_code == 1


def test_the_doctor_finds_every_mandatory_layer_here() -> None:
    found = CliRunner().invoke(main, ["doctor", "--json"])
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["safe"] and report["missing"] == []
    assert {"seccomp", "no_new_privileges", "rlimits"} <= {layer["name"] for layer in report["layers"]}
    shown = CliRunner().invoke(main, ["doctor"])
    assert "✓ seccomp" in shown.output and "✗ seccomp" not in shown.output
