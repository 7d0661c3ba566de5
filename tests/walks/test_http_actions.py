"""A client calls a deployment, and everything in between is the real thing."""

import json
import socket

import httpx
import pytest

from runtime import limits
from tests.conftest import LiveServer, Tenant


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("walks")


def test_a_request_is_answered_by_tenant_code(tenant: Tenant) -> None:
    answer = tenant.get("/hello?a=1")
    assert answer.text == f"Hello from http://{tenant.site}/hello?a=1"
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8"


def test_every_answer_carries_its_request_id_and_timing(tenant: Tenant) -> None:
    first, second = tenant.get("/hello"), tenant.get("/nowhere")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert {part.split(";")[0].strip() for part in first.headers["server-timing"].split(",")} >= {"queue", "handler"}


def test_a_plain_def_may_be_a_handler(tenant: Tenant) -> None:
    assert tenant.get("/plain").text == "a plain def"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/users/me/posts/last", "the exact path wins"),
        ("/users/anna/posts/7", '{"user":"anna","post":"7"}'),
        ("/users/a%2Fb/posts/%C3%A9", '{"user":"a/b","post":"é"}'),
        ("/users/me/other", "prefix /users/me/"),
        ("/users/anna", "prefix /users/"),
        ("/users//posts/7", "prefix /users/"),
    ],
)
def test_the_most_precise_route_answers(tenant: Tenant, path: str, answer: str) -> None:
    text = tenant.get(path).text
    assert (json.loads(text) == json.loads(answer)) if answer.startswith("{") else text == answer


def test_a_path_that_nobody_has_is_404_and_says_so(tenant: Tenant) -> None:
    answer = tenant.get("/Hello")
    assert answer.status_code == 404
    assert "/Hello" in answer.text


def test_a_path_of_another_method_is_405_with_the_methods(tenant: Tenant) -> None:
    answer = tenant.request("POST", "/hello")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}


def test_head_runs_the_get_handler_without_its_body(tenant: Tenant) -> None:
    answer = tenant.request("HEAD", "/hello")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == len(tenant.get("/hello").content)


def test_bytes_come_back_as_they_were(tenant: Tenant) -> None:
    assert tenant.get("/bytes").content == bytes(range(256))
    answer = tenant.request("POST", "/echo", content=b"\x00\xff" * 40_000, headers={"content-type": "a/b"})
    assert answer.content == b"\x00\xff" * 40_000
    assert answer.headers["content-type"] == "a/b"


def test_cookies_stay_apart_and_other_headers_are_combined(tenant: Tenant) -> None:
    headers = tenant.get("/cookies").headers
    assert headers.get_list("set-cookie") == ["a=1", "b=2; Path=/"]
    assert headers["x-thing"] == "one, two"


def test_a_form_with_a_file_is_read(tenant: Tenant) -> None:
    answer = tenant.request(
        "POST", "/form", data={"text": ["a", "b"]}, files={"upload": ("x.png", b"12345", "image/png")}
    )
    assert answer.json() == {"text": ["a", "b"], "name": "x.png", "type": "image/png", "size": 5}


def test_a_form_that_is_answered_can_be_parsed(tenant: Tenant) -> None:
    answer = tenant.get("/form-out")
    assert answer.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="a"\r\n\r\n1\r\n' in answer.content


def test_a_response_is_streamed(tenant: Tenant) -> None:
    answer = tenant.get("/stream")
    assert answer.text == "".join(f"piece {number}\n" for number in range(5))
    assert "content-length" not in answer.headers


def test_a_body_is_streamed_through_both_ways(tenant: Tenant) -> None:
    pieces = [bytes([number]) * 300_000 for number in range(20)]
    assert tenant.request("POST", "/relay", content=iter(pieces)).content == b"".join(pieces)


def test_a_body_of_exactly_the_limit_is_read(tenant: Tenant) -> None:
    assert tenant.request("POST", "/count", content=b"x" * limits.REQUEST_BODY).text == str(20 * 1024 * 1024)


def test_a_body_past_the_limit_is_413_with_limit_and_size(tenant: Tenant) -> None:
    answer = tenant.request("POST", "/count", content=b"x" * (limits.REQUEST_BODY + 1))
    assert answer.status_code == 413
    assert str(int(limits.REQUEST_BODY)) in answer.text


