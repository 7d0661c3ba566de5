"""Bytes become messages however they were cut, and garbage becomes a violation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from runtime.protocol.framing import ProtocolViolation, frame, splitter_for_guest, splitter_for_host
from runtime.protocol.messages import (
    Chunk,
    Failed,
    Failure,
    GuestMessage,
    Head,
    Level,
    Line,
    Pong,
    Reason,
    Returned,
    Syscall,
)

texts = st.text(max_size=40)
cids = st.integers(min_value=0, max_value=2**53 - 1)
messages = st.one_of(
    st.builds(
        Head,
        cids,
        st.integers(0, 999),
        st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20))),
        st.binary(),
        st.booleans(),
    ),
    st.builds(Chunk, cids, st.binary(), st.booleans()),
    st.builds(Line, cids, st.sampled_from(Level), texts),
    st.builds(Pong, st.integers(0, 2**31)),
    st.builds(Failed, cids, st.builds(Failure, st.sampled_from(Reason), texts, texts)),
)


def plain(message: GuestMessage) -> object:
    return (type(message), tuple(getattr(message, name) for name in message.__struct_fields__))


@given(st.lists(messages, max_size=8), st.data())
def test_messages_survive_any_cut_of_their_bytes(said: list[GuestMessage], data: st.DataObject) -> None:
    stream = b"".join(frame(message) for message in said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = splitter_for_host(1 << 20)
    heard: list[GuestMessage] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard.extend(splitter.feed(stream[start:end]))
    assert [plain(message) for message in heard] == [plain(message) for message in said]
    assert splitter.buffered == 0


@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_a_violation_or_waits_for_more_and_never_anything_else(garbage: bytes) -> None:
    splitter = splitter_for_host(200)
    try:
        for message in splitter.feed(garbage):
            assert isinstance(message, GuestMessage)
    except ProtocolViolation:
        pass
    assert splitter.buffered <= 204


def test_a_length_past_the_limit_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(ProtocolViolation, match="limit 100"):
        list(splitter_for_host(100).feed((101).to_bytes(4, "little")))


def test_an_empty_frame_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        list(splitter_for_host(100).feed(b"\0\0\0\0"))


def test_a_frame_nested_without_end_is_a_violation_and_not_a_crash() -> None:
    bomb = b"\x94\x05\x01" + b"\x91" * 500_000 + b"\xc0"
    with pytest.raises(ProtocolViolation):
        list(splitter_for_host(1 << 20).feed(len(bomb).to_bytes(4, "little") + bomb))


def test_what_was_said_before_the_violation_is_heard_first() -> None:
    heard = []
    with pytest.raises(ProtocolViolation):
        for message in splitter_for_host(100).feed(frame(Pong(7)) + b"\xff\xff\xff\xff"):
            heard.append(message)
    assert [plain(message) for message in heard] == [plain(Pong(7))]


def test_the_host_does_not_understand_what_only_a_host_may_say() -> None:
    from runtime.protocol.messages import Load

    with pytest.raises(ProtocolViolation):
        list(splitter_for_host(1000).feed(frame(Load({}, {}, "d", True))))


def test_a_value_is_carried_unread() -> None:
    (message,) = splitter_for_host(1000).feed(frame(Returned(5, Raw(b"\x93\x01\x02\x03"))))
    assert isinstance(message, Returned)
    assert bytes(message.value) == b"\x93\x01\x02\x03"
    (question,) = splitter_for_host(1000).feed(frame(Syscall(5, 0, "db.get", Raw(b"\x91\xa1x"))))
    assert isinstance(question, Syscall)
    assert question.name == "db.get"


def test_the_guest_reads_with_the_same_framing() -> None:
    from runtime.protocol.messages import Ping

    (message,) = splitter_for_guest(100).feed(frame(Ping(3)))
    assert isinstance(message, Ping)
    assert message.number == 3


def test_a_frame_that_comes_byte_by_byte_costs_by_the_byte() -> None:
    # Were what is there copied for every byte, this would take minutes.
    stream = frame(Chunk(5, b"x" * (1 << 20), True))
    splitter = splitter_for_host(1 << 21)
    heard = [message for at in range(len(stream)) for message in splitter.feed(stream[at : at + 1])]
    assert [plain(message) for message in heard] == [plain(Chunk(5, b"x" * (1 << 20), True))]


def test_a_frame_of_millions_of_things_is_a_violation_before_it_is_decoded() -> None:
    for bomb in (
        Head(5, 200, [(b"", b"")] * 500_000, b"", True),
        Returned(5, Raw(b"\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20))),
    ):
        with pytest.raises(ProtocolViolation, match="items"):
            list(splitter_for_host(1 << 23).feed(frame(bomb)))
