"""A guest may say what the table lists, in its order and within its limits, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from runtime import limits
from runtime.protocol.conversation import TABLE, AboutACall, Ledger, State
from runtime.protocol.framing import ProtocolViolation
from runtime.protocol.messages import Chunk, Failed, Failure, Head, Level, Line, Reason, Returned, Syscall, Taken

NIL = Raw(b"\xc0")
FAILURE = Failure(Reason.RAISED, "E", "m")
anything = st.one_of(
    st.builds(lambda sid: Syscall(1, sid, "x", NIL), st.integers(-1, 5)),
    st.just(Returned(1, NIL)),
    st.just(Failed(1, FAILURE)),
    st.builds(lambda last: Head(1, 200, [], b"x", last), st.booleans()),
    st.builds(lambda last: Chunk(1, b"x", last), st.booleans()),
    st.builds(lambda amount: Taken(1, amount), st.integers(-2, 2)),
    st.just(Line(1, Level.INFO, "t")),
)


@given(st.sampled_from([State.CALLED, State.ASKED]), st.lists(anything, max_size=30))
def test_whatever_a_guest_says_only_the_table_decides_what_passes(start: State, said: list[AboutACall]) -> None:
    ledger = Ledger(start)
    for message in said:
        before = ledger.state
        try:
            ledger.admit(message)
        except ProtocolViolation:
            return
        assert type(message) in TABLE[before]
        assert before is not State.ENDED


def test_a_query_ends_with_its_value() -> None:
    ledger = Ledger(State.CALLED)
    ledger.admit(Returned(1, NIL))
    assert ledger.state is State.ENDED
    with pytest.raises(ProtocolViolation, match="Line while ended"):
        ledger.admit(Line(1, Level.INFO, "too late"))


def test_a_query_has_no_response_head() -> None:
    with pytest.raises(ProtocolViolation):
        Ledger(State.CALLED).admit(Head(1, 200, [], b"", True))


def test_a_chunk_before_the_head_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        Ledger(State.ASKED).admit(Chunk(1, b"x", False))


def test_a_body_past_its_credit_is_refused_and_credit_makes_room() -> None:
    ledger = Ledger(State.ASKED)
    ledger.admit(Head(1, 200, [], b"", False))
    ledger.admit(Chunk(1, b"x" * limits.BODY_WINDOW, False))
    ledger.credited(10)
    ledger.admit(Chunk(1, b"x" * 10, False))
    with pytest.raises(ProtocolViolation, match="under way"):
        ledger.admit(Chunk(1, b"x", False))


def test_syscalls_come_in_sequence() -> None:
    ledger = Ledger(State.CALLED)
    ledger.admit(Syscall(1, 0, "x", NIL))
    with pytest.raises(ProtocolViolation, match="sequence"):
        ledger.admit(Syscall(1, 0, "x", NIL))


def test_too_many_syscalls_at_once_are_refused_and_answers_make_room() -> None:
    ledger = Ledger(State.CALLED)
    for sid in range(limits.SYSCALLS_AT_ONCE):
        ledger.admit(Syscall(1, sid, "x", NIL))
    ledger.answered()
    ledger.admit(Syscall(1, int(limits.SYSCALLS_AT_ONCE), "x", NIL))
    with pytest.raises(ProtocolViolation, match="at once"):
        ledger.admit(Syscall(1, limits.SYSCALLS_AT_ONCE + 1, "x", NIL))


def test_a_flood_of_log_lines_is_refused() -> None:
    ledger = Ledger(State.CALLED)
    with pytest.raises(ProtocolViolation, match="log"):
        for _ in range(limits.LOG_LINES + 100):
            ledger.admit(Line(1, Level.INFO, "x"))


def test_nobody_takes_more_of_a_body_than_was_fed() -> None:
    ledger = Ledger(State.ASKED)
    ledger.fed(10)
    ledger.admit(Taken(1, 10))
    with pytest.raises(ProtocolViolation):
        ledger.admit(Taken(1, 1))


def test_an_empty_piece_of_a_body_is_refused_unless_it_ends_it() -> None:
    ledger = Ledger(State.STREAMING)
    with pytest.raises(ProtocolViolation, match="empty"):
        ledger.admit(Chunk(1, b"", False))
    ledger.admit(Chunk(1, b"", True))
    assert ledger.state is State.ENDED
