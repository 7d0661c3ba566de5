"""What does ``ctx.storage`` ask of the host, and what does it refuse by itself?"""

from collections.abc import Iterator
from typing import Any

import pytest

from runtime import limits
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Refuse
from tests.units.guests import Host


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def load(host: Host, line: str, kind: str = "action") -> None:
    host.load({"m.py": f"from runtime import *\n@{kind}\nasync def f(ctx):\n    return {line}"})
    host.call("m:f", Kind(kind))


@pytest.mark.parametrize(
    "kind, line, asked",
    [
        ("query", "await ctx.storage.get_url('id')", ["storage.get_url", "id"]),
        ("query", "await ctx.storage.get_metadata('id')", ["storage.get_metadata", "id"]),
        ("mutation", "await ctx.storage.generate_upload_url()", ["storage.generate_upload_url"]),
        ("mutation", "await ctx.storage.get_url('id')", ["storage.get_url", "id"]),
    ],
)
def test_what_is_asked_is_answered(host: Host, kind: str, line: str, asked: list[Any]) -> None:
    load(host, line, kind)
    syscall, args = host.asked()
    assert [syscall.name, *args] == asked
    host.answer(syscall, "text" if "metadata" not in line else {"size": 1.0})
    assert host.returned() in ("text", {"size": 1.0})


def test_a_small_file_is_one_question(host: Host) -> None:
    load(host, "await ctx.storage.store(Blob(['text'], type='text/plain'))")
    syscall, args = host.asked()
    assert (syscall.name, args) == ("storage.store", ["text/plain", None, b"text", True])
    host.answer(syscall, [1, "an-id"])
    assert host.returned() == "an-id"


def test_a_large_file_goes_piece_by_piece_as_fast_as_it_is_taken(host: Host) -> None:
    size = int(limits.BODY_CHUNK)
    load(host, f"await ctx.storage.store(bytes({2 * size + 1}), 'a/b')")
    first, args = host.asked()
    assert (args[0], len(args[2]), args[3]) == ("a/b", size, False)
    host.answer(first, [7, None])
    second, args = host.asked()
    assert (second.name, args[0], len(args[1]), args[2]) == ("storage.write", 7, size, False)
    host.answer(second, None)
    third, args = host.asked()
    assert (third.name, args) == ("storage.write", [7, b"\x00", True])
    host.answer(third, "an-id")
    assert host.returned() == "an-id"


def test_what_cannot_be_written_to_its_end_is_given_up(host: Host) -> None:
    load(host, f"await ctx.storage.store(bytes({int(limits.BODY_CHUNK) + 1}))")
    first, _ = host.asked()
    host.answer(first, [7, None])
    second, _ = host.asked()
    host.say(Refuse(second.cid, second.sid, "LimitExceeded", "no more"))
    third, args = host.asked()
    assert (third.name, args) == ("storage.close", [7])
    host.answer(third, None)
    assert host.failed().exception == "LimitExceeded"


def test_a_file_comes_piece_by_piece(host: Host) -> None:
    load(host, "[(b := await ctx.storage.get('id')).size, b.type, await b.bytes()]")
    first, args = host.asked()
    assert (first.name, args) == ("storage.get", ["id"])
    host.answer(first, [3, "image/png", 6, b"one", False])
    second, args = host.asked()
    assert (second.name, args) == ("storage.read", [3])
    host.answer(second, [b"two", True])
    assert host.returned() == [6, "image/png", b"onetwo"]


def test_a_file_that_is_not_there_is_none(host: Host) -> None:
    load(host, "[await ctx.storage.get('id'), await ctx.storage.get_url('id'), await ctx.storage.get_metadata('id')]")
    for _ in range(3):
        host.answer(host.asked()[0], None)
    assert host.returned() == [None, None, None]


@pytest.mark.parametrize(
    "line, words",
    [
        ("await ctx.storage.store('text')", "from a Blob or bytes, not from str"),
        ("await ctx.storage.store(b'x', 5)", "a content type is a str"),
        ("await ctx.storage.get(5)", "named by its id, not by int"),
        ("await ctx.storage.delete(None)", "named by its id, not by NoneType"),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_is_asked(host: Host, line: str, words: str) -> None:
    load(host, line)
    failure = host.failed()
    assert (failure.exception, words in failure.message) == ("TypeError", True)
