"""Node-style actions of both languages, from the push to the answer, behind their real wall."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LiveServer, Tenant
from tests.contracts.web_house import answer
from tests.walks.web_server import reachable

BOTH = pytest.mark.parametrize("module", ["machine", "script"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("data"), WARREN_ERROR_DETAILS="show")
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path / "data", WARREN_EGRESS_ALLOW="127.0.0.1")
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("node_style")


def call(tenant: Tenant, function: str, **args: Any) -> Any:
    """What an HTTP action got from an action."""
    module, name = function.split(":")
    answer = tenant.request("POST", f"/call/{module}/{name}", content=json.dumps(args))
    assert answer.status_code == 200, answer.text
    return answer.json()


def client(tenant: Tenant, kind: str, function: str, **args: Any) -> Any:
    """What a client gets that calls a function."""
    body = {"path": function, "args": args, "format": "json"}
    return tenant.server.http.post(f"/api/{kind}", json=body, headers={"Host": tenant.cloud}).json()


def set_variable(tenant: Tenant, name: str, value: str) -> None:
    """Set a variable of the deployment."""
    answer = tenant.control("PUT", f"env/{name}", json={"value": value})
    assert answer.status_code < 300, answer.text


@BOTH
def test_an_http_action_gets_what_a_node_style_action_returns(tenant: Tenant, module: str) -> None:
    assert f"from {module}" in call(tenant, f"{module}:keep", text=f"from {module}")


@BOTH
def test_a_client_calls_a_node_style_action(tenant: Tenant, module: str) -> None:
    answer = client(tenant, "action", f"{module}:keep", text=f"of a client, {module}")
    assert answer["status"] == "success", answer
    assert f"of a client, {module}" in answer["value"]


@BOTH
def test_data_of_an_application_error_comes_through_every_hop(tenant: Tenant, module: str) -> None:
    answer = tenant.request("POST", f"/call/{module}/keep", content=json.dumps({"text": "refuse"}))
    assert (answer.status_code, answer.json()) == (422, {"data": {"code": 7, "text": "refuse"}})


@BOTH
def test_its_lines_are_in_the_log_under_the_request(tenant: Tenant, module: str) -> None:
    answer = tenant.request("POST", f"/call/{module}/keep", content=json.dumps({"text": f"logged {module}"}))
    wanted = f"keeping logged {module}"
    assert wanted in tenant.log(request_id=answer.headers["x-request-id"])


@BOTH
def test_a_process_stays_warm_between_calls(tenant: Tenant, module: str) -> None:
    first, second = (call(tenant, f"{module}:whoami") for _ in range(2))
    assert first["pid"] == second["pid"]
    assert second["calls"] == first["calls"] + 1


def test_one_language_calls_the_other(tenant: Tenant) -> None:
    assert call(tenant, "machine:through_node", text="up") == "UP"


def test_many_that_call_others_do_not_wait_for_each_others_places(tenant: Tenant) -> None:
    with ThreadPoolExecutor(24) as callers:
        found = list(callers.map(lambda number: call(tenant, "machine:through_node", text=f"up {number}"), range(48)))
    assert found == [f"UP {number}" for number in range(48)]


def test_a_mutation_schedules_a_node_style_action(tenant: Tenant) -> None:
    assert client(tenant, "mutation", "notes:later", text="scheduled")["status"] == "success"
    end = time.monotonic() + 20
    while "scheduled" not in client(tenant, "query", "notes:texts")["value"]:
        assert time.monotonic() < end


def test_it_has_files_and_child_processes_of_its_own(tenant: Tenant) -> None:
    assert call(tenant, "machine:works") == "42"


@BOTH
def test_leaving_the_process_fails_the_call_and_the_next_one_runs(tenant: Tenant, module: str) -> None:
    answer = tenant.request("POST", f"/call/{module}/leaves", content="{}")
    assert answer.status_code == 500
    assert ("exit code 3" if module == "machine" else "process.exit(3) was called") in answer.json()["error"]
    assert call(tenant, f"{module}:whoami")["calls"] == 1


def test_it_sees_nothing_of_the_machine(server: LiveServer, tenant: Tenant) -> None:
    set_variable(tenant, "PORT", str(server.port))
    refused = "PermissionError"
    found = call(tenant, "machine:peeks")
    assert found == {"/": refused, "/etc/passwd": refused, "/proc/1/environ": refused, "server": refused}


@BOTH
def test_a_variable_that_is_set_is_seen_by_the_next_call(tenant: Tenant, module: str) -> None:
    set_variable(tenant, "SECRET", f"for {module}")
    assert call(tenant, f"{module}:whoami")["secret"] == f"for {module}"


def test_its_functions_look_like_all_others_to_clients(tenant: Tenant) -> None:
    answer = client(tenant, "action", "machine:whoami")
    assert answer["status"] == "error" and "Could not find public function" in answer["errorMessage"]
    wrong = client(tenant, "action", "script:keep", text=1)
    assert "args.text must be a string" in wrong["errorMessage"]


def test_a_module_that_does_not_import_fails_the_push_and_changes_nothing(tenant: Tenant) -> None:
    refused = tenant.push({"bad.py": '"use node"\nimport nowhere\n', "worse.mjs": '"use node";\nimport "nowhere";\n'})
    assert refused.status_code == 422, refused.text
    assert "No module named 'nowhere'" in refused.text and "Cannot find package 'nowhere'" in refused.text
    assert call(tenant, "machine:through_node", text="up") == "UP"


def test_it_connects_where_the_egress_policy_lets_it_and_nowhere_else(own_server: LiveServer) -> None:
    tenant = own_server.tenant("node_style")
    functions = ("machine:asks", "script:asks", "machine:asks_through_the_host")

    def ask() -> list[Any]:
        return [client(tenant, "action", function, url=reached.url)["status"] for function in functions]

    with reachable() as reached:
        reached.server.answers["/"] = answer("200 OK", body=b"hello")
        assert ask() == ["success"] * 3
        for allow, expected in (([], "error"), ([reached.url.split("//")[1].rstrip("/")], "success")):
            changed = own_server.admin("PATCH", f"/v1/deployments/{tenant.name}", json={"egress": {"allow": allow}})
            assert changed.status_code == 200, changed.text
            assert ask() == [expected] * 3
    assert "is closed" in tenant.log()


@pytest.mark.parametrize("how", ["push", "delete"])
def test_what_a_deployment_does_not_run_any_more_is_ended_at_once(server: LiveServer, how: str) -> None:
    tenant = server.tenant("node_style")
    pid = call(tenant, "machine:whoami")["pid"]
    if how == "push":
        assert tenant.push({"http.py": "from runtime import HttpRouter\nhttp = HttpRouter()\n"}).status_code == 201
    else:
        assert server.admin("DELETE", f"/v1/deployments/{tenant.name}").status_code < 300
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end


def test_nothing_is_left_when_the_server_stops(own_server: LiveServer) -> None:
    tenant = own_server.tenant("node_style")
    pids = [call(tenant, f"{module}:whoami")["pid"] for module in ("machine", "script")]
    assert own_server.stop() == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert list((own_server.data / "scratch").iterdir()) == []
