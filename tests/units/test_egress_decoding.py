"""Is what was packed unpacked, and never more than somebody asked for?"""

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import limits
from runtime.egress.decoding import coding_of, decoded, without_coding


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def unpack(data: bytes, coding: str, size: int = 64 * 1024) -> bytes:
    return b"".join([piece async for piece in decoded(pieces(data, size), coding)])


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@given(st.binary(max_size=5_000), st.integers(1, 600))
async def test_what_was_packed_comes_out_however_it_arrives(data: bytes, size: int) -> None:
    assert await unpack(gzip.compress(data), "gzip", size) == data
    assert await unpack(zlib.compress(data), "deflate", size) == data
    assert await unpack(raw(data), "deflate", size) == data
    assert await unpack(gzip.compress(data) + gzip.compress(data), "gzip", size) == data * 2


@pytest.mark.parametrize("size", [limits.BODY_CHUNK - 1, limits.BODY_CHUNK, limits.BODY_CHUNK * 2, 3_000_001])
async def test_a_body_of_exactly_some_pieces_is_whole(size: int) -> None:
    for packed, coding in ((gzip.compress(b"x" * size), "gzip"), (zlib.compress(b"x" * size), "deflate")):
        assert len(await unpack(packed, coding)) == size


async def test_a_bomb_unfolds_in_small_pieces() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    seen = 0
    async for piece in decoded(pieces(bomb, len(bomb)), "gzip"):
        assert len(piece) <= limits.BODY_CHUNK
        seen += 1
        if seen == 3:
            break
    assert seen == 3


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_ends_too_early_or_is_something_else_is_refused(coding: str) -> None:
    packed = gzip.compress(bytes(range(256)) * 50) if coding == "gzip" else zlib.compress(bytes(range(256)) * 50)
    with pytest.raises(ValueError, match="early"):
        await unpack(packed[:-20], coding)
    with pytest.raises(ValueError, match="is no"):
        await unpack(b"\xff" * 300, coding)


async def test_nothing_at_all_is_an_empty_body() -> None:
    assert await unpack(b"", "gzip") == b""


@pytest.mark.parametrize("junk", [b"junk", b"\0" * 40, b"\x1f"])
async def test_what_follows_the_end_is_dropped(junk: bytes) -> None:
    assert await unpack(gzip.compress(b"abc") + junk, "gzip") == b"abc"
    assert await unpack(zlib.compress(b"abc") + junk, "deflate") == b"abc"


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (b"gzip", "gzip"),
        (b"X-GZIP", "gzip"),
        (b" deflate ", "deflate"),
        (b"br", None),
        (b"gzip, gzip", None),
        (b"", None),
    ],
)
def test_only_one_coding_that_is_known_is_undone(value: bytes, coding: str | None) -> None:
    assert coding_of([(b"content-encoding", value)]) == coding
    assert coding_of([]) is None


def test_headers_that_no_longer_hold_are_gone() -> None:
    headers = [(b"content-encoding", b"gzip"), (b"content-length", b"5"), (b"etag", b"x")]
    assert without_coding(headers) == [(b"etag", b"x")]


async def test_a_file_of_empty_members_is_given_up() -> None:
    assert await unpack(gzip.compress(b"x") * 1_000, "gzip") == b"x" * 1_000
    with pytest.raises(ValueError, match="more than 1000 members"):
        await unpack(gzip.compress(b"") * 1_001, "gzip")
