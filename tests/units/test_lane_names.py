"""Is a question of a lane's C library read as what it is, and nothing else taken for one?"""

import asyncio
from collections.abc import Sequence

import pytest

from runtime.egress.policy import OPEN
from runtime.egress.rules import Rules, parse_exceptions
from worker.lane.names import Names, Question, read_question, write_answer
from worker.node_style.egress import PolicyJudge

HEAD = bytes.fromhex("1234 0100 0001 0000 0000 0000")
NAME = b"\x03WWW\x07example\x03org\x00"
A = b"\x00\x01\x00\x01"


def test_a_question_is_read() -> None:
    assert read_question(HEAD + NAME + A) == Question(0x1234, "www.example.org", 1, NAME + A)


def test_what_follows_a_question_is_not_repeated() -> None:
    assert read_question(HEAD + NAME + A + b"additional").text == NAME + A


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        HEAD[:11],
        HEAD,
        HEAD + b"\x00" + A,
        HEAD + NAME,
        HEAD + NAME + A[:3],
        HEAD + b"\x3fshort" + A,
        HEAD + b"\xc0\x0c" + A,
        HEAD + b"\x03a.b\x00"[:4] + b"\xff" + A,
        HEAD + b"\x02a\x00\x00" + A,
        HEAD + b"\x02\xc3\xa9\x00" + A,
        HEAD + b"\x3f" + b"a" * 63 + NAME[:0] + (b"\x3f" + b"a" * 63) * 4 + b"\x00" + A,
        HEAD + NAME + b"\x00\x01\x00\x03",
        bytes.fromhex("1234 8100 0001 0000 0000 0000") + NAME + A,
        bytes.fromhex("1234 2900 0001 0000 0000 0000") + NAME + A,
        bytes.fromhex("1234 0100 0002 0000 0000 0000") + NAME + A,
    ],
)
def test_what_is_no_plain_question_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError):
        read_question(packet)


def test_an_answer_repeats_the_question_and_tells_the_addresses() -> None:
    question = read_question(HEAD + NAME + A)
    answer = write_answer(question, 0, ["192.0.2.1", "192.0.2.2"])
    assert answer[:12] == bytes.fromhex("1234 8180 0001 0002 0000 0000")
    assert answer[12:].startswith(NAME + A)
    assert answer.endswith(bytes.fromhex("c00c 0001 0001 0000003c 0004 c0000202"))


def test_a_name_that_is_not_there_has_no_addresses() -> None:
    assert write_answer(read_question(HEAD + NAME + A), 3, ())[:12] == bytes.fromhex("1234 8183 0001 0000 0000 0000")


async def test_of_an_address_with_endless_names_the_last_ones_are_remembered() -> None:
    async def resolve(name: str) -> Sequence[str]:
        return ["1.2.3.4"]

    names = Names(PolicyJudge(Rules(parse_exceptions("")), lambda: OPEN, lambda _: None), resolve, lambda _: None)
    ours = names.serve()
    assert ours is not None
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    for number in range(100):
        packet = HEAD + b"\x03%03d\x07example\x03org\x00" % number + A
        writer.write(len(packet).to_bytes(2, "big") + packet)
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    writer.close()
    await names.close()
    assert list(names.of("1.2.3.4")) == [f"{number:03}.example.org" for number in range(84, 100)]
