"""What does the control plane promise to its clients? Deployments, keys, environment, errors, OpenAPI."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from control_plane import problems
from runtime import limits
from runtime.errors import Overloaded
from tests.contracts.office_at_work import ADMIN_KEY, AtWork, office_at_work

NO_KEY = {"authorization": ""}


@pytest.fixture
async def office() -> AsyncIterator[AtWork]:
    """The office at work."""
    async with office_at_work() as work:
        yield work


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document that this answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["type"]) == (status, code, f"urn:warren:problem:{code}")
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["title"] and found["detail"]
    return found


# --- who may ----------------------------------------------------------------------------------------------------------

OWN = [
    ("GET", ""), ("DELETE", ""), ("POST", "/pushes"), ("GET", "/versions"), ("POST", "/rollback"), ("GET", "/env"),
    ("PUT", "/env/A"), ("DELETE", "/env/A"), ("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/1"),
    ("GET", "/functions"), ("GET", "/routes"), ("GET", "/logs"),
    ("GET", "/schedules"), ("DELETE", "/schedules?function=a:b"), ("GET", "/schedules/1"), ("DELETE", "/schedules/1"),
    ("POST", "/schedules/1/rerun"), ("GET", "/crons"), ("POST", "/crons/1/run"),
]  # fmt: skip
OPERATORS = [("GET", "/v1/deployments"), ("POST", "/v1/deployments"), ("PATCH", "/v1/deployments/mine")]


@pytest.mark.parametrize(("method", "path"), [*((m, f"/v1/deployments/mine{p}") for m, p in OWN), *OPERATORS])
async def test_without_a_good_key_every_call_is_refused_alike(office: AtWork, method: str, path: str) -> None:
    await office.create("mine")
    details = set()
    bad = ["", "Bearer", "Bearer wrong", "Bearer mine|wrong", "Bearer none|wrong", "Bearer |", f"Basic {ADMIN_KEY}"]
    for authorization in [*bad, f"Bearer {ADMIN_KEY}x", "Bearer mine|\u00e9\u00e9".encode().decode("latin-1")]:
        for name in ("mine", "none"):
            headers = [(b"authorization", authorization.encode("latin-1"))]
            answer = await office.http.request(method, path.replace("mine", name), headers=headers)
            details.add(problem(answer, 401, "Unauthorized")["detail"])
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(details) == 2  # without a key, and with a wrong one
    assert office.removed == ["mine"]  # when it was made


@pytest.mark.parametrize(("method", "path"), OWN)
async def test_a_deploy_key_is_for_its_own_deployment(office: AtWork, method: str, path: str) -> None:
    mine = await office.create("mine")
    await office.create("theirs")
    details = set()
    for name in ("theirs", "nobodys", "UPPER%20CASE"):
        answer = await office.http.request(method, f"/v1/deployments/{name}{path}", headers=mine)
        details.add(problem(answer, 403, "Forbidden")["detail"])
    assert len(details) == 1
    answer = await office.http.request(method, f"/v1/deployments/mine{path}", headers=mine)
    assert answer.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), OPERATORS)
async def test_what_is_the_operators_needs_the_admin_key(office: AtWork, method: str, path: str) -> None:
    mine = await office.create("mine")
    problem(await office.http.request(method, path, headers=mine, json={}), 403, "Forbidden")


@pytest.mark.parametrize(("method", "path"), OWN)
async def test_the_operator_is_told_which_deployment_is_missing(office: AtWork, method: str, path: str) -> None:
    for name in ("nobodys", "NOT%20A%20NAME"):
        answer = await office.http.request(method, f"/v1/deployments/{name}{path}")
        assert problem(answer, 404, "NotFound")["detail"].startswith("there is no deployment")


async def test_a_key_can_be_made_used_listed_and_removed(office: AtWork) -> None:
    first = await office.create("mine")
    made = (await office.http.post("/v1/deployments/mine/keys", json={"name": "ci"}, headers=first)).json()
    assert made["deploy_key"].startswith("mine|")
    second = {"authorization": f"Bearer {made['deploy_key']}"}
    listed = await office.http.get("/v1/deployments/mine/keys", headers=second)
    assert [key["name"] for key in listed.json()["keys"]] == ["first", "ci"]
    assert made["deploy_key"].partition("|")[2] not in listed.text
    assert (await office.http.delete(f"/v1/deployments/mine/keys/{made['id']}", headers=first)).status_code == 204
    problem(await office.http.get("/v1/deployments/mine/keys", headers=second), 401, "Unauthorized")
    problem(await office.http.delete(f"/v1/deployments/mine/keys/{made['id']}"), 404, "NotFound")
    assert (await office.http.post("/v1/deployments/mine/keys")).json()["name"] == ""


async def test_keys_have_a_number(office: AtWork) -> None:
    await office.create("mine")
    for _ in range(limits.DEPLOYMENT_KEYS - 1):
        assert (await office.http.post("/v1/deployments/mine/keys")).status_code == 201
    found = problem(await office.http.post("/v1/deployments/mine/keys"), 413, "TooLarge")
    assert found["errors"][0]["limit"] == limits.DEPLOYMENT_KEYS


# --- deployments ------------------------------------------------------------------------------------------------------


async def test_a_deployment_is_made_read_listed_and_deleted(office: AtWork) -> None:
    made = await office.http.post("/v1/deployments", json={"name": "happy-otter-1"})
    assert made.status_code == 201
    body = made.json()
    key = {"authorization": f"Bearer {body.pop('deploy_key')}"}
    assert body == {
        "name": "happy-otter-1",
        "site_url": "http://happy-otter-1.site.localhost:3210",
        "cloud_url": "http://happy-otter-1.cloud.localhost:3210",
    }
    read = (await office.http.get("/v1/deployments/happy-otter-1", headers=key)).json()
    assert {**body, "paused": False, "concurrency": None, "domains": [], "version": None}.items() <= read.items()
    assert (await office.http.get("/v1/deployments")).json() == {"deployments": [read]}
    assert office.removed == ["happy-otter-1"], "it begins with nothing"
    office.removed.clear()
    office.changed.clear()
    assert (await office.http.delete("/v1/deployments/happy-otter-1", headers=key)).status_code == 204
    assert office.removed == ["happy-otter-1"]
    assert office.changed[-1] == "happy-otter-1"
    problem(await office.http.get("/v1/deployments/happy-otter-1"), 404, "NotFound")
    problem(await office.http.get("/v1/deployments/happy-otter-1", headers=key), 401, "Unauthorized")


@pytest.mark.parametrize("request_body", [{}, {"json": {}}, {"json": {"name": None}}])
async def test_a_deployment_without_a_name_gets_one(office: AtWork, request_body: dict[str, Any]) -> None:
    made = (await office.http.post("/v1/deployments", **request_body)).json()
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{3}", made["name"])


async def test_a_body_is_json_whatever_it_is_called(office: AtWork) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    made = await office.http.post("/v1/deployments", content=b'{"name": "mine"}', headers=headers)
    assert made.json()["name"] == "mine"


async def test_a_taken_name_is_a_conflict_and_a_bad_one_names_its_field(office: AtWork) -> None:
    await office.create("mine")
    problem(await office.http.post("/v1/deployments", json={"name": "mine"}), 409, "Conflict")
    for name in ("Mine", "a.b", "-a", "", "a" * 64, "a/b"):
        found = problem(await office.http.post("/v1/deployments", json={"name": name}), 422, "InvalidField")
        assert found["errors"][0]["field"] == "name"


async def test_a_deployment_is_paused_and_limited_field_by_field(office: AtWork) -> None:
    await office.create("mine")
    office.changed.clear()
    url = "/v1/deployments/mine"
    domains = ["WWW.Example.com.", "api.example.com", "www.example.com"]
    await office.http.patch(url, json={"paused": True})
    await office.http.patch(url, json={"concurrency": 7, "domains": domains})
    changed = await office.http.patch(url, json={"paused": False})
    assert {"paused": False, "concurrency": 7, "domains": ["www.example.com", "api.example.com"]}.items() <= (
        changed.json().items()
    )
    assert (await office.http.patch(url, json={"concurrency": None})).json()["concurrency"] is None
    egress = {"allow": ["API.Example.com", "*.example.org:8443"]}
    await office.http.patch(url, json={"egress": egress})
    kept = (await office.http.patch(url, json={"paused": True})).json()["egress"]
    assert kept == {"allow": ["api.example.com", "*.example.org:8443"]}
    assert (await office.http.patch(url, json={"egress": None})).json()["egress"] is None
    assert office.changed == ["mine"] * 7


@pytest.mark.parametrize(
    ("change", "field", "limit"),
    [
        ({"concurrency": 0}, "concurrency", 1), ({"concurrency": "many"}, "concurrency", None),
        ({"pause": True}, "pause", None), ({"paused": None}, "paused", None), ({"domains": "a.b"}, "domains", None),
        ({"domains": ["x.example.com"] * 101}, "domains", 100),
        ({"egress": []}, "egress", None), ({"egress": {}}, "egress.allow", None),
        ({"egress": {"allow": "a.example"}}, "egress.allow", None),
        ({"egress": {"allow": ["a.example", "10.0.0.0/8"]}}, "egress.allow", None),
        ({"egress": {"allow": ["a.example"] * 257}}, "egress.allow", 256),
        *(({"domains": [bad]}, "domains", None) for bad in (
            "localhost", "a.b:80", "1.2.3.4", "b\u00fccher.example", "a..b", "-a.example.com", "a b.example.com", "",
            "mine.site.localhost", "site.localhost", "x.mine.cloud.localhost", "a.example.com/x", "*.example.com",
        )),
    ],
)  # fmt: skip
async def test_a_wrong_change_names_field_and_limit(
    office: AtWork, change: dict[str, Any], field: str, limit: int | None
) -> None:
    await office.create("mine")
    found = problem(await office.http.patch("/v1/deployments/mine", json=change), 422, "InvalidField")
    assert found["errors"][0]["field"].startswith(field)
    assert found["errors"][0].get("limit") == limit
    assert (await office.http.get("/v1/deployments/mine")).json()["paused"] is False


async def test_a_domain_is_given_to_one_deployment(office: AtWork) -> None:
    await office.create("mine")
    await office.create("theirs")
    await office.http.patch("/v1/deployments/mine", json={"domains": ["www.example.com"]})
    answer = await office.http.patch("/v1/deployments/theirs", json={"domains": ["www.example.com"]})
    assert "mine" not in problem(answer, 409, "Conflict")["detail"]


# --- environment ------------------------------------------------------------------------------------------------------


async def test_variables_are_set_listed_and_removed_and_the_directory_forgets(office: AtWork) -> None:
    mine = await office.create("mine")
    office.changed.clear()
    url = "/v1/deployments/mine/env"
    pem = "-----BEGIN-----\nabc\r\n\u00e9\n-----END-----\n"
    created = await office.http.put(f"{url}/PEM", json={"value": pem}, headers=mine)
    assert created.json() == {"key": "PEM", "created": True}
    assert (await office.http.put(f"{url}/PEM", json={"value": pem + "2"})).json()["created"] is False
    await office.http.put(f"{url}/EMPTY", json={"value": ""})
    listed = await office.http.get(url, headers=mine)
    assert listed.json() == {"variables": {"EMPTY": "", "PEM": pem + "2"}}
    assert listed.headers["cache-control"] == "no-store"
    assert (await office.http.delete(f"{url}/PEM")).status_code == 204
    problem(await office.http.delete(f"{url}/PEM"), 404, "NotFound")
    assert (await office.http.get(url)).json() == {"variables": {"EMPTY": ""}}
    assert office.changed == ["mine"] * 5


@pytest.mark.parametrize("key", ["WARREN_SITE_URL", "WARREN_CLOUD_URL", "1A", "A-B", "A B", "A" * 65, "\u00c9"])
async def test_a_variable_that_cannot_be_set_is_refused_by_its_name(office: AtWork, key: str) -> None:
    await office.create("mine")
    for method in ("PUT", "DELETE"):
        answer = await office.http.request(method, f"/v1/deployments/mine/env/{key}", json={"value": "x"})
        assert problem(answer, 422, "InvalidField")["errors"][0]["field"] == "key"


@pytest.mark.parametrize(
    "body",
    ['{"value": "a\\u0000b"}', '{"value": "\\ud800"}', '{"value": 5}', "{}", '{"value": "x", "valeu": "y"}', "[]"],
)
async def test_a_value_that_cannot_be_one_is_refused(office: AtWork, body: str) -> None:
    await office.create("mine")
    headers = {"content-type": "application/json"}
    answer = await office.http.put("/v1/deployments/mine/env/A", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await office.http.get("/v1/deployments/mine/env")).json() == {"variables": {}}


async def test_values_have_a_size_one_by_one_and_together_and_are_not_echoed(office: AtWork) -> None:
    await office.create("mine")
    url = "/v1/deployments/mine/env"
    answer = await office.http.put(f"{url}/BIG", json={"value": "s3cret" * limits.VARIABLE_BYTES})
    found = problem(answer, 413, "TooLarge")
    assert found["errors"] == [
        {
            "field": "value",
            "message": found["detail"],
            "limit": limits.VARIABLE_BYTES,
            "value": 6 * limits.VARIABLE_BYTES,
        }
    ]
    assert "s3cret" not in answer.text
    full = {f"V{number}": "x" * (limits.VARIABLE_BYTES - 4) for number in range(128)}
    await office.registry.variables.set((await office.registry.deployments.summaries())[0].name, full)
    answer = await office.http.put(f"{url}/MORE", json={"value": "x" * 1000})
    assert "ENVIRONMENT_BYTES" in problem(answer, 413, "TooLarge")["detail"]


async def test_variables_have_a_number(office: AtWork) -> None:
    await office.create("mine")
    full = {f"V{number}": "" for number in range(limits.VARIABLES)}
    await office.registry.variables.set((await office.registry.deployments.summaries())[0].name, full)
    problem(await office.http.put("/v1/deployments/mine/env/MORE", json={"value": ""}), 413, "TooLarge")
    assert (await office.http.put("/v1/deployments/mine/env/V1", json={"value": "x"})).status_code == 200


# --- health, errors, OpenAPI ------------------------------------------------------------------------------------------


async def test_health_needs_no_key(office: AtWork) -> None:
    for path, expected in {
        "/livez": {"status": "alive"},
        "/readyz": {"status": "ready", "checks": {"registry": "ok"}},
        "/version": {"name": "warren", "version": "1.2.3"},
    }.items():
        answer = await office.http.get(path, headers=NO_KEY)
        assert (answer.status_code, answer.json()) == (200, expected)
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert re.fullmatch(r"handler;dur=[\d.]+", answer.headers["server-timing"])
    metrics = await office.http.get("/metrics", headers=NO_KEY)
    assert metrics.text == "warren_requests_total 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_a_part_that_is_not_ready_says_why(office: AtWork) -> None:
    office.failing["sandbox"] = "the zygote is starting"
    found = problem(await office.http.get("/readyz"), 503, "NotReady")
    assert found["detail"] == "sandbox: the zygote is starting"


async def test_unknown_places_and_methods_are_problems_too(office: AtWork) -> None:
    assert "/openapi.json" in problem(await office.http.get("/nowhere"), 404, "NotFound")["detail"]
    answer = await office.http.post("/livez")
    problem(answer, 405, "MethodNotAllowed")
    assert answer.headers["allow"] == "GET"
    problem(await office.http.get("/v1/deployments/"), 404, "NotFound")


async def test_a_body_that_is_not_json_or_too_large_is_refused(office: AtWork) -> None:
    headers = {"content-type": "application/json"}
    problem(await office.http.post("/v1/deployments", content=b'{"name": ', headers=headers), 400, "BadRequest")
    problem(await office.http.post("/v1/deployments", content=b"\xff\xfe", headers=headers), 400, "BadRequest")
    deep = b"[" * 100_000
    assert (await office.http.post("/v1/deployments", content=deep, headers=headers)).status_code in (400, 422)
    large = json.dumps({"name": "x" * limits.CONTROL_BODY}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield large

    for content in (large, pieces()):
        found = problem(await office.http.post("/v1/deployments", content=content, headers=headers), 413, "TooLarge")
        assert found["errors"][0]["limit"] == limits.CONTROL_BODY
        assert found["errors"][0]["value"] > limits.CONTROL_BODY


async def test_every_operation_is_described_with_its_errors(office: AtWork) -> None:
    page = (await office.http.get("/openapi.json", headers=NO_KEY)).json()
    operations = {operation["operationId"]: operation for path in page["paths"].values() for operation in path.values()}
    assert len(operations) == sum(len(path) for path in page["paths"].values()) > 25
    for name, operation in operations.items():
        assert operation["summary"] and operation["description"], name
        for status, response in operation["responses"].items():
            if status >= "400":
                schema = {"$ref": "#/components/schemas/Problem"}
                assert response["content"] == {"application/problem+json": {"schema": schema}}, (name, status)
            elif status != "204":
                assert "content" in response, (name, status)
        public = name in ("livez", "readyz", "version", "metrics", "certificate")
        assert public == ("security" not in operation), name
        assert public or {"401", "403"} <= operation["responses"].keys(), name
    assert set(operations["push"]["requestBody"]["content"]) == {"application/gzip", "application/zip"}
    assert "application/x-ndjson" in operations["read_logs"]["responses"]["200"]["content"]
    assert set(operations["import_documents"]["requestBody"]["content"]) == {
        *("application/zip", "application/x-ndjson", "text/csv")
    }
    assert set(operations["export_documents"]["responses"]["200"]["content"]) == {"application/zip"}
    assert "HTTPValidationError" not in page["components"]["schemas"]


async def test_changes_of_one_deployment_wait_for_each_other(office: AtWork) -> None:
    await office.create("mine")
    url = "/v1/deployments/mine/env"
    await asyncio.gather(*(office.http.put(f"{url}/V{n}", json={"value": str(n)}) for n in range(30)))
    assert len((await office.http.get(url)).json()["variables"]) == 30


def test_what_cannot_be_reached_is_no_accident_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    answer = problems.answer(Overloaded("the queue cannot be reached"), "r1")
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["code"], answer.headers["retry-after"]) == (503, "Overloaded", "1")
    assert "/readyz says which" in told["detail"] and "queue" not in told["detail"]
    assert caplog.messages == ["request r1 was refused: the queue cannot be reached"]
    assert caplog.records[0].exc_info is None
