"""Queries and mutations, called as an administrator and from HTTP actions, on documents that last."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import LiveServer, Tenant


@pytest.fixture
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("walks")


def value(answer: dict[str, object]) -> object:
    assert answer["status"] == "success", answer
    return answer["value"]


def test_a_document_that_was_inserted_is_found(tenant: Tenant) -> None:
    assert tenant.request("POST", "/insert", json={"text": "first"}).status_code == 200
    assert tenant.get("/list").json() == ["first"]


def test_documents_are_read_in_the_order_of_their_creation_both_ways(tenant: Tenant) -> None:
    value(tenant.run("notes:add_many", {"texts": ["a", "b", "c"]}))
    assert value(tenant.run("notes:texts")) == ["a", "b", "c"]
    assert value(tenant.run("notes:newest")) == ["c", "b"]
    assert value(tenant.run("notes:with_letter", {"letter": "b"})) == ["b"]


def test_a_mutation_that_fails_leaves_nothing(tenant: Tenant) -> None:
    answer = tenant.run("notes:add_many", {"texts": ["a", "b"], "fail": True})
    assert answer["status"] == "error"
    assert answer["errorData"] == {"written": 2}
    assert value(tenant.run("notes:texts")) == []


def test_a_nested_mutation_that_fails_is_rolled_back_alone(tenant: Tenant) -> None:
    assert value(tenant.run("notes:add_with_nested")) == {"written": 1}
    assert value(tenant.run("notes:texts")) == ["outer"]


def test_a_document_is_changed_in_place(tenant: Tenant) -> None:
    id = value(tenant.run("notes:add", {"text": "before"}))
    changed = value(tenant.run("notes:change", {"id": id, "text": "after"}))
    assert isinstance(changed, dict)
    assert (changed["_id"], changed["text"]) == (id, "after")


def test_concurrent_increments_are_all_counted(tenant: Tenant) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: tenant.run("notes:increment"), range(40)))
    counted = [answer["value"] for answer in answers if answer["status"] == "success"]
    assert sorted(counted) == list(range(1, len(counted) + 1))
    assert value(tenant.run("notes:counter")) == len(counted)


def test_the_clock_stands_still_in_a_query_and_random_differs_between_runs(tenant: Tenant) -> None:
    first, second = value(tenant.run("notes:chances")), value(tenant.run("notes:chances"))
    assert isinstance(first, list) and isinstance(second, list)
    assert first[0] == first[1]
    assert first[2:] != second[2:]


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        ("notes:writes", {}, "query"),
        ("notes:sleeps", {}, "timer"),
        ("notes:calls_itself", {}, "deep"),
        ("notes:newest", {"count": "two"}, "count"),
        ("notes:newest", {"cuont": 2}, "cuont"),
        ("notes:change", {"id": "x"}, "text"),
        ("notes:nothing", {}, "notes:nothing"),
    ],
)
def test_what_a_function_may_not_do_is_refused_with_a_sentence(
    tenant: Tenant, function: str, arguments: dict[str, object], says: str
) -> None:
    answer = tenant.run(function, arguments)
    assert answer["status"] == "error"
    assert says in answer["errorMessage"]


def test_an_internal_function_looks_like_a_missing_one_to_a_client(tenant: Tenant) -> None:
    def ask(path: str) -> str:
        answer = tenant.server.http.post(
            "/api/mutation", json={"path": path, "args": {"text": "x"}}, headers={"Host": tenant.cloud}
        )
        return answer.text.replace(path, "PATH").replace(answer.headers["x-request-id"], "ID")

    assert ask("notes:add") == ask("notes:nothing")


def test_a_mutation_that_spins_is_stopped_and_leaves_nothing(tenant: Tenant) -> None:
    assert tenant.run("notes:spins")["status"] == "error"
    assert value(tenant.run("notes:texts")) == []


def test_acknowledged_writes_survive_a_power_failure(own_server: LiveServer) -> None:
    tenant = own_server.tenant("walks")
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda n: tenant.request("POST", "/insert", json={"text": f"note {n}"}).status_code, range(60))
        )
    assert answers == [200] * 60
    own_server.kill()
    own_server.start()
    assert sorted(tenant.get("/list").json()) == sorted(f"note {n}" for n in range(60))


FORGETFUL = """
from runtime import mutation

@mutation
async def add(ctx) -> None:
    ctx.db.insert("notes", {})

@mutation
async def later(ctx) -> None:
    forgotten = ctx.scheduler.run_after(0, "m:add")
"""


def test_a_forgotten_await_is_said_in_the_log_each_time(server: LiveServer) -> None:
    tenant = server.tenant({"m.py": FORGETFUL})
    for function in ("m:add", "m:add", "m:later"):
        assert tenant.run(function)["status"] == "success"
    said = "was never awaited, so it did nothing: write `await` in front of the call"
    log = tenant.log(level="warn")
    assert log.count(f"m.py:6: coroutine 'DatabaseWriter.insert' {said}") == 2, log
    assert f"coroutine 'Scheduler.run_after' {said}" in log
