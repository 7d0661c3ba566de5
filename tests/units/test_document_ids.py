"""Ids carry their table and find typing errors."""

import os

from hypothesis import given
from hypothesis import strategies as st

from runtime.document_ids import RandomBytes, make_document_id, parse_document_id

tables = st.integers(1, 2**32 - 1)
randoms = st.binary(min_size=16, max_size=16)
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@given(tables, randoms)
def test_an_id_is_read_as_it_was_made(table: int, random: bytes) -> None:
    id = make_document_id(table, random)
    assert parse_document_id(id.text) == id
    assert 31 <= len(id.text) <= 37
    assert set(id.text) <= set(CROCKFORD)


@given(tables, randoms)
def test_capitals_and_look_alikes_are_the_same_id(table: int, random: bytes) -> None:
    id = make_document_id(table, random)
    assert parse_document_id(id.text.upper().replace("1", "L").replace("0", "O")) == id


@given(tables, randoms, st.data())
def test_one_wrong_character_is_no_id(table: int, random: bytes, data: st.DataObject) -> None:
    text = make_document_id(table, random).text
    at = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from([letter for letter in CROCKFORD + "u!é " if letter != text[at]]))
    assert parse_document_id(text[:at] + wrong + text[at + 1 :]) is None


@given(st.text(max_size=40) | st.text(CROCKFORD + "_+-", min_size=31, max_size=37))
def test_what_nobody_made_is_no_id(text: str) -> None:
    parsed = parse_document_id(text)
    # A text that happens to carry a right checksum is an id, and then it has this one spelling.
    assert parsed is None or make_document_id(parsed.table, parsed.random) == parsed


def test_ids_of_small_tables_have_31_characters() -> None:
    assert [len(make_document_id(table, bytes(16)).text) for table in (1, 127, 128, 16_383)] == [31, 31, 32, 32]


def test_ids_of_one_table_stand_in_the_order_of_their_bytes() -> None:
    randoms = sorted(os.urandom(16) for _ in range(100))
    texts = [make_document_id(40, random).text for random in randoms]
    assert texts == sorted(texts)


def test_random_bytes_are_not_given_twice() -> None:
    supply = RandomBytes()
    assert len({supply.next() for _ in range(1_000)}) == 1_000
