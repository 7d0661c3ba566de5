"""Blob, File and FormData: what they hold, and how a form travels."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.protocol.declaration import Kind
from runtime.sdk.fetch.blob import Blob, File
from runtime.sdk.fetch.multipart_form import FormData, new_boundary, read_multipart, write_multipart
from runtime.sdk.running import RUNNING, Running

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="title"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n'
    b'--B\r\nContent-Disposition: form-data; name="photo"; filename="a%22b.png"\r\nContent-Type: image/PNG\r\n\r\n'
    b"\x89PNG\r\n--no\r\n"
    b"--B--\r\n"
)


async def test_a_blob_joins_its_parts_and_is_read_many_times() -> None:
    blob = Blob(["ä", b"b", bytearray(b"c"), memoryview(b"d"), Blob(["e"]), "\ud800"], type="Text/PLAIN;a=B")
    assert (blob.size, blob.type) == (9, "text/plain;a=b")
    for _ in range(2):
        assert await blob.text() == "äbcde\ufffd"
        assert await blob.bytes() == await blob.array_buffer() == "äbcde\ufffd".encode()
    assert b"".join([piece async for piece in blob.stream()]) == blob.data
    assert await Blob([b"\xef\xbb\xbfa\xff"]).text() == "a\ufffd"
    assert (Blob().size, Blob().type) == (0, "")


async def test_a_large_blob_streams_in_pieces() -> None:
    blob = Blob([b"x" * (limits.BODY_CHUNK * 2 + 1)])
    assert [len(piece) async for piece in blob.stream()] == [limits.BODY_CHUNK, limits.BODY_CHUNK, 1]


@pytest.mark.parametrize("type", ["é", "a\nb", "a\x7f", "\x00"])
def test_a_type_that_is_not_printable_ascii_is_dropped(type: str) -> None:
    assert Blob([], type).type == ""


@pytest.mark.parametrize("parts", ["text", b"bytes", Blob(), 5, None, [5], [None]])
def test_parts_that_are_no_list_of_parts_are_refused(parts: Any) -> None:
    with pytest.raises(TypeError):
        Blob(parts)


@pytest.mark.parametrize(
    ("bounds", "content"),
    [((), b"abcdef"), ((2,), b"cdef"), ((-2,), b"ef"), ((1, -1), b"bcde"), ((4, 2), b""), ((-99, 99), b"abcdef")],
)
async def test_a_slice_clamps_its_ends(bounds: Any, content: bytes) -> None:
    blob = Blob(["abcdef"], "text/plain")
    assert await blob.slice(*bounds).bytes() == content
    assert blob.slice(*bounds).type == ""
    assert blob.slice(0, 1, "A/B").type == "a/b"


def test_a_file_has_a_name_and_a_time() -> None:
    file = File(["x"], "a/b.txt", "text/plain", last_modified=5)
    assert (file.name, file.type, file.last_modified, file.size) == ("a/b.txt", "text/plain", 5, 1)
    assert isinstance(file, Blob) and File([], "y").last_modified > 0


def test_form_data_is_an_ordered_list_of_fields() -> None:
    form = FormData()
    form.append("a", "1")
    form.append("f", Blob(["x"], "text/plain"))
    form.append("a", "2")
    form.append("f", File(["y"], "y.txt"), "z.txt")
    assert (form.get("a"), form.get_all("a"), form.get("zz")) == ("1", ["1", "2"], None)
    files = form.get_all("f")
    assert [file.name for file in files if isinstance(file, File)] == ["blob", "z.txt"]
    form.set("a", "3")
    form.set("b", "4")
    form.delete("f")
    assert list(form) == [("a", "3"), ("b", "4")]
    assert form.has("a") and "f" not in form and list(form.keys()) == ["a", "b"]


def test_form_data_refuses_what_is_neither_text_nor_blob() -> None:
    form = FormData()
    for wrong in (b"x", None, [1]):
        with pytest.raises(TypeError):
            form.append("a", wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError):
        form.append("a", "text", "name.txt")


def test_a_file_that_stays_itself_is_the_same_file() -> None:
    file, form = File(["x"], "x"), FormData()
    form.append("f", file)
    assert form.get("f") is file


async def test_a_form_is_read_as_browsers_send_it() -> None:
    form = read_multipart(FORM, "B")
    assert form.get("title") == "Grüße"
    photo = form.get("photo")
    assert isinstance(photo, File)
    assert (photo.name, photo.type, await photo.bytes()) == ('a"b.png', "image/png", b"\x89PNG\r\n--no")


def test_a_file_without_a_type_is_plain_text() -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n--B--'
    file = read_multipart(body, "B").get("f")
    assert isinstance(file, File) and (file.type, file.name, file.size) == ("text/plain", "", 0)


def test_names_cannot_end_their_header() -> None:
    form = FormData()
    form.append('a"\r\nX: y\nz', "l1\nl2\rl3\r\nl4")
    form.append("f", File(["x"], 'q"\r\n\n.txt'))
    written = write_multipart(form, "B")
    assert b'name="a%22%0D%0AX: y%0D%0Az"\r\n\r\nl1\r\nl2\r\nl3\r\nl4\r\n' in written
    assert b'filename="q%22%0D%0A%0A.txt"\r\nContent-Type: application/octet-stream\r\n\r\nx\r\n' in written


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--B",
        b"--B\r\n",
        FORM[:-6],
        FORM.replace(b"form-data", b"attachment"),
        FORM.replace(b'name="title"', b""),
        b"--X\r\n\r\n--X--",
        b"--B\r\nno header\r\n\r\n\r\n--B--",
        b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--B--',
        b'--B\r\nContent-Disposition: form-data; name="' + b"n" * 10_000 + b'"\r\n\r\n\r\n--B--',
    ],
)
def test_a_malformed_form_is_a_type_error(body: bytes) -> None:
    with pytest.raises(TypeError):
        read_multipart(body, "B")


def test_a_form_of_too_many_parts_is_refused_with_the_limit() -> None:
    def form(parts: int) -> bytes:
        return b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * parts + b"--B--\r\n"

    assert len(read_multipart(form(limits.FORM_PARTS), "B")) == limits.FORM_PARTS
    with pytest.raises(TypeError, match=str(int(limits.FORM_PARTS))):
        read_multipart(form(limits.FORM_PARTS + 1), "B")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n%\\"), max_size=6)


@given(st.lists(st.tuples(TEXT, TEXT | st.tuples(TEXT, st.binary(max_size=20))), max_size=5))
def test_a_form_that_was_written_is_read_again(fields: list[tuple[str, str | tuple[str, bytes]]]) -> None:
    form = FormData()
    for name, value in fields:
        form.append(name, value if isinstance(value, str) else File([value[1]], value[0], "a/b"))
    again = read_multipart(write_multipart(form, "Boundary0123456789"), "Boundary0123456789")
    assert _told(again) == _told(form)


def _told(form: Iterable[tuple[str, str | File]]) -> list[object]:
    return [(name, (v.name, v.type, v.data) if isinstance(v, File) else v) for name, v in form]


def test_boundaries_differ_but_repeat_where_a_run_must_repeat() -> None:
    assert new_boundary() != new_boundary()

    async def nobody(*_: object) -> None: ...

    made = []
    for _ in range(2):
        running = Running(Kind.QUERY, "r", "d", nobody, lambda level, text: None, 0.0, Random(7))
        token = RUNNING.set(running)
        made.append((new_boundary(), File([], "x").last_modified))
        RUNNING.reset(token)
    assert made[0] == made[1] and made[0][1] == 0
