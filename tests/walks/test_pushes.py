"""A developer pushes, is refused, pushes again, and goes back."""

import re
import threading
import time

import httpx
import pytest

from tests.conftest import LiveServer, Tenant


def answering(text: str) -> dict[str, str]:
    return {
        "http.py": "from runtime import HttpRouter, Response, env, http_action\n"
        "http = HttpRouter()\n"
        "@http.route(path='/', method='GET')\n"
        "@http_action\n"
        "async def answer(ctx, request):\n"
        f"    return Response({text!r} + env.get('SUFFIX', ''))\n"
    }


def test_a_deployment_without_a_push_says_so(server: LiveServer) -> None:
    answer = server.tenant().get("/")
    assert answer.status_code == 404
    assert "push" in answer.text or "deploy" in answer.text


def test_a_new_version_answers_as_soon_as_its_push_is_accepted(server: LiveServer) -> None:
    tenant = server.tenant(answering("one"))
    assert tenant.get("/").text == "one"
    for number in range(5):
        assert tenant.push(answering(f"version {number}")).status_code == 201
        assert tenant.get("/").text == f"version {number}"


def test_a_rollback_brings_an_older_version_back(server: LiveServer) -> None:
    tenant = server.tenant()
    first = tenant.push(answering("one")).json()
    tenant.push(answering("two"))
    assert tenant.get("/").text == "two"
    assert tenant.control("POST", "rollback", json={"version": first["version"]}).status_code == 200
    assert tenant.get("/").text == "one"


def test_a_variable_is_live_from_the_next_call(server: LiveServer) -> None:
    tenant = server.tenant(answering("hi"))
    assert tenant.get("/").text == "hi"
    tenant.control("PUT", "env/SUFFIX", json={"value": "\nand more\n"}).raise_for_status()
    assert tenant.get("/").text == "hi\nand more\n"
    tenant.control("DELETE", "env/SUFFIX").raise_for_status()
    assert tenant.get("/").text == "hi"


def test_a_call_under_way_finishes_on_the_version_it_began_with(server: LiveServer) -> None:
    slow = answering("old")
    slow["http.py"] = slow["http.py"].replace(
        "    return", "    print('begun')\n    await request.signal.wait()\n    return"
    )
    slow["http.py"] = slow["http.py"].replace(
        "await request.signal.wait()", "await ctx.run_mutation('marks:wait_for_a_mark')"
    )
    slow["marks.py"] = (
        "from runtime import mutation\n"
        "@mutation\n"
        "async def wait_for_a_mark(ctx):\n"
        "    await ctx.db.insert('marks', {})\n"
    )
    tenant = server.tenant(slow)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(tenant.get("/").text)) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert tenant.push(answering("new")).status_code == 201
    assert tenant.get("/").text == "new"
    for thread in threads:
        thread.join()
    assert set(answers) <= {"old", "new"}
    assert len(answers) == 6


@pytest.mark.parametrize(
    ("files", "file", "line", "says"),
    [
        ({"http.py": "from runtime import (\n"}, "http.py", 1, ""),
        ({"http.py": "x = 1\nimport os\n"}, "http.py", 2, "os"),
        ({"http.py": "http = 5\n"}, "http.py", None, "HttpRouter"),
        ({"http.py": "x = 1\n"}, "http.py", None, "http"),
        ({"deep/a.py": "\n\n1 / 0\n"}, "deep/a.py", 3, "ZeroDivisionError"),
        (
            {"http.py": "from runtime import HttpRouter\nhttp = HttpRouter()\nhttp.route(path='x', method='GET')\n"},
            "http.py",
            3,
            "/",
        ),
        (
            {"http.py": answering("x")["http.py"] * 1 + "http.route(path='/', method='GET', handler=answer)\n"},
            "http.py",
            7,
            "/",
        ),
        ({"a.py": "while True:\n    pass\n"}, "a.py", None, ""),
        ({"a.py": "from .missing import x\n"}, "a.py", 1, "missing"),
    ],
)
def test_a_bundle_that_is_no_good_is_refused_with_file_and_line(
    server: LiveServer, files: dict[str, str], file: str, line: int | None, says: str
) -> None:
    tenant = server.tenant(answering("still here"))
    answer = tenant.push(files)
    assert answer.status_code == 422, answer.text
    first = answer.json()["diagnostics"][0]
    assert says in first["message"]
    assert first["file"] == file
    assert line is None or first["line"] == line
    assert tenant.get("/").text == "still here"


def test_a_push_lists_what_it_declared(server: LiveServer) -> None:
    tenant = server.tenant()
    pushed = tenant.push("walks").json()
    functions = {function["path"]: function for function in pushed["functions"]}
    assert functions["notes:add"]["kind"] == "mutation"
    assert functions["notes:add"]["visibility"] == "internal"
    assert functions["notes:texts"]["visibility"] == "public"
    assert any(route["method"] == "GET" for route in pushed["routes"])
    assert tenant.control("GET", "functions").status_code == 200


def test_a_key_of_another_deployment_is_of_no_use(server: LiveServer) -> None:
    mine, other = server.tenant(), server.tenant()
    stolen = Tenant(server, other.name, mine.key)
    assert stolen.push(answering("x")).status_code == 403
    assert Tenant(server, other.name, "nonsense").push(answering("x")).status_code == 401


def test_deleted_is_deleted(server: LiveServer) -> None:
    tenant = server.tenant("walks")
    tenant.request("POST", "/insert", json={"text": "secret"}).raise_for_status()
    assert server.admin("DELETE", f"/v1/deployments/{tenant.name}").status_code in (200, 204)
    assert tenant.get("/hello").status_code == 404
    again = server.admin("POST", "/v1/deployments", json={"name": tenant.name})
    assert again.status_code == 201
    tenant.key = again.json()["deploy_key"]
    assert tenant.push("walks").status_code == 201
    assert tenant.get("/list").json() == []


def test_everything_is_there_after_a_restart(own_server: LiveServer) -> None:
    tenant = own_server.tenant(answering("still "))
    tenant.control("PUT", "env/SUFFIX", json={"value": "here"}).raise_for_status()
    assert own_server.stop() == 0
    own_server.start()
    assert tenant.get("/").text == "still here"


def test_an_unknown_host_is_told_which_deployment_was_not_found(server: LiveServer) -> None:
    answer: httpx.Response = server.http.get("/", headers={"Host": "nobody-here-1.site.localhost"})
    assert answer.status_code == 404
    assert "nobody-here-1" in answer.text


def test_a_push_leaves_no_process_behind_but_the_one_that_answers(own_server: LiveServer) -> None:
    tenant = own_server.tenant(answering("hello"))
    assert _settled(own_server, 0)
    assert tenant.get("/").text == "hello"
    assert _settled(own_server, 1)


def _settled(server: LiveServer, isolates: int) -> bool:
    """Whether in the end so many isolates are no spares: one that is being made counts already, and one that ends
    counts still."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        figures = server.http.get("/metrics").text
        everybody, spare = (
            float(re.findall(f'warren_isolates{{state="{state}"}} (.+)', figures)[0]) for state in ("all", "spare")
        )
        if everybody - spare == isolates:
            return True
    return False
