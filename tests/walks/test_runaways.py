"""A call that does not come back, and who notices."""

import threading

import pytest

from tests.conftest import LiveServer, Tenant


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("walks")


@pytest.mark.parametrize("path", ["/spin", "/spin-quietly", "/huge"])
def test_a_runaway_call_ends_and_says_why_in_the_log(tenant: Tenant, path: str) -> None:
    answer = tenant.get(path)
    assert answer.status_code >= 500
    log = tenant.log(request_id=answer.headers["x-request-id"])
    assert "TimeLimit" in log or "MemoryError" in log
    assert tenant.get("/hello").status_code == 200


def test_the_neighbours_of_a_runaway_call_are_answered(tenant: Tenant, server: LiveServer) -> None:
    neighbour = server.tenant("walks")
    runaway = threading.Thread(target=tenant.get, args=("/spin-quietly",))
    runaway.start()
    assert [neighbour.get("/plain").status_code for _ in range(50)] == [200] * 50
    runaway.join()


def test_a_query_in_the_isolate_of_a_runaway_call_is_run_again(tenant: Tenant) -> None:
    runaway = threading.Thread(target=tenant.get, args=("/spin-quietly",))
    runaway.start()
    answers = [tenant.run("notes:counter") for _ in range(20)]
    runaway.join()
    assert [answer["status"] for answer in answers] == ["success"] * 20
