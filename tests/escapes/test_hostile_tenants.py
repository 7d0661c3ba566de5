"""Tenants and clients that attack a whole server, judged from outside.

With the language layer bundles are plain Python. Without it they reach every door of the process and forge messages;
the wall must hold alone. What the field says at its end counts for every test: see `hostile_field.py`.
"""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Tenant
from tests.escapes.hostile_field import ADMIN, CUT, NEIGHBOUR, Answered, Field, attack, field

BURNING = ["loop", "deaf_loop", "loop_in_c", "power", "pattern", "collisions", "sorting", "decimals", "spinning_tasks"]
MEMORY = ["list_growth", "multiply", "width"]
# What each says in the log; the client hears of a failure and nothing else.
FAILING = {
    "raises": "raised ValueError",
    "loops": "raised TimeLimit",
    "huge": "Huge: xxx",
    "odd": "odd",
    "base": "Base",
    "generator_exit": "GeneratorExit",
    "stop_iteration": "StopIteration",
    "cancelled": "CancelledError",
    "memory_error": "MemoryError",
    "group": "ExceptionGroup",
    "circle": "Exception: one",
    "cyclic_data": "ApplicationError",
    "recursion": "RecursionError",
    "deep": "RecursionError",
    "split_value": "CR or LF",
    "split_name": "header name",
    "nul": "NUL",
    "status_zero": "200 to 599",
    "status_huge": "200 to 599",
    "status_informational": "200 to 599",
    "status_text": "whole number",
    "many_headers": "limit 256",
    "long_header": "limit 65536",
    "fake": "no HTTP token",
    "nothing": "returns a Response",
    "anything": "returns a Response",
}
RESULTS = {
    "deep": "nested deeper",
    "cyclic": "nested deeper",
    "text": "type Text",
    "dict": "type Dict",
    "keys": "keys are strings",
    "dollar": r"\$",
    "surrogate": "surrogate",
    "huge": "limit 8388608",
    "many": "VALUE_ITEMS",
    "big": "Int64",
    "object": "type object",
    "set": "type set",
}
# Attacks by native code: the status the client gets, and what the log says.
DOORS = {
    "leave": (503, "exit code 0"),
    "leave_by_libc": (503, "exit code 0"),
    "crash": (503, "SIGSEGV"),
    "abort": (503, "SIGABRT|SIGSEGV"),
    "kill_parent": (503, "forbidden kernel call"),
    "kill_everybody": (503, "forbidden kernel call"),
    "execute": (503, "forbidden kernel call"),
    "deaf_to_signals": (504, "did not listen"),
    "write_to_stderr": (503, "exit code 1"),
    "trickle": (504, "slept for more than"),
    "never_reads": (504, "TimeLimit"),
    "garbage": (503, "protocol violation"),
    "other_conversations": (503, "protocol violation"),
    "empty_pieces": (CUT, "protocol violation"),
    "pieces_without_credit": (CUT, "protocol violation"),
    "lines": (503, "protocol violation"),
    "own_lines": (503, "protocol violation"),
    "syscalls": (503, "protocol violation"),
    "heads": (503, "protocol violation"),
    "layers": (503, "protocol violation"),
    "frames": (503, "protocol violation"),
    "split_head": (500, "control character"),
    "status": (500, "200 to 599"),
}


@pytest.fixture(scope="module")
def polite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with field(tmp_path_factory.mktemp("polite"), "on") as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with field(tmp_path_factory.mktemp("bare"), "off") as made:
        yield made


@pytest.fixture(scope="module")
def plain(polite: Field) -> Tenant:
    return polite.attacker("hostile/plain")


@pytest.fixture(scope="module")
def native(bare: Field) -> Tenant:
    return bare.attacker("hostile/native")


# --- in plain Python --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BURNING)
def test_what_burns_is_stopped(plain: Tenant, name: str) -> None:
    answered = attack(plain, name)
    assert answered.status == 504
    assert "TimeLimit" in answered.log