def test_a_streamed_body_past_the_limit_is_413(tenant: Tenant) -> None:
    answer = tenant.request("POST", "/count", content=(b"x" * 1_000_000 for _ in range(25)))
    assert answer.status_code == 413


def test_a_response_past_the_limit_is_cut_so_that_the_client_can_tell(tenant: Tenant) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        tenant.get("/flood")


def test_a_stream_that_breaks_is_cut_so_that_the_client_can_tell(tenant: Tenant) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        tenant.get("/broken-stream")
    assert "raise RuntimeError(" in tenant.log()


def test_a_response_known_to_be_too_large_is_an_error_with_limit_and_size(tenant: Tenant) -> None:
    answer = tenant.get("/too-much")
    assert answer.status_code == 500
    assert "20971521 bytes or more, limit 20971520" in tenant.log()


def test_a_path_is_logged_as_it_was_sent(tenant: Tenant) -> None:
    tenant.get("/a%2Fb%0Ac")
    assert "GET /a%2Fb%0Ac 404" in tenant.log()


def _ask_and_leave(tenant: Tenant, path: str, wait_for: str | None) -> None:
    with socket.create_connection(("127.0.0.1", tenant.server.port), timeout=10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {tenant.site}\r\n\r\n".encode())
        if wait_for is None:
            line.recv(1000)
        else:
            _wait_for(tenant, wait_for)


def _wait_for(tenant: Tenant, text: str) -> None:
    with httpx.Client(base_url=tenant.server.http.base_url, timeout=10) as http:
        headers = {"Authorization": f"Bearer {tenant.key}"}
        path = f"/v1/deployments/{tenant.name}/logs"
        with http.stream("GET", path, params={"follow": "true", "since": "0"}, headers=headers) as lines:
            assert any(text in line for line in lines.iter_lines())


def test_a_client_that_leaves_fires_the_signal(tenant: Tenant) -> None:
    _ask_and_leave(tenant, "/wait-for-leave", "waiting")
    _wait_for(tenant, "the client has left")


def test_a_client_that_leaves_ends_the_stream(tenant: Tenant) -> None:
    _ask_and_leave(tenant, "/endless", None)
    _wait_for(tenant, "the stream was closed")


def test_work_left_behind_is_cancelled_and_reported(tenant: Tenant) -> None:
    answer = tenant.get("/left-behind")
    assert answer.text == "done"
    log = tenant.log(request_id=answer.headers["x-request-id"])
    assert "left behind" in log


def test_a_handler_that_raises_is_a_500_with_the_reason_in_the_log_only(tenant: Tenant) -> None:
    answer = tenant.get("/raise")
    assert answer.status_code == 500
    assert "missing" not in answer.text
    assert answer.headers["x-request-id"] in answer.text
    log = tenant.log(request_id=answer.headers["x-request-id"])
    assert "KeyError" in log
    assert 'return empty[\\"missing\\"]' in log
    assert "about to fail" in log


def test_an_application_error_keeps_its_data(tenant: Tenant) -> None:
    answer = tenant.get("/application-error")
    assert answer.status_code == 500
    assert answer.json()["data"] == {"code": "OUT_OF_TEA", "left": 0}


def test_a_handler_that_returns_no_response_is_named(tenant: Tenant) -> None:
    answer = tenant.get("/number")
    assert answer.status_code == 500
    assert "number" in tenant.log(request_id=answer.headers["x-request-id"])


def test_a_header_cannot_split_the_response(tenant: Tenant) -> None:
    answer = tenant.get("/bad-header")
    assert answer.status_code == 500
    assert "set-cookie" not in answer.headers


def test_log_lines_carry_the_request_id_and_are_bounded(tenant: Tenant) -> None:
    answer = tenant.get("/log")
    assert answer.text == answer.headers["x-request-id"]
    lines = [json.loads(line) for line in tenant.log(request_id=answer.text).splitlines()]
    texts = [line["text"] for line in lines if line.get("kind", "line") == "line"]
    assert texts[:2] == ["printed-1", "warned once"]
    assert len(texts) <= limits.LOG_LINES + 1
    assert "dropped" in texts[-1]
    assert lines[1]["level"] == "warn"
    assert {line["request_id"] for line in lines} == {answer.text}
