"""Stored files on a whole server: uploaded by clients, stored by functions of every engine, served, deleted, gone."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import LiveServer, Tenant


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("files")


def value(tenant: Tenant, function: str, **args: Any) -> Any:
    """What a function returned."""
    answer = tenant.run(function, args)
    assert answer["status"] == "success", answer
    return answer["value"]


def at(tenant: Tenant, method: str, url: str, **more: Any) -> httpx.Response:
    """Ask a URL that a function gave out, on the socket that the test knows."""
    parts = urlsplit(url)
    assert parts.hostname == tenant.cloud
    headers = {"Host": str(parts.netloc), **more.pop("headers", {})}
    return tenant.server.http.request(method, f"{parts.path}?{parts.query}", headers=headers, **more)


def upload(tenant: Tenant, content: bytes, **headers: str) -> str:
    """Upload a file, as a client does."""
    answer = at(tenant, "POST", value(tenant, "files:upload_url"), content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["storageId"])


def contents(tenant: Tenant) -> list[Path]:
    """The files on the disk of the server."""
    return [path for path in (tenant.server.data / "files" / tenant.name).rglob("*") if path.is_file()]


def test_a_client_uploads_and_everybody_with_the_url_reads(tenant: Tenant) -> None:
    content = b"\x89PNG " + bytes(300_000)
    digest = hashlib.sha256(content)
    sent = base64.b64encode(digest.digest()).decode()
    id = upload(tenant, content, **{"Content-Type": "image/png", "Digest": f"sha-256={sent}"})
    value(tenant, "files:send", file=id, author="ann")
    (shown,) = value(tenant, "files:pictures")
    answer = at(tenant, "GET", shown["url"])
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "image/png"
    assert id not in shown["url"]
    known, document = value(tenant, "files:metadata", id=id)
    assert known == {"storageId": id, "sha256": digest.hexdigest(), "size": 300_005.0, "contentType": "image/png"}
    assert {**document, "_creationTime": 0} == {
        **{"_id": id, "_creationTime": 0, "sha256": sent, "size": 300_005.0, "contentType": "image/png"}
    }


def test_an_http_action_stores_and_sends(tenant: Tenant) -> None:
    content = bytes(range(256)) * 12_000
    answer = tenant.request("POST", "/put", content=content, headers={"Content-Type": "video/x-own"})
    stored = answer.json()
    assert at(tenant, "GET", stored["url"]).content == content
    sent = tenant.get("/get", params={"id": stored["id"]})
    assert (sent.content, sent.headers["content-type"]) == (content, "video/x-own")


def test_an_action_stores_and_gets_what_is_larger_than_any_message(tenant: Tenant) -> None:
    id = value(tenant, "files:make", text="0123456789abcdef", times=1_000_000)
    expected = hashlib.sha256(b"0123456789abcdef" * 1_000_000).hexdigest()
    assert value(tenant, "files:measure", id=id) == {"size": 16_000_000, "type": "text/plain", "sha256": expected}
    value(tenant, "files:remove", id=id)
    assert value(tenant, "files:measure", id=id) is None


def test_a_deleted_file_is_gone_with_its_url_and_its_bytes(tenant: Tenant) -> None:
    before = len(contents(tenant))
    id = upload(tenant, b"for a while")
    url = value(tenant, "files:url", id=id)
    assert at(tenant, "GET", url).text == "for a while"
    value(tenant, "files:delete", id=id)
    assert at(tenant, "GET", url).status_code == 404
    assert value(tenant, "files:url", id=id) is None
    assert value(tenant, "files:metadata", id=id) == [None, None]
    assert id not in value(tenant, "files:stored")
    assert len(contents(tenant)) == before
    again = tenant.run("files:delete", {"id": id})
    assert again["status"] == "error"


def test_what_a_failed_mutation_deleted_is_still_there(tenant: Tenant) -> None:
    id = upload(tenant, b"stays")
    assert tenant.run("files:delete_and_fail", {"id": id})["status"] == "error"
    assert value(tenant, "files:try_to_delete", id=id) == ["FunctionError", True]
    assert at(tenant, "GET", value(tenant, "files:url", id=id)).text == "stays"


def test_what_a_call_began_and_did_not_end_leaves_nothing(tenant: Tenant) -> None:
    before = contents(tenant)
    assert value(tenant, "files:abandon") == [1, None]
    assert contents(tenant) == before


def test_files_and_deployments_go_together(server: LiveServer) -> None:
    tenant = server.tenant("files")
    upload(tenant, b"mine")
    assert len(contents(tenant)) == 1
    assert tenant.control("DELETE").status_code == 204
    assert contents(tenant) == []


def test_files_are_still_there_after_a_power_failure(own_server: LiveServer) -> None:
    tenant = own_server.tenant("files")
    id = upload(tenant, b"durable " * 100_000)
    url = value(tenant, "files:url", id=id)
    token = value(tenant, "files:upload_url")
    own_server.kill()
    own_server.start()
    old = urlsplit(url).port
    moved = url.replace(f":{old}/", f":{own_server.port}/")
    assert at(tenant, "GET", moved).content == b"durable " * 100_000
    # The token is the installation's, not the process's.
    assert at(tenant, "POST", token.replace(f":{old}/", f":{own_server.port}/"), content=b"x").status_code == 200


def test_what_a_power_failure_cut_is_swept_away_when_it_is_old(own_server: LiveServer) -> None:
    tenant = own_server.tenant("files")
    id = upload(tenant, b"whole")
    folder = own_server.data / "files" / tenant.name
    whole = contents(tenant)
    own_server.kill()
    lost = folder / "ff" / "ffffffff-0000-4000-8000-000000000000"
    lost.parent.mkdir(exist_ok=True)
    left = [lost, folder / f"{lost.name}.part"]
    for path in (*left, *whole):
        path.touch()
        os.utime(path, (0, 0))
    own_server.start()
    while any(path.exists() for path in left):
        time.sleep(0.05)
    assert contents(tenant) == whole
    assert value(tenant, "files:measure", id=id)["size"] == 5


@pytest.mark.parametrize("module", ["machine", "script"])
def test_a_node_style_action_stores_and_gets(tenant: Tenant, module: str) -> None:
    size = 3_000_064
    id, got, kind, known, url, after, url_after, upload_to = value(tenant, f"{module}:round_trip", size=size)
    digest = hashlib.sha256(bytes(range(256)) * (size // 256)).hexdigest()
    assert (got, kind) == (size, "application/x-bytes")
    assert known == {"storageId": id, "sha256": digest, "size": size, "contentType": "application/x-bytes"}
    assert (after, url_after) == (None, None)
    assert at(tenant, "GET", url).status_code == 404
    assert at(tenant, "POST", upload_to, content=b"one more").status_code == 200


def test_a_node_style_action_stores_from_a_thread_and_is_told_of_a_wrong_digest(tenant: Tenant) -> None:
    id = value(tenant, "machine:in_a_thread", text="from a thread")
    assert at(tenant, "GET", value(tenant, "files:url", id=id)).text == "from a thread"
    refused = tenant.run("script:wrong_digest")
    assert "another was expected" in refused["errorMessage"]


def test_the_office_lists_files_page_by_page(server: LiveServer) -> None:
    tenant = server.tenant("files")
    ids = [upload(tenant, b"x" * size, **{"Content-Type": "text/plain"}) for size in range(5)]
    first = tenant.control("GET", "files", params={"limit": 3}).json()
    second = tenant.control("GET", "files", params={"limit": 3, "cursor": first["cursor"]}).json()
    listed = [*first["files"], *second["files"]]
    assert [each["id"] for each in listed] == ids[::-1]
    assert second["cursor"] is None
    assert [each["size"] for each in listed] == [4, 3, 2, 1, 0]
    assert at(tenant, "GET", listed[0]["url"]).text == "xxxx"
    assert server.admin("GET", f"/v1/deployments/{tenant.name}/files").status_code == 200
    stranger = server.tenant()
    key = {"Authorization": f"Bearer {stranger.key}"}
    assert server.http.get(f"/v1/deployments/{tenant.name}/files", headers=key).status_code == 403
    assert tenant.control("GET", "files", params={"cursor": "?"}).status_code == 400


def test_the_command_line_lists_files(server: LiveServer, tmp_path: Path) -> None:
    tenant = server.tenant("files")
    id = upload(tenant, b"x" * 2_000, **{"Content-Type": "image/png"})
    command = [sys.executable, "-m", "control_plane.cli.main", "files", "list", "--json"]
    environment = {"WARREN_URL": f"http://127.0.0.1:{server.port}", "WARREN_DEPLOY_KEY": tenant.key, "PATH": "/usr/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    (listed,) = json.loads(done.stdout)
    assert (listed["id"], listed["size"], listed["content_type"]) == (id, 2_000, "image/png")