@pytest.mark.parametrize("name", MEMORY)
def test_what_wants_too_much_memory_does_not_get_it(plain: Tenant, name: str) -> None:
    answered = attack(plain, name)
    assert answered.status == 500
    assert "MemoryError" in answered.log


@pytest.mark.parametrize("name", ["dict_growth", "unzip", "tasks"])
def test_what_grows_and_burns_meets_one_limit_or_the_other(plain: Tenant, name: str) -> None:
    answered = attack(plain, name)
    assert answered.status in (500, 503, 504)
    assert "TimeLimit" in answered.log or "MemoryError" in answered.log


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_in_an_odd_way_is_a_failure_like_any_other(plain: Tenant, name: str) -> None:
    answered = attack(plain, name)
    assert answered.status == 500
    assert FAILING[name] in answered.log
    assert b"Server Error" in answered.body and len(answered.body) < 200
    assert "set-cookie" not in answered.headers
    for host_path in ("site-packages", "/runtime/sandbox", "lib/python3"):
        assert host_path not in answered.log


@pytest.mark.parametrize("name", ["long_answer", "rubbish_pieces", "pieces_that_raise"])
def test_a_body_that_goes_wrong_is_cut(plain: Tenant, name: str) -> None:
    assert attack(plain, name).status == CUT


def test_framing_is_the_servers_whatever_a_response_says(plain: Tenant) -> None:
    answered = attack(plain, "lengths")
    assert answered.status == 200
    assert answered.body == b"HTTP/1.1 200 OK\r\n\r\nsmuggled"
    assert answered.headers.get_list("content-length") == [str(len(answered.body))]
    assert len(answered.headers.get_list("x-request-id")) == 1 and answered.headers["x-request-id"] != "forged"
    assert not {"transfer-encoding", "connection", "keep-alive", "upgrade"} & set(answered.headers)


def test_a_log_can_be_neither_flooded_nor_forged(plain: Tenant) -> None:
    flooded = attack(plain, "log_flood").log
    assert flooded.count("\n") < 300 and "lines dropped" in flooded
    forged = attack(plain, "log_forgery")
    assert len(forged.log.splitlines()) == 2  # what was printed, and the request itself
    assert "\x1b" not in forged.log
    assert plain.log(request_id="0000000000000000").strip() == ""


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_is_no_value_is_refused_by_name(plain: Tenant, name: str) -> None:
    answer = plain.run("functions:result", {"name": name})
    assert answer["status"] == "error"
    assert re.search(RESULTS[name], answer["errorMessage"])


def test_calls_that_call_each_other_without_end_are_refused(polite: Field) -> None:
    tenant = polite.attacker("hostile/plain")
    for _ in range(5):
        assert tenant.get("/attack/calls_without_end").status_code in (500, 503)
    assert "NESTED_CALLS" in tenant.log()
    assert polite.memory() < 200 << 20


def test_calls_of_one_invocation_are_counted(plain: Tenant) -> None:
    assert "32768" in plain.run("functions:many_syscalls")["errorMessage"]


def test_a_document_is_nobody_elses(plain: Tenant, polite: Field) -> None:
    other = polite.attacker("hostile/plain")
    key = plain.run("functions:keep", {"text": "mine"})["value"]
    assert plain.run("functions:fetch", {"id": key})["value"]["text"] == "mine"
    answer = other.run("functions:fetch", {"id": key})
    assert answer.get("value") is None and "mine" not in str(answer)
    assert other.run("functions:everything", {"table": "secrets"})["value"] == []


