"""Does what was written leave in order, at the end of the turn, and all of it?"""

import asyncio
import inspect
import re

import pytest
from uvicorn.protocols.http import httptools_impl

from runtime.edge.connections.cork import _IN_A_ROW, Cork, Outbox

# A WebSocket's handshake gets the transport itself.
_OF_THE_TRANSPORT_ITSELF = {"set_protocol"}


class Transport(asyncio.Transport):
    """Takes down what it is told, in one list with others."""

    def __init__(self, name: str, told: list[tuple[str, bytes]]) -> None:
        super().__init__()
        self.name, self.told = name, told
        self.closed = self.broken = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken or self.closed:
            raise RuntimeError("the handler is closed")
        self.told.append((self.name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class Row:
    """So many connections of one server."""

    def __init__(self, count: int) -> None:
        self.told: list[tuple[str, bytes]] = []
        outbox = Outbox(asyncio.get_running_loop())
        self.transports = [Transport(str(number), self.told) for number in range(count)]
        self.corks = [Cork(transport, outbox) for transport in self.transports]


@pytest.fixture
async def row() -> Row:
    return Row(3)


async def test_what_one_turn_writes_leaves_in_one_piece_at_its_end(row: Row) -> None:
    first, second, _ = row.corks
    first.write(b"head ")
    second.write(b"other")
    first.write(b"body")
    assert row.told == [] and first.get_write_buffer_size() == 9
    await asyncio.sleep(0)
    assert row.told == [("0", b"head body"), ("1", b"other")]
    assert first.get_write_buffer_size() == 0


async def test_every_turn_has_its_own(row: Row) -> None:
    for number in range(3):
        row.corks[0].write(b"%d" % number)
        await asyncio.sleep(0)
    assert row.told == [("0", b"0"), ("0", b"1"), ("0", b"2")]


async def test_what_was_flushed_is_not_sent_again(row: Row) -> None:
    row.corks[0].write(b"once")
    row.corks[0].flush()
    row.corks[0].write(b"more")
    assert row.corks[1].transport is row.transports[1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert row.told == [("0", b"once"), ("0", b"more")]


async def test_closing_sends_what_was_written_before(row: Row) -> None:
    row.corks[0].write(b"last words")
    row.corks[0].close()
    await asyncio.sleep(0)
    assert row.told == [("0", b"last words")] and row.transports[0].closed


async def test_a_client_that_leaves_in_this_turn_takes_nobody_elses_answer_along(row: Row) -> None:
    for cork in row.corks:
        cork.write(b"answer")
    row.transports[0].closed = True
    row.corks[1].abort()
    await asyncio.sleep(0)
    assert row.told == [("2", b"answer")]


async def test_one_connections_trouble_is_nobody_elses(row: Row) -> None:
    for cork in row.corks:
        cork.write(b"answer")
    row.transports[0].broken = True
    await asyncio.sleep(0)
    assert row.told == [("1", b"answer"), ("2", b"answer")] and row.transports[0].closed
    row.corks[1].write(b"more")
    await asyncio.sleep(0)
    assert row.told[2:] == [("1", b"more")]


async def test_who_is_alone_does_not_wait_for_the_end_of_the_turn(row: Row) -> None:
    first, second, _ = row.corks
    for number in range(2):
        first.write(b"%d" % number)
        first.send(b"!")
        assert row.told[number:] == [("0", b"%d!" % number)]
        await asyncio.sleep(0)
    first.send(b"2!")
    second.send(b"2!")
    await asyncio.sleep(0)
    assert row.told[2:] == [("0", b"2!"), ("1", b"2!")]
    first.send(b"3!")  # the last turn was not his alone
    assert len(row.told) == 4
    await asyncio.sleep(0)
    first.send(b"4!")
    assert row.told[4:] == [("0", b"3!"), ("0", b"4!")]


async def test_of_very_many_the_first_do_not_wait_for_the_last() -> None:
    row = Row(2 * _IN_A_ROW + 1)
    for cork in row.corks:
        cork.write(b"answer")
    assert len(row.told) == 2 * _IN_A_ROW
    await asyncio.sleep(0)
    assert [name for name, _ in row.told] == [str(number) for number in range(2 * _IN_A_ROW + 1)]


def test_it_has_all_of_a_transport_that_uvicorn_uses() -> None:
    """Read in uvicorn's text: what is missing would show in some corner, at the next release."""
    source = inspect.getsource(httptools_impl)
    used = set(re.findall(r"self\.transport\.(\w+)", source))
    assert "write" in used and used - _OF_THE_TRANSPORT_ITSELF <= set(dir(Cork))
