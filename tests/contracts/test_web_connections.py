"""How are connections made, kept and given up?"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runtime.adapters.outbound.web import HttpWeb
from runtime.egress.rules import Plain, Rules, parse_exceptions
from runtime.errors import SyscallRefused
from tests.contracts.web_house import House, Server, answer, serving

LISTED = Rules(parse_exceptions("127.0.0.1, ::1, localhost"), Plain.ALLOWED)


@pytest.fixture
async def web() -> AsyncIterator[HttpWeb]:
    made = HttpWeb(LISTED)
    yield made
    await made.close()


@pytest.fixture
def house(web: HttpWeb) -> House:
    return House(web)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of an authority that nobody knows, for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 5, now - timedelta(1), now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = tmp_path_factory.mktemp("tls") / "own.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    return file


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    made = Server()
    made.answers["/a"] = answer()
    listener = await asyncio.start_server(made.talk, "127.0.0.1", 0, ssl=context)
    made.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield made


async def test_a_certificate_that_nobody_vouches_for_is_refused(house: House, secure: Server) -> None:
    with pytest.raises(SyscallRefused, match="certificate is not accepted"):
        await house.call().fetch(f"https://127.0.0.1:{secure.port}/a")
    assert secure.heads == []


async def test_tls_is_spoken_with_whoever_has_the_right_certificate(
    web: HttpWeb, house: House, secure: Server, certificate: Path
) -> None:
    web._tls = ssl.create_default_context(cafile=str(certificate))
    for _ in range(2):
        assert (await house.call().fetch(f"https://127.0.0.1:{secure.port}/a")).body == b"hello"
    assert secure.connections == 1
    # The name that was asked for counts, and not the address that it has.
    with pytest.raises(SyscallRefused, match="certificate is not accepted"):
        await house.call().fetch(f"https://localhost:{secure.port}/a")


async def test_a_server_that_speaks_no_tls_fails(house: House) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("400 Bad Request"))
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(SyscallRefused, match="no connection could be made") as refused:
            await house.call().fetch(f"https://127.0.0.1:{port}/a")
    assert refused.value.exception == "TypeError"


async def test_an_address_of_the_sixth_version_is_reached(house: House) -> None:
    made = Server()
    made.answers["/a"] = answer()
    if not socket.has_ipv6:
        pytest.fail("this machine has no IPv6")
    listener = await asyncio.start_server(made.talk, "::1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        got = await house.call().fetch(f"http://[0:0::1]:{port}/a")
    assert got.url == f"http://[::1]:{port}/a"
    assert f"host: [::1]:{port}\r\n" in made.heads[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_changes_nothing_is_asked_again_where_a_kept_connection_broke(house: House, method: str) -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await reader.readuntil(b"\r\n\r\n")  # the next request gets no answer here

    async with serving() as server:
        server.answers["/a"] = answer_once
        await house.call().fetch(f"{server.url}/a")
        if method == "GET":
            assert (await house.call().fetch(f"{server.url}/a")).status == 200
            assert server.connections == 2
        else:
            with pytest.raises(SyscallRefused, match="broke off"):
                await house.call().fetch(f"{server.url}/a", "POST", b"pay")
            assert server.connections == 1


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again(house: House) -> None:
    async with serving() as server:
        server.answers |= {"/long": answer(body=b"x" * 3_000_000), "/a": answer()}
        call = house.call()
        number = await call.start(f"{server.url}/long")
        await call.say("fetch.head", number)
        await call.say("fetch.close", number)
        assert (await call.fetch(f"{server.url}/a")).body == b"hello"
        assert server.connections == 2
