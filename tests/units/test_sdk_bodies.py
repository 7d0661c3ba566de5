"""A body is made of what a tenant hands in, and read once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.sdk.fetch.blob import Blob, File
from runtime.sdk.fetch.bodies import BodyStream
from runtime.sdk.fetch.multipart_form import FormData
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.signals import AbortSignal
from runtime.sdk.fetch.url import URLSearchParams


async def spoken(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


def incoming(body: Any = None, headers: Any = (), method: str = "POST") -> Request:
    return Request.incoming(
        method=method,
        url="http://a.localhost/x?y=1",
        headers=list(headers),
        path_params={"id": "7"},
        body=body,
        signal=AbortSignal(),
    )


def form_of(*fields: tuple[str, str]) -> FormData:
    form = FormData()
    for name, value in fields:
        form.append(name, value)
    return form


@pytest.mark.parametrize(
    ("body", "data", "kind"),
    [
        (None, b"", None),
        ("", b"", "text/plain;charset=UTF-8"),
        ("ä\ud800", "ä\ufffd".encode(), "text/plain;charset=UTF-8"),
        (b"\xff", b"\xff", None),
        (bytearray(b"a"), b"a", None),
        (memoryview(b"a"), b"a", None),
        (Blob(["a"], "Image/PNG"), b"a", "image/png"),
        (Blob(["a"]), b"a", None),
        (URLSearchParams("a=1 2"), b"a=1+2", "application/x-www-form-urlencoded;charset=UTF-8"),
    ],
)
async def test_a_body_brings_its_content_type(body: Any, data: bytes, kind: str | None) -> None:
    for make in (Response, lambda body: Request("http://a/", method="POST", body=body)):
        made = make(body)
        assert made.headers.get("content-type") == kind
        assert await made.bytes() == data
    own = Response(body, headers={"Content-Type": "x/y"})
    assert list(own.headers) == [("content-type", "x/y")]


async def test_a_form_as_body_can_be_read_as_the_form_again() -> None:
    response = Response(form_of(("a", "1"), ("b", "ä")))
    kind = response.headers["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    assert list(await response.form_data()) == [("a", "1"), ("b", "ä")]


async def test_a_stream_as_body_speaks_bytes_and_text() -> None:
    response = Response(spoken(b"a", "ä", b"", bytearray(b"b"), memoryview(b"c")))
    assert response.headers.get("content-type") is None
    assert [chunk async for chunk in response.body or ()] == [b"a", "ä".encode(), b"b", b"c"]  # type: ignore[union-attr]


async def test_a_stream_that_speaks_something_else_is_a_type_error_where_it_is_read() -> None:
    with pytest.raises(TypeError, match="yielded int"):
        await Response(spoken(b"a", 5)).bytes()


@pytest.mark.parametrize("body", [5, {"a": 1}, ["a"], object(), iter([b"a"])])
def test_what_is_no_body_is_refused_with_advice(body: Any) -> None:
    with pytest.raises(TypeError, match=r"Response\.json"):
        Response(body)


@pytest.mark.parametrize("make", [Response, incoming])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("reader", ["text", "json", "bytes", "array_buffer", "blob", "form_data"])
async def test_a_second_reader_is_refused(make: Callable[[Any], Any], streams: bool, reader: str) -> None:
    message = make(spoken(b"1") if streams else b"1")
    assert not message.body_used
    assert await message.bytes() == b"1"
    assert message.body_used
    with pytest.raises(TypeError, match="read already"):
        await getattr(message, reader)()
    with pytest.raises(TypeError, match="read already"):
        message.clone()


async def test_no_body_can_be_read_for_ever() -> None:
    for message in (Response(), incoming(None)):
        assert message.body is None
        assert await message.text() == "" and await message.bytes() == b""
        assert not message.body_used


async def test_a_body_begun_as_a_stream_counts_as_read() -> None:
    for body in (b"ab", spoken(b"a", b"b")):
        request = incoming(body)
        stream = request.body
        assert stream is not None and request.body is stream and not request.body_used
        await anext(stream)
        assert request.body_used
        with pytest.raises(TypeError):
            await request.text()


async def test_a_body_that_was_read_is_an_empty_stream() -> None:
    request = incoming(b"ab")
    await request.text()
    assert [chunk async for chunk in request.body or ()] == []  # type: ignore[union-attr]  # a POST has a body
    assert request.body_used


async def test_text_is_utf8_without_its_mark_and_with_replacements() -> None:
    assert await incoming(b"\xef\xbb\xbfa\xf0\x9f\x98b\xff").text() == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 1.5, true, null, "\xc3\xa4"]}', {"a": [1, 1.5, True, None, "ä"]}),
        (b"\xef\xbb\xbf1", 1),
        (b'"\xff"', "\ufffd"),
        (b'"\\ud800"', "\ud800"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1e999", float("inf")),
    ],
)
async def test_json_is_read_as_javascript_reads_it(body: bytes, value: Any) -> None:
    assert await incoming(body).json() == value
    assert await Response(body).json() == value


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[Infinity]", b"{'a':1}", b"[1,]", b'"\n"', b"[" * 100_000])
async def test_malformed_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        await incoming(body).json()


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ('Text/HTML;Charset="a b" ; x=y', 'text/html;charset="a b";x=y'),
        ("nonsense", ""),
        ("text/plain;charset=gbk, text/html", "text/html"),
        ("text/html;charset=gbk, text/html", "text/html;charset=gbk"),
        ('text/html;x=",", text/css', "text/css"),
        ("text/html, */*", "text/html"),
        ("text/html;x=1;x=2;=3;y", "text/html;x=1"),
        ('text/html;x="a\\"b', 'text/html;x="a\\"b"'),
    ],
)
async def test_a_blob_has_the_type_of_its_message(header: str, kind: str) -> None:
    blob = await incoming(b"x", [(b"content-type", header.encode())]).blob()
    assert (blob.type, await blob.text()) == (kind.lower(), "x")


async def test_forms_are_read_by_their_content_type() -> None:
    urlencoded = [(b"content-type", b"application/x-www-form-urlencoded; charset=x")]
    assert list(await incoming(b"a=1&b=%20+&a=2", urlencoded).form_data()) == [("a", "1"), ("b", "  "), ("a", "2")]
    assert list(await incoming(b"", urlencoded).form_data()) == []
    form = FormData()
    form.append("f", File([b"\0"], "x.bin"))
    again = await Request("http://a/", method="POST", body=form).form_data()
    file = again["f"]
    assert isinstance(file, File) and (file.name, file.data) == ("x.bin", b"\0")


@pytest.mark.parametrize("kind", [b"", b"text/plain", b"multipart/form-data", b"multipart/form-data; boundary=B"])
async def test_what_is_no_form_is_a_type_error(kind: bytes) -> None:
    with pytest.raises(TypeError):
        await incoming(b"a=1", [(b"content-type", kind)] if kind else []).form_data()


async def test_clones_are_read_apart_whoever_reads_first() -> None:
    for make in (lambda: incoming(spoken(b"a", b"b", b"c")), lambda: Response(spoken(b"a", b"b", b"c"))):
        first = make()
        second = first.clone()
        third = second.clone()
        assert first.body is not None
        assert await anext(first.body) == b"a"
        assert await second.text() == "abc"
        assert [chunk async for chunk in first.body] == [b"b", b"c"]
        texts = await asyncio.gather(third.text(), asyncio.sleep(0))
        assert texts[0] == "abc"


async def test_clones_share_the_failure_of_their_stream() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError("broke")

    first = Response(broken())
    second = first.clone()
    for reading in (first.text(), second.text()):
        with pytest.raises(RuntimeError, match="broke"):
            await reading


async def test_a_cancelled_reader_does_not_pass_for_the_end() -> None:
    begun = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"a"
        begun.set()
        await asyncio.Event().wait()

    first = Response(slow())
    second = first.clone()
    reading = asyncio.ensure_future(first.text())
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(TypeError, match="cancelled"):
        await second.text()


async def test_closing_a_stream_tells_its_source() -> None:
    told = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            told.append("closed")

    body = Response(source()).wire_body()
    assert isinstance(body, BodyStream)
    await anext(body)
    await body.aclose()
    assert told == ["closed"]
