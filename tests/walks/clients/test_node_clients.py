"""Do Convex's own npm clients, as they come, work against a deployment: HTTP and WebSocket, also over a bad line?"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.walks.clients.conftest import Deployment
from tests.walks.clients.npm_packages import node

ACTING = {
    "subject": "ann",
    "issuer": "https://acting.example.org",
    "tokenIdentifier": "https://acting.example.org|ann",
}
REFUSED = {"data": {"code": 7.0}}


class Stage:
    """Where scenarios are played."""

    def __init__(self, scripts: Path, deployment: Deployment) -> None:
        self._scripts = scripts
        self._options = {"url": deployment.url, "token": deployment.token, "key": deployment.key}

    def play(self, scenario: str) -> dict[str, Any]:
        """What happened in a scenario."""
        command = [node(), str(self._scripts / "play.mjs"), scenario, json.dumps(self._options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout, done.stdout + done.stderr
        happened: dict[str, Any] = json.loads(done.stdout)
        return happened


@pytest.fixture
def stage(scripts: Path, deployment: Deployment) -> Stage:
    return Stage(scripts, deployment)


def test_over_http_calls_keep_their_order_their_values_and_their_moment(stage: Stage) -> None:
    happened = stage.play("http_calls")
    assert happened["listed"] == [*map(str, range(8)), "later"]
    assert happened["moment"] == 0
    assert happened["echoed"] == happened["sent"]


def test_over_http_a_refusal_says_what_and_keeps_nothing(stage: Stage) -> None:
    happened = stage.play("http_refusals")
    assert happened["query"] == happened["mutation"] == REFUSED
    assert "messages:nothing" in happened["unknown"]["message"]
    assert "messages:list" in happened["kind"]["message"]
    # What is said about arguments is a detail that this server hides.
    assert "Server Error" in happened["missing"]["message"]
    assert happened["kept"] == []


def test_over_http_a_token_is_a_person_and_a_deploy_key_an_administrator(stage: Stage) -> None:
    happened = stage.play("http_identities")
    assert (happened["person"]["subject"], happened["person"]["name"]) == ("zed", "Zed")
    assert happened["nobody"] is None
    assert happened["acting"] == ACTING
    assert happened["secret"] == "for administrators"
    assert "messages:secret" in happened["closed"]["message"]
    assert "message" in happened["refused"] and "message" in happened["wrong"]


def test_what_is_subscribed_to_is_told_in_order_and_what_was_hoped_for_does_not_flicker(stage: Stage) -> None:
    happened = stage.play("live_updates")
    assert happened["ordered"] == [*map(str, range(10))]
    assert happened["hoped"] and set(happened["hoped"]) == {1.0}
    assert happened["told"] == 0
    assert happened["echoed"] == happened["sent"]


def test_on_a_connection_a_refusal_says_what_and_the_connection_goes_on(stage: Stage) -> None:
    happened = stage.play("live_refusals")
    assert happened["watched"] == happened["query"] == happened["mutation"] == REFUSED
    assert "messages:nothing" in happened["unknown"]["message"]
    assert "messages:send" in happened["kind"]["message"]
    assert happened["kept"] == []
    assert happened["connections"] == 1


def test_on_a_connection_who_logs_in_and_out_is_seen_by_what_is_subscribed_to(stage: Stage) -> None:
    happened = stage.play("live_identities")
    assert (happened["refused"], happened["accepted"]) == (False, True)
    assert happened["person"]["subject"] == "zed"
    assert happened["expected"]["subject"] == happened["late"]["subject"] == "zed"
    assert happened["acting"] == ACTING


def test_a_cut_connection_comes_back_with_its_subscriptions_and_its_person(stage: Stage) -> None:
    happened = stage.play("live_reconnects")
    assert happened["list"] == ["while away", "after"]
    assert happened["connections"] >= 2
    assert happened["strangers"] == 0


def test_a_mutation_whose_answer_was_lost_happens_once_and_such_an_action_is_given_up(stage: Stage) -> None:
    happened = stage.play("live_lost_answers")
    assert happened["list"] == ["once"]
    assert "Connection lost" in happened["action"]["message"]
    assert happened["next"] == {"a": 2.0}


def test_a_file_is_uploaded_shown_to_who_is_subscribed_and_gone_when_it_is_deleted(stage: Stage) -> None:
    happened = stage.play("files_flow")
    assert (happened["upload"], happened["type"], happened["same"]) == (200, "image/svg+xml", True)
    assert (happened["part"], happened["text"]) == (206, "<svg/>")
    assert happened["gone"] == 404
