"""Does Convex's own command line, as it comes, work on a deployment with nothing but its address and a deploy key?"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.walks.clients.conftest import Deployment
from tests.walks.clients.npm_packages import node

Done = subprocess.CompletedProcess[str]
Convex = Callable[..., Done]


def environment(deployment: Deployment) -> dict[str, str]:
    """What tells the command where to go."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WARREN_", "CONVEX_"))}
    told = {"CONVEX_SELF_HOSTED_URL": deployment.url, "CONVEX_SELF_HOSTED_ADMIN_KEY": deployment.key}
    return {**kept, **told, "CI": "1", "NO_COLOR": "1"}


def command(scripts: Path, *arguments: str) -> list[str]:
    """How `npx convex …` is started."""
    return [node(), str(scripts / "node_modules" / "convex" / "bin" / "main.js"), *arguments]


@pytest.fixture
def convex(scripts: Path, deployment: Deployment) -> Convex:
    def run(*arguments: str) -> Done:
        return subprocess.run(
            command(scripts, *arguments),
            cwd=scripts,
            env=environment(deployment),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_it_runs_public_and_internal_functions_and_acts_as_somebody(convex: Convex) -> None:
    sent = convex("run", "messages:send", '{"author": "cli", "body": "hello"}')
    assert sent.returncode == 0 and isinstance(json.loads(sent.stdout), str), sent.stderr
    assert "sending hello" in sent.stderr
    assert json.loads(convex("run", "messages:by", '{"author": "cli"}').stdout) == ["hello"]
    assert json.loads(convex("run", "messages:secret").stdout) == "for administrators"
    acting = convex(
        "run", "--identity", '{"subject": "ann", "issuer": "https://acting.example.org"}', "messages:whoami"
    )
    assert json.loads(acting.stdout)["tokenIdentifier"] == "https://acting.example.org|ann"


def test_it_says_why_a_function_failed_and_which_there_are(convex: Convex) -> None:
    failed = convex("run", "messages:fail")
    assert failed.returncode == 1 and "ApplicationError: {'code': 7}" in failed.stderr
    unknown = convex("run", "messages:nothing")
    assert unknown.returncode == 1 and "Available functions:" in unknown.stderr and "messages:send" in unknown.stderr
    mistyped = convex("run", "messages:send", '{"author": "cli", "body": 5}')
    assert mistyped.returncode == 1 and "body" in mistyped.stderr and "string" in mistyped.stderr


def test_it_sets_lists_and_removes_variables(convex: Convex) -> None:
    assert convex("env", "set", "COLOR", "dark blue").returncode == 0
    assert convex("env", "get", "COLOR").stdout == "dark blue\n"
    assert "COLOR=" in convex("env", "list").stdout
    assert convex("env", "remove", "COLOR").returncode == 0
    assert "not found" in convex("env", "get", "COLOR").stderr


def test_it_shows_tables_and_their_documents(convex: Convex, deployment: Deployment) -> None:
    for body in ("older", "newer"):
        assert deployment.run("messages:send", {"author": "table", "body": body})["status"] == "success"
    assert "messages" in convex("data").stdout
    shown = convex("data", "messages", "--limit", "1").stdout
    assert '"newer"' in shown and '"older"' not in shown
    lines = convex("data", "messages", "--format", "jsonLines").stdout.splitlines()
    assert {json.loads(line)["body"] for line in lines} >= {"older", "newer"}
    described = json.loads(convex("function-spec").stdout)
    assert "messages.js:list" in [each["identifier"] for each in described["functions"]]


def test_it_follows_the_log(scripts: Path, deployment: Deployment) -> None:
    assert deployment.run("messages:send", {"author": "log", "body": "before"})["status"] == "success"
    with subprocess.Popen(
        command(scripts, "logs", "--history", "5", "--success", "--jsonl"),
        cwd=scripts,
        env=environment(deployment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            for body in ("sending before", "sending after"):
                while body not in (line := following.stdout.readline()):
                    assert line, f"the log ended before {body!r}"
                assert deployment.run("messages:send", {"author": "log", "body": "after"})["status"] == "success"
        finally:
            following.kill()


def test_what_needs_a_bundle_in_javascript_is_refused_with_a_sentence(convex: Convex, tmp_path: Path) -> None:
    refused = convex("export", "--path", str(tmp_path / "snapshot.zip"))
    assert refused.returncode == 1 and "warren" in refused.stderr
