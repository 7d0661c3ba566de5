"""What every `KeySets` promises, and how the one that goes out defends itself."""

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime import limits
from runtime.adapters.outbound.key_sets import HttpKeySets
from runtime.adapters.outbound.memory_key_sets import MemoryKeySets
from runtime.egress.rules import Exceptions, Rules, parse_exceptions
from runtime.ports import KeySets, LookupFailed

BODY = b'{"keys": []}'
LISTED = Rules(parse_exceptions("127.0.0.1"))

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Provider(NamedTuple):
    """A server that the test writes: where it listens, and the heads of the requests it got."""

    port: int
    heads: list[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys?a=b"


@asynccontextmanager
async def serving(
    *pieces: bytes, then: Talk | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Provider]:
    """Answer every request with these pieces, and then do something else before closing."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if then is not None:
                await then(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield Provider(server.sockets[0].getsockname()[1], heads)


def answer(status: str = "200 OK", *headers: str, body: bytes = BODY) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def key_sets() -> AsyncIterator[HttpKeySets]:
    made = HttpKeySets(LISTED)
    yield made
    await made.close()


async def why(key_sets: KeySets, url: str) -> str:
    with pytest.raises(LookupFailed) as failed:
        await key_sets.read(url)
    return str(failed.value)


# --- on every adapter -------------------------------------------------------------------------------------------------


async def test_a_document_that_is_there_is_read_and_one_that_is_not_fails(key_sets: HttpKeySets) -> None:
    memory = MemoryKeySets()
    async with serving(answer(body=BODY)) as good, serving(answer("404 Not Found")) as missing:
        memory.publish(good.url, BODY)
        each: list[KeySets] = [memory, key_sets]
        for adapter in each:
            assert (await adapter.read(good.url)).body == BODY
            assert "404" in await why(adapter, missing.url)


# --- the one that goes out --------------------------------------------------------------------------------------------


async def test_a_request_tells_nothing_of_who_made_us_ask(key_sets: HttpKeySets) -> None:
    async with serving(answer()) as provider:
        await key_sets.read(provider.url)
    (head,) = provider.heads
    first, *lines = head.decode().strip().split("\r\n")
    assert first == "GET /keys?a=b HTTP/1.1"
    assert {line.partition(":")[0].lower() for line in lines} == {
        *("host", "accept", "accept-encoding", "connection", "user-agent")
    }
    assert f"host: 127.0.0.1:{provider.port}" in lines


@pytest.mark.parametrize(
    "header, lasts",
    [
        ("Cache-Control: public, max-age=300", 300.0),
        ("cache-control: max-age=0", 0.0),
        ("Cache-Control: no-store", 0.0),
        ("Cache-Control: nonsense, max-age=x", None),
        ("X: y", None),
    ],
)
async def test_what_a_publisher_says_of_its_age_is_handed_on(
    key_sets: HttpKeySets, header: str, lasts: float | None
) -> None:
    async with serving(answer("200 OK", header)) as provider:
        assert (await key_sets.read(provider.url)).lasts == lasts


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent", "304 Same"])
async def test_a_redirect_is_not_followed(key_sets: HttpKeySets, status: str) -> None:
    async with serving(answer()) as inside:
        async with serving(answer(status, f"Location: {inside.url}", body=b"")) as provider:
            assert "redirect" in await why(key_sets, provider.url)
        assert inside.heads == []


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (limits.KEY_SET_BYTES + 1)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"8000\r\n" + b"x" * 0x8000 + b"\r\n"] * 40)),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",),
        (b"SSH-2.0-OpenSSH_9.6\r\n",),
        (b"\x00" * 1000,),
        (b"",),
        (answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(BODY)),),
        (answer("500 Oops"),),
        (answer("204 No Content", body=b""),),
    ],
)
async def test_an_answer_that_is_none_is_a_failed_lookup(key_sets: HttpKeySets, pieces: tuple[bytes, ...]) -> None:
    async with serving(*pieces) as provider:
        assert "127.0.0.1" in await why(key_sets, provider.url)


async def test_a_provider_that_says_nothing_or_drips_is_given_up(
    key_sets: HttpKeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOKUP_TIME", limits.Limit(200, "ms", "so that the test is short"))

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(then=silence) as silent, serving(b"HTTP/1.1 200 OK\r\n\r\n", then=drip) as dripping:
        assert "200 ms" in await why(key_sets, silent.url)
        assert "200 ms" in await why(key_sets, dripping.url)


async def test_a_port_where_nobody_listens_fails_at_once(key_sets: HttpKeySets) -> None:
    async with serving(answer()) as provider:
        gone = provider.url
    assert "cannot be read" in await why(key_sets, gone)


async def test_a_private_address_is_refused_before_a_byte_is_sent() -> None:
    strict = HttpKeySets(Rules(Exceptions()))
    async with serving(answer()) as provider:
        for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "2130706433"):
            for scheme in ("http", "https"):
                await why(strict, f"{scheme}://{host}:{provider.port}/keys")
        # A name says nothing about where it leads until it is resolved.
        assert "private" in await why(strict, f"https://localhost:{provider.port}/keys")
    assert provider.heads == []
    await strict.close()


async def test_a_name_is_judged_by_the_address_it_has_when_it_is_used() -> None:
    class Rebinding(HttpKeySets):
        """A name that is public when somebody looks and private when somebody connects would show here."""

    rules = Rules(Exceptions())
    key_sets = Rebinding(rules)
    asked: list[str] = []

    async def addresses(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) > 1 else ["127.0.0.1"]

    key_sets._resolver.addresses = addresses  # type: ignore[method-assign]  # the name server of this test
    async with serving(answer()) as provider:
        assert "private" in await why(key_sets, f"https://rebinding.example:{provider.port}/")
    assert asked == ["rebinding.example"] and provider.heads == []
    await key_sets.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(key_sets: HttpKeySets, tmp_path: Path) -> None:
    async with serving(answer(), tls=_own_certificate(tmp_path)) as provider:
        assert "certificate" in await why(key_sets, f"https://127.0.0.1:{provider.port}/keys")
    assert provider.heads == []


def _own_certificate(folder: Path) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.fromtimestamp(time.time(), UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 5, now - timedelta(1), now + timedelta(1))
    file = folder / "own.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
