"""How do files come in from clients, and go out to them?

``POST /api/storage/upload?token=…`` stores the body and answers ``{"storageId": …}``; ``GET`` and ``HEAD`` of
``/api/storage/<number>`` send a content to whoever knows its number. Both go piece by piece, at the pace of whoever is
slower; nothing is held but the piece that is under way.

Rules
1. A token is checked before a byte of the body is read. What was not received whole, and as announced, leaves nothing.
2. A number is looked up among the files of the deployment whose host was asked. Text becomes a UUID before it is used.
3. What a client uploaded is sent as the type that it claimed, and never as another; pages are shown without their
   scripts, because whoever administers the deployment may be signed in at the same address.
"""

import asyncio
import base64
import binascii
import hmac
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from runtime import limits
from runtime.edge import cors
from runtime.edge.exchange import Exchange
from runtime.edge.files.ranges import Part, Unsatisfiable, is_known, wanted_part
from runtime.edge.intake import SlowRequest, read_piece
from runtime.edge.leaving import Departures
from runtime.edge.problems import JSON, to_json
from runtime.errors import BadRequest, NotFound, Overloaded, SyscallRefused, TooLarge, TooManyRequests
from runtime.names import DeploymentName
from runtime.ports import Clock, Content, FilesUnavailable
from runtime.protocol.messages import HeaderList
from runtime.syscalls.storage.entries import checked_type
from runtime.syscalls.storage.records import StoredFile
from runtime.syscalls.storage.room import NoRoom, Room
from runtime.syscalls.storage.shelf import Begun, Shelf, unreachable
from runtime.syscalls.storage.uploads import UploadTokens

PREFIX = "/api/storage/"
_UPLOAD = f"{PREFIX}upload"
_NUMBER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_TOKEN = re.compile(rb"(?:^|&)token=([A-Za-z0-9_-]*)(?:&|$)")
_DIGEST = re.compile(r"(?:^|,)[ \t]*sha-256=([^,]*)", re.IGNORECASE)
_KEPT = b"private, max-age=2592000"
_HARMLESS = re.compile(
    r"(?:image/(?!svg)|audio/|video/|font/|text/plain|application/(?:pdf|json|octet-stream|zip)\b)", re.I
)


class InvalidStoragePath(BadRequest):
    """What stands behind ``/api/storage/`` names no file."""

    code = "InvalidStoragePath"


class Sha256Mismatch(BadRequest):
    """What arrived is not what the client meant to send."""

    code = "Sha256Mismatch"


