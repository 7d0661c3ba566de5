"""Is a target read as a URL parser reads it, and a body no further than it may be?"""

from collections.abc import Iterable
from typing import Any

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime import limits
from runtime.edge.intake import Body, ClientLeft, open_body, read_all, read_target
from runtime.errors import BadRequest, TooLarge

VISIBLE = [bytes([code]) for code in range(0x21, 0x7F) if code not in b"?#"]
TEXT = st.lists(st.one_of(st.sampled_from(VISIBLE), st.sampled_from([b"/", b".", b"%2e", b"/.", b"/.."])), max_size=12)


def scripted(*pieces: tuple[bytes, bool] | None) -> Any:
    messages = iter(pieces)

    async def receive() -> dict[str, Any]:
        piece = next(messages)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece[0], "more_body": piece[1]}

    return receive


@given(TEXT.map(b"".join), TEXT.map(b"".join))
@example(b"a/../b", b"")
@example(b"%2E%2e/x", b"a='b'")
@example(b"a\\b", b"")
def test_the_short_way_reads_a_target_as_the_parser_does(path: bytes, query: bytes) -> None:
    target = "http://host/" + path.decode() + ("?" + query.decode() if query else "")
    url = ada_url.URL(target)
    assert read_target(b"/" + path, query) == (url.pathname, url.pathname + url.search)


@pytest.mark.parametrize("raw", [b"*", b"", b"hello", b"host:80"])
def test_a_target_that_is_no_path_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        read_target(raw, b"")


async def test_a_body_that_is_here_is_bytes() -> None:
    assert await open_body(scripted((b"abc", False)), []) == b"abc"


async def test_a_body_that_is_still_coming_is_read_piece_by_piece() -> None:
    body = await open_body(scripted((b"a", True), (b"", True), (b"b", False)), [])
    assert isinstance(body, Body)
    assert not body.resting
    assert [piece async for piece in body] == [b"a", b"b"]
    assert body.resting


async def test_an_announced_length_past_the_limit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(TooLarge, match=str(limits.REQUEST_BODY + 1)):
        await open_body(scripted(), [(b"content-length", b"%d" % (limits.REQUEST_BODY + 1))])


async def test_more_than_the_limit_is_refused_while_it_is_read() -> None:
    half = (b"x" * (limits.REQUEST_BODY // 2 + 1), True)
    with pytest.raises(TooLarge, match=str(int(limits.REQUEST_BODY))):
        await read_all(scripted(half, half, half), [])


@pytest.mark.parametrize("pieces", [[None], [(b"a", True), None]])
async def test_a_client_that_leaves_is_told_apart_from_an_end(pieces: Iterable[tuple[bytes, bool] | None]) -> None:
    with pytest.raises(ClientLeft):
        await read_all(scripted(*pieces), [])