def test_a_deploy_key_opens_no_other_house(plain: Tenant, polite: Field) -> None:
    stranger = Tenant(polite.server, polite.neighbour.name, plain.key)
    for method, path in (("GET", "logs"), ("GET", "env"), ("PUT", "env/SECRET"), ("POST", "pushes"), ("DELETE", "")):
        answer = stranger.control(method, path, **({"json": {"value": "x"}} if method == "PUT" else {}))
        assert answer.status_code == 403
        assert NEIGHBOUR not in answer.text
    renamed = Tenant(polite.server, polite.neighbour.name, plain.key.replace(plain.name, polite.neighbour.name))
    assert renamed.control("GET", "env").status_code == 401
    assert "value" not in stranger.run("notes:counter")


PUSHES: Mapping[str, str] = {
    "loop": "while True:\n    pass\n",
    "loop in C": "import itertools\nsum(itertools.repeat(1))\n",
    "memory": "everything = 'x' * 10**11\n",
    "recursion": "def again():\n    again()\nagain()\n",
    "output": "for number in range(10**5):\n    print('x' * 10_000)\n",
    "nested source": "x = " + "(" * 5000 + ")" * 5000,
    "long constant": "x = " + "9" * 10**6,
    "many functions": "from runtime import query\n"
    + "".join(f"@query\ndef f{number}(ctx):\n    pass\n" for number in range(5000)),
}


@pytest.mark.parametrize("bomb", PUSHES)
def test_a_push_that_attacks_changes_nothing(polite: Field, bomb: str) -> None:
    tenant = polite.server.tenant({"http.py": _FINE})
    answer = tenant.push({"http.py": _FINE, "bomb.py": PUSHES[bomb]})
    assert answer.status_code in (201, 422, 503), answer.text
    assert (answer.status_code == 201) == (bomb == "output")
    assert tenant.get("/fine").status_code == 200


_FINE = """
from runtime import HttpRouter, Response, http_action
http = HttpRouter()
@http.route(path="/fine", method="GET")
@http_action
def fine(ctx, request):
    return Response("fine")
"""


# --- without the language layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOORS)
def test_native_code_harms_its_own_call_only(native: Tenant, name: str) -> None:
    status, says = DOORS[name]
    answered = attack(native, name)
    assert answered.status == status
    # How an isolate ended is known when its process is gone, which may be a moment after the answer.
    assert any(re.search(says, answered.log + native.log(since=answered.began)) for _ in range(200)), answered


@pytest.mark.parametrize("name", ["fork", "thread", "files", "network", "close_channel"])
def test_every_door_is_closed(native: Tenant, name: str) -> None:
    answered = attack(native, name)
    assert answered.status == 200
    assert set(answered.body.decode().split()) <= {"PermissionError", "RuntimeError", "ZeroDivisionError", "-1"}


def test_nothing_of_the_host_or_of_others_is_in_the_process(native: Tenant) -> None:
    found = attack(native, "surroundings").body.decode()
    assert "LANG" in found  # it did look
    for secret in (ADMIN, NEIGHBOUR, native.server.admin_key, native.key.partition("|")[2]):
        assert secret not in found


def test_what_goes_on_after_its_call_is_ended(native: Tenant) -> None:
    assert attack(native, "spin_when_deleted").status == 200


@pytest.mark.parametrize("syscall", ["db.insert", "db.delete", "run.mutation", "run.action", "host.exec"])
def test_a_query_gets_nothing_that_is_not_for_queries(native: Tenant, syscall: str) -> None:
    answer = native.run("forging:writes", {"syscall": syscall})
    assert re.search("cannot be used in a query|there is no syscall", answer["errorMessage"])


@pytest.mark.parametrize("name", ["many_lists", "many_lists_in_an_error"])
def test_millions_of_things_are_not_made_of_a_few_bytes(native: Tenant, bare: Field, name: str) -> None:
    assert native.run(f"forging:{name}").get("status") != "success"
    assert bare.memory() < 200 << 20
    assert native.get("/fine").status_code in (200, 503)  # 503: it was in the isolate of the liar