@dataclass(frozen=True, slots=True)
class FileDoor:
    """Uploads and downloads of every deployment."""

    shelf: Shelf
    tokens: UploadTokens
    room: Room
    clock: Clock
    departures: Departures

    async def answer(self, name: DeploymentName, path: str, exchange: Exchange) -> None:
        """Answer one request for a path that `methods` knows; raises the caller's mistakes."""
        leave = self._enter(name)
        try:
            if path == _UPLOAD:
                await self._take(name, exchange)
            else:
                await self._give(name, path, exchange)
        finally:
            leave()

    def _enter(self, name: DeploymentName) -> Callable[[], None]:
        try:
            return self.room.for_transfer(name)
        except NoRoom as full:
            raise (Overloaded if full.together else TooManyRequests)(f"{full}: try again in a moment") from None

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _take(self, name: DeploymentName, exchange: Exchange) -> None:
        found = _TOKEN.search(exchange.scope["query_string"])
        self.tokens.check(name, found[1].decode() if found else "", self.clock.now())
        content_type, expected = _type(exchange.headers), _digest(exchange.headers)
        announced = cors.header(exchange.headers, b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > limits.FILE_BYTES:
            raise _too_large(int(announced), "announced")
        begun = await self.shelf.begin(name)
        try:
            async with asyncio.timeout(limits.UPLOAD_TIME / 1000):
                await _receive(exchange, begun)
            if expected is not None and not hmac.compare_digest(expected, begun.writing.digest()):
                arrived = base64.b64encode(begun.writing.digest()).decode()
                raise Sha256Mismatch(
                    f"the body has the SHA-256 {arrived}, the header Digest names another; send it again"
                )
            id = await self.shelf.keep(name, begun, content_type)
        except TimeoutError:
            raise SlowRequest(f"the file did not arrive in {limits.UPLOAD_TIME} ms (limit UPLOAD_TIME)") from None
        except FilesUnavailable as error:
            raise unreachable(error) from None
        finally:
            begun.writing.discard()
        await exchange.reply(200, [(b"content-type", JSON)], to_json({"storageId": id}))

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _give(self, name: DeploymentName, path: str, exchange: Exchange) -> None:
        text = path.removeprefix(PREFIX)
        if not _NUMBER.match(text):
            raise InvalidStoragePath(
                f"{text[:80]!r} is not the number of a stored file: use what ctx.storage.get_url says"
            )
        file = await self.shelf.find(name, UUID(text))
        if file is None:
            raise NotFound("there is no stored file at this address: it never was, or was deleted")
        tag = f'"{file.sha256.hex()}"'
        head = [(b"etag", tag.encode()), (b"cache-control", _KEPT), (b"accept-ranges", b"bytes")]
        if is_known(_text(exchange.headers, b"if-none-match"), tag):
            await exchange.reply(304, head, b"")
            return
        try:
            part = self._part(exchange, tag, file.size)
        except Unsatisfiable:
            problem = {"code": "RangeNotSatisfiable", "message": f"the file has {file.size} bytes"}
            head = [(b"content-range", b"bytes */%d" % file.size), (b"content-type", JSON)]
            await exchange.reply(416, head, to_json(problem))
            return
        content = await self.shelf.open(name, file)
        if content is None:
            raise NotFound("there is no stored file at this address any more")
        self.departures.enter(exchange)
        try:
            async with asyncio.timeout(limits.DOWNLOAD_TIME / 1000):
                await _send(exchange, file, content, [*head, *_description(file, part)], part)
        except TimeoutError:
            raise SlowRequest(f"the file was not taken in {limits.DOWNLOAD_TIME} ms (limit DOWNLOAD_TIME)") from None
        except FilesUnavailable as error:
            raise unreachable(error) from None
        finally:
            content.close()
            self.departures.close(exchange)

    def _part(self, exchange: Exchange, tag: str, size: int) -> Part | None:
        if exchange.method != "GET":
            return None
        return wanted_part(_text(exchange.headers, b"range"), _text(exchange.headers, b"if-range"), tag, size)


def methods(path: str) -> tuple[str, ...] | None:
    """What may be asked of this path, or ``None`` when it is no file's."""
    if not path.startswith(PREFIX):
        return None
    return ("POST",) if path == _UPLOAD else ("GET", "HEAD")


async def _receive(exchange: Exchange, begun: Begun) -> None:
    """Write the body to the disk, in pieces that are worth a write; raises `TooLarge` and `ClientLeft`."""
    waiting, more = bytearray(), True
    while more:
        data, more = read_piece(await exchange.receive())
        waiting += data
        size = begun.writing.size + len(waiting)
        if size > limits.FILE_BYTES:
            raise _too_large(size, "so far")
        if waiting and (len(waiting) >= limits.BODY_CHUNK or not more):
            await begun.writing.write(bytes(waiting))
            waiting.clear()


async def _send(exchange: Exchange, file: StoredFile, content: Content, headers: HeaderList, part: Part | None) -> None:
    start, end = part or (0, file.size)

    async def pieces() -> AsyncGenerator[bytes]:
        at = start
        while at < end and (data := await content.read(at, min(limits.BODY_CHUNK, end - at))):
            yield data
            at += len(data)

    async with aclosing(pieces()) as body:
        await exchange.stream(206 if part else 200, headers, body, end - start)


def _description(file: StoredFile, part: Part | None) -> HeaderList:
    content_type = file.content_type or "application/octet-stream"
    headers = [(b"content-type", content_type.encode()), (b"x-content-type-options", b"nosniff")]
    if not _HARMLESS.match(content_type):
        headers.append((b"content-security-policy", b"sandbox"))
    if part is None:
        headers.append((b"digest", b"sha-256=" + base64.b64encode(file.sha256)))
    else:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, file.size)))
    return headers


def _type(headers: HeaderList) -> str | None:
    try:
        return checked_type(_text(headers, b"content-type"))
    except SyscallRefused as refused:
        raise BadRequest(f"the header Content-Type: {refused}") from None


def _digest(headers: HeaderList) -> bytes | None:
    text = _text(headers, b"digest")
    found = _DIGEST.search(text) if text is not None else None
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1].strip(), validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != 32:
        raise BadRequest("the header Digest holds no SHA-256: write it as 'sha-256=' and 32 bytes in base64")
    return digest


def _text(headers: HeaderList, name: bytes) -> str | None:
    value = cors.header(headers, name)
    return None if value is None else value.decode("latin-1")


def _too_large(observed: int, how: str) -> TooLarge:
    return TooLarge(f"a file is at most {int(limits.FILE_BYTES)} bytes, limit FILE_BYTES ({observed} {how})")
