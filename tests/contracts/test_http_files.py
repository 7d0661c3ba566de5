"""Stored files at the front door, on real sockets: what clients send and get, and what hostile ones leave behind."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime import limits
from runtime.adapters.files.disk import DiskFiles
from runtime.adapters.memory_documents import MemoryDocuments
from runtime.edge.files.door import FileDoor
from runtime.edge.leaving import Departures
from runtime.limits import Limit
from runtime.names import DeploymentName
from runtime.ports import FilesUnavailable
from runtime.protocol.declaration import Declaration
from runtime.syscalls.storage.room import Room
from runtime.syscalls.storage.shelf import Shelf
from runtime.syscalls.storage.uploads import UploadTokens
from runtime.syscalls.transaction import Transactions
from tests.contracts.front_door import NAME, Answer, Front, Midnight, deployment, opened, paused

HOST = f"{NAME}.cloud.localhost"
OTHER = DeploymentName("brave-heron-456")
MISSING = "/api/storage/00000000-0000-4000-8000-000000000000"


@dataclass
class Cloud:
    """A front door with files behind it."""

    front: Front
    shelf: Shelf
    tokens: UploadTokens
    room: Room
    disk: Path

    def target(self, name: DeploymentName = NAME, age: float = 0) -> str:
        """Where to upload, as it was given out ``age`` milliseconds ago."""
        return f"/api/storage/upload?token={self.tokens.seal(name, Midnight().now() - age)}"

    async def ask(self, method: str, target: str, *headers: str, body: bytes = b"", host: str = HOST) -> Answer:
        """One request."""
        return await self.front.ask(method, target, *headers, body=body, host=host)

    async def upload(self, body: bytes, *headers: str) -> str:
        """Upload a file; the path at which it is served."""
        headers = headers if body else (*headers, "Content-Length: 0")
        answer = await self.ask("POST", self.target(), *headers, body=body)
        assert answer.status == 200, answer.body
        files, _ = await self.shelf.page(NAME, 100, None)
        (file,) = [file for file in files if file.id == json.loads(answer.body)["storageId"]]
        return f"/api/storage/{file.number}"

    def left(self) -> list[Path]:
        """Every file on the disk."""
        return [path for path in self.disk.rglob("*") if path.is_file()]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    files, documents, room = DiskFiles(tmp_path / "files"), MemoryDocuments(), Room()
    shelf, tokens = Shelf(files, Transactions(documents, Midnight())), UploadTokens(bytes(32))
    door = FileDoor(shelf, tokens, room, Midnight(), Departures())
    async with opened(Declaration(), files=door) as front:
        front.names.all[OTHER] = deployment(Declaration(), OTHER)
        yield Cloud(front, shelf, tokens, room, tmp_path / "files")
    assert not room.transfers
    await files.close()


def code(answer: Answer) -> str:
    """The code of a refusal."""
    return str(json.loads(answer.body)["code"])


# --- in ---------------------------------------------------------------------------------------------------------------


async def test_what_is_uploaded_is_served(cloud: Cloud) -> None:
    body = bytes(range(256)) * 5_000
    path = await cloud.upload(body, "Content-Type: image/png")
    answer = await cloud.ask("GET", path)
    assert (answer.status, answer.body, answer.whole) == (200, body, True)
    digest = hashlib.sha256(body)
    assert answer["content-type"] == "image/png"
    assert answer["content-length"] == str(len(body))
    assert answer["digest"] == f"sha-256={base64.b64encode(digest.digest()).decode()}"
    assert answer["etag"] == f'"{digest.hexdigest()}"'
    assert answer["cache-control"] == "private, max-age=2592000"
    assert answer["accept-ranges"] == "bytes"
    assert answer["x-content-type-options"] == "nosniff"
    assert "x-request-id" in answer.headers


async def test_a_body_in_chunks_and_an_empty_one_are_files_too(cloud: Cloud) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (b"one ", b"two ", b"x" * 100_000))
    head = f"POST {cloud.target()} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = Answer.read(await cloud.front.raw(head.encode(), chunks, b"0\r\n\r\n"))
    assert answer.status == 200
    (file,), _ = await cloud.shelf.page(NAME, 10, None)
    assert (file.size, file.content_type) == (100_008, None)
    empty = await cloud.ask("GET", await cloud.upload(b""))
    assert (empty.status, empty.body, empty["content-type"]) == (200, b"", "application/octet-stream")
    assert (await cloud.ask("GET", await cloud.upload(b""), "Range: bytes=0-0")).status == 200


async def test_a_digest_is_compared(cloud: Cloud) -> None:
    good = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    await cloud.upload(b"body", f"Digest: md5=x, SHA-256={good}")
    await cloud.upload(b"body", "Digest: md5=x")
    wrong = await cloud.ask("POST", cloud.target(), f"Digest: sha-256={good}", body=b"other")
    assert (wrong.status, code(wrong)) == (400, "Sha256Mismatch")
    none = await cloud.ask("POST", cloud.target(), "Digest: sha-256=short", body=b"other")
    assert (none.status, code(none)) == (400, "BadRequest")
    assert len(cloud.left()) == 2


@pytest.mark.parametrize("query", ["", "?token=", "?token=x", "?token=" + "A" * 32, "?" + "&".join(["a=b"] * 100)])
async def test_without_a_token_nothing_is_read(cloud: Cloud, query: str) -> None:
    answer = await cloud.ask("POST", f"/api/storage/upload{query}", body=b"x" * 1000)
    assert (answer.status, code(answer)) == (403, "InvalidUploadToken")
    assert cloud.left() == []


async def test_a_token_ends_and_is_one_deployments(cloud: Cloud) -> None:
    old = await cloud.ask("POST", cloud.target(age=limits.UPLOAD_URL_AGE + 1), body=b"x")
    assert (old.status, code(old)) == (403, "ExpiredUploadToken")
    other = await cloud.ask("POST", cloud.target(OTHER), body=b"x")
    assert (other.status, code(other)) == (403, "InvalidUploadToken")
    assert (await cloud.ask("POST", cloud.target(OTHER), body=b"x", host=f"{OTHER}.cloud.localhost")).status == 200


async def test_a_content_type_that_is_none_is_refused(cloud: Cloud) -> None:
    answer = await cloud.ask("POST", cloud.target(), f"Content-Type: {'x' * 257}", body=b"x")
    assert (answer.status, code(answer)) == (400, "BadRequest")
    assert "FILE_TYPE" in json.loads(answer.body)["message"]


async def test_what_is_too_large_is_refused_early_or_late(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE_BYTES", Limit(600_000, "bytes", "for this test"))
    announced = await cloud.ask("POST", cloud.target(), "Content-Length: 600001")
    assert (announced.status, code(announced)) == (413, "TooLarge")
    head = f"POST {cloud.target()} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (300_000, bytes(300_000))
    late = Answer.read(await cloud.front.raw(head.encode(), piece, piece, b"1\r\nx\r\n", b"0\r\n\r\n"))
    assert (late.status, code(late)) == (413, "TooLarge")
    assert cloud.left() == []
    await cloud.upload(bytes(600_000))


async def test_who_leaves_in_the_middle_leaves_nothing(cloud: Cloud) -> None:
    head = f"POST {cloud.target()} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.front.port)
    writer.write(head.encode() + bytes(500_000))
    while not cloud.left():
        await asyncio.sleep(0.01)
    writer.close()
    with suppress(ConnectionError):
        await reader.read()
    while cloud.left():
        await asyncio.sleep(0.01)
    assert (await cloud.shelf.page(NAME, 10, None))[0] == []


async def test_who_is_too_slow_is_told_and_leaves_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPLOAD_TIME", Limit(200, "ms", "for this test"))
    head = f"POST {cloud.target()} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n"
    answer = Answer.read(await cloud.front.raw(head.encode() + bytes(300_000)))
    assert (answer.status, code(answer)) == (408, "RequestTimeout")
    assert cloud.left() == []


async def test_too_many_at_once_are_sent_away(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE_TRANSFERS", Limit(1, "transfers", "for this test"))
    leave = cloud.room.for_transfer(NAME)
    answer = await cloud.ask("POST", cloud.target(), body=b"x")
    assert (answer.status, code(answer), answer["retry-after"]) == (429, "TooManyRequests", "1")
    monkeypatch.setattr(limits, "FILES_TOGETHER", Limit(1, "files", "for this test"))
    elsewhere = await cloud.ask("POST", cloud.target(OTHER), body=b"x", host=f"{OTHER}.cloud.localhost")
    assert (elsewhere.status, code(elsewhere)) == (503, "Overloaded")
    leave()
    await cloud.upload(b"x")


async def test_a_disk_that_is_full_is_a_503_without_its_path(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: DiskFiles, name: DeploymentName, number: object) -> None:
        raise FilesUnavailable("No space left on device: '/secret/place'")

    monkeypatch.setattr(DiskFiles, "write", full)
    answer = await cloud.ask("POST", cloud.target(), body=b"x")
    assert (answer.status, code(answer), answer["retry-after"]) == (503, "StorageUnavailable", "5")
    assert b"secret" not in answer.body


async def test_pages_of_other_sites_may_upload(cloud: Cloud) -> None:
    asked = ("Origin: https://app.example.com", "Access-Control-Request-Method: POST")
    preflight = await cloud.ask(
        "OPTIONS", cloud.target(), *asked, "Access-Control-Request-Headers: content-type, digest"
    )
    assert (preflight.status, preflight["access-control-allow-headers"]) == (204, "content-type, digest")
    answer = await cloud.ask("POST", cloud.target(), "Origin: https://app.example.com", body=b"x")
    assert answer["access-control-allow-origin"] == "https://app.example.com"
    refused = await cloud.ask("POST", "/api/storage/upload", "Origin: https://app.example.com", body=b"x")
    assert refused["access-control-allow-origin"] == "https://app.example.com"


# --- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "range, status, body, content_range",
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("pages=1", 200, b"0123456789", None),
    ],
)
async def test_one_part_is_sent_if_there_is_such_a_part(
    cloud: Cloud, range: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    path = await cloud.upload(b"0123456789", "Content-Type: text/plain")
    answer = await cloud.ask("GET", path, f"Range: {range}")
    assert (answer.status, answer.whole) == (status, True)
    assert answer.headers.get("content-range") == (None if content_range is None else [content_range])
    if body is not None:
        assert answer.body == body
        assert ("digest" in answer.headers) is (status == 200)
    else:
        assert code(answer) == "RangeNotSatisfiable"


async def test_a_part_of_another_file_is_not_sent(cloud: Cloud) -> None:
    path = await cloud.upload(b"0123456789")
    tag = (await cloud.ask("HEAD", path))["etag"]
    assert (await cloud.ask("GET", path, "Range: bytes=0-0", f"If-Range: {tag}")).status == 206
    assert (await cloud.ask("GET", path, "Range: bytes=0-0", 'If-Range: "old"')).status == 200


async def test_what_a_client_has_is_not_sent_again(cloud: Cloud) -> None:
    path = await cloud.upload(b"0123456789")
    tag = (await cloud.ask("GET", path))["etag"]
    known = await cloud.ask("GET", path, f"If-None-Match: {tag}")
    assert (known.status, known.body, known["etag"]) == (304, b"", tag)
    assert known["cache-control"] == "private, max-age=2592000"
    assert (await cloud.ask("GET", path, 'If-None-Match: "other"')).status == 200


async def test_head_says_everything_but_the_body(cloud: Cloud) -> None:
    path = await cloud.upload(b"0123456789", "Content-Type: text/plain")
    answer = await cloud.ask("HEAD", path, "Range: bytes=0-1")
    assert (answer.status, answer.body, answer["content-length"]) == (200, b"", "10")
    assert answer["content-type"] == "text/plain"


@pytest.mark.parametrize(
    "content_type, sandboxed",
    [
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("image/svg+xml", True),
        ("application/xhtml+xml", True),
        ("text/xml", True),
        ("application/pdf", False),
        ("image/png", False),
        ("text/plain; charset=utf-8", False),
        ("video/mp4", False),
    ],
)
async def test_a_page_is_shown_without_its_scripts(cloud: Cloud, content_type: str, sandboxed: bool) -> None:
    path = await cloud.upload(b"<script>alert(1)</script>", f"Content-Type: {content_type}")
    answer = await cloud.ask("GET", path)
    assert (answer["content-type"], answer["x-content-type-options"]) == (content_type, "nosniff")
    assert (answer.headers.get("content-security-policy") == ["sandbox"]) is sandboxed


async def test_nobody_has_what_is_not_there(cloud: Cloud) -> None:
    answer = await cloud.ask("GET", MISSING)
    assert (answer.status, code(answer)) == (404, "NotFound")
    assert (await cloud.ask("HEAD", MISSING)).status == 404


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "upload/",
        "00000000-0000-4000-8000-00000000000",
        "00000000-0000-4000-8000-0000000000000",
        "00000000-0000-4000-8000-00000000000%30",
        "..%2f..%2fregistry.sqlite3",
        "%2e%2e%2fsecret",
        "{00000000-0000-4000-8000-000000000000}",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "00000000000040008000000000000000",
        "0%00",
        "00000000-0000-4000-8000-000000000000.part",
        "00000000-0000-4000-8000-000000000000/x",
    ],
)
async def test_what_is_no_number_is_refused(cloud: Cloud, text: str) -> None:
    answer = await cloud.ask("GET", f"/api/storage/{text}")
    assert (answer.status, code(answer)) == (400, "InvalidStoragePath")


async def test_a_file_is_served_at_its_own_deployment_only(cloud: Cloud) -> None:
    path = await cloud.upload(b"mine")
    assert (await cloud.ask("GET", path, host=f"{OTHER}.cloud.localhost")).status == 404
    assert (await cloud.ask("GET", path)).status == 200


@pytest.mark.parametrize("method, target, allowed", [("PUT", MISSING, "GET, HEAD, OPTIONS"), ("POST", MISSING, "GET")])
async def test_other_methods_are_405(cloud: Cloud, method: str, target: str, allowed: str) -> None:
    answer = await cloud.ask(method, target, body=b"x")
    assert answer.status == 405
    assert answer["allow"].startswith(allowed)
    assert (await cloud.ask("GET", "/api/storage/upload")).status == 405


async def test_a_paused_deployment_serves_no_files(cloud: Cloud) -> None:
    path = await cloud.upload(b"mine")
    paused(cloud.front)
    assert (await cloud.ask("GET", path)).status == 503


async def test_who_leaves_while_it_is_sent_holds_nothing(cloud: Cloud) -> None:
    path = await cloud.upload(bytes(30_000_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.front.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await reader.readexactly(100_000)
    assert cloud.room.transfers.total() == 1
    writer.transport.abort()
    while cloud.room.transfers:
        await asyncio.sleep(0.01)


async def test_who_takes_a_file_too_slowly_is_cut_so_that_it_shows(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await cloud.upload(bytes(30_000_000))
    monkeypatch.setattr(limits, "DOWNLOAD_TIME", Limit(200, "ms", "for this test"))
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.front.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    begun = await reader.readexactly(100_000)
    while cloud.room.transfers:
        await asyncio.sleep(0.01)
    answer = Answer.read(begun + await reader.read())
    writer.close()
    assert (answer.status, answer.whole) == (200, False)
    assert "DOWNLOAD_TIME" in cloud.front.journal.entries[-1][1].text


async def test_the_log_names_no_token(cloud: Cloud) -> None:
    target = cloud.target()
    assert (await cloud.ask("POST", target, body=b"x")).status == 200
    assert (await cloud.ask("POST", target + "x", body=b"x")).status == 403
    texts = [entry.text for _, entry in cloud.front.journal.entries]
    assert len(texts) == 2
    assert target.partition("=")[2] not in " ".join(texts)


async def test_a_file_that_is_deleted_while_it_is_sent_is_sent_to_its_end(cloud: Cloud) -> None:
    path = await cloud.upload(bytes(30_000_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.front.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    begun = await reader.readexactly(100_000)
    for each in cloud.left():
        each.unlink()
    answer = Answer.read(begun + await reader.read())
    writer.close()
    assert (len(answer.body), answer.whole) == (30_000_000, True)
    assert (await cloud.ask("GET", path)).status == 404