def test_who_kills_isolates_gets_no_more_of_them_than_others(native: Tenant, bare: Field) -> None:
    most = 0
    with ThreadPoolExecutor(32) as clients:
        calls = [clients.submit(native.run, "forging:dies") for _ in range(32)]
        while not all(call.done() for call in calls):
            most = max(most, bare.processes())
    assert most < 24  # the zygote, spares, the neighbour's, and twice what one deployment may have
    assert not any(call.result().get("status") == "success" for call in calls)
    assert native.get("/fine").status_code == 200


# --- hostile clients --------------------------------------------------------------------------------------------------


RAW: Mapping[str, bytes] = {
    "two lengths": b"POST /fine HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST /fine HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "chunked twice": b"POST /fine HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space in a name": b"GET /fine HTTP/1.1\r\nHost: {host}\r\nContent-Length : 5\r\n\r\n",
    "folded": b"GET /fine HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n",
    "nul": b"GET /fine HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n",
    "bare line feeds": b"GET /fine\0 HTTP/1.1\nHost: {host}\n\n",
    "negative length": b"POST /fine HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    "huge chunk": b"POST /fine HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
}


@pytest.mark.parametrize("name", RAW)
def test_a_request_that_could_be_read_in_two_ways_is_refused(plain: Tenant, name: str) -> None:
    with socket.create_connection(("127.0.0.1", plain.server.port), timeout=10) as client:
        client.sendall(RAW[name].replace(b"{host}", plain.site.encode()))
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) <= 1


def test_a_client_chooses_neither_its_request_id_nor_a_line_of_the_log(plain: Tenant) -> None:
    answer = plain.get("/fine%0a%1b[2J?x=%0d", headers={"X-Request-Id": "0123456789abcdef"})
    assert answer.headers["x-request-id"] != "0123456789abcdef"
    log = plain.log(request_id=answer.headers["x-request-id"])
    assert len(log.splitlines()) == 1 and "\\n" not in log and "\\u001b" not in log


@pytest.mark.parametrize(
    "body",
    [
        b'{"path":"functions:result","args":{"name":[' + b"[]," * 6_000_000 + b"[]]}}",
        b'{"path":"functions:result","args":{"name":' + b"[" * 1_000_000,
        b'{"path":"functions:result","args":{"name":' + b"9" * 1_000_000 + b"}}",
        b'{"path":"functions:result","args":{"name":"' + b'\\"' * 5_000_000,
        b'{"path":"functions:re\\u0000sult\\n","args":{}}',
    ],
    ids=["many", "deep", "long number", "open string", "odd path"],
)
def test_a_json_bomb_is_refused(plain: Tenant, polite: Field, body: bytes) -> None:
    answer = plain.server.http.post("/api/query", content=body, headers={"Host": plain.cloud})
    assert 400 <= answer.status_code < 500, answer.text
    assert len(answer.content) < 1000


def test_connections_that_say_nothing_keep_nobody_out(plain: Tenant) -> None:
    address = ("127.0.0.1", plain.server.port)
    silent = [socket.create_connection(address, timeout=10) for _ in range(300)]
    for client in silent[::2]:
        client.sendall(b"POST /fine HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
    assert plain.get("/fine").status_code == 200
    for client in silent:
        client.close()


def test_requests_without_end_whose_answers_nobody_reads_cost_no_memory(plain: Tenant, polite: Field) -> None:
    request = f"GET /fine HTTP/1.1\r\nHost: {plain.site}\r\n\r\n".encode() * 1000
    with socket.create_connection(("127.0.0.1", plain.server.port), timeout=2) as client:
        try:
            for _ in range(200):
                client.sendall(request)
        except OSError:
            pass  # the server has stopped reading, or has had enough
        assert plain.get("/fine").status_code == 200
    assert polite.memory() < 300 << 20


def test_attacks_at_once_leave_the_neighbour_alone(polite: Field, plain: Tenant) -> None:
    told: list[Answered] = []
    threads = [threading.Thread(target=lambda: told.append(attack(plain, "loop_in_c"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert polite.refusals == []
