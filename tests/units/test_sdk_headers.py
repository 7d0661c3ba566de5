"""Headers keep the Fetch standard's rules: what may be said, and how it is listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.sdk.fetch.headers import Headers

TOKEN = st.text(alphabet="abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
VALUE = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=12)
CHANGES = st.lists(st.tuples(st.sampled_from(["append", "set", "delete"]), TOKEN, VALUE), max_size=20)


@pytest.mark.parametrize("init", [{"X-A": "1", "b": "2"}, [("X-A", "1"), ["b", "2"]], Headers({"x-a": "1", "B": "2"})])
def test_headers_are_made_of_a_mapping_of_pairs_or_of_headers(init: object) -> None:
    assert list(Headers(init)) == [("b", "2"), ("x-a", "1")]  # type: ignore[arg-type]  # every kind in turn


def test_a_copy_does_not_change_with_its_original() -> None:
    first = Headers({"a": "1"})
    second = Headers(first)
    first.set("a", "2")
    assert second["a"] == "1"


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\n", "(x)", "a,b", "\ud800"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    headers = Headers()
    for call in (
        lambda: headers.get(name),
        lambda: headers.has(name),
        lambda: headers.delete(name),
        lambda: headers.append(name, "x"),
        lambda: headers.set(name, "x"),
        lambda: Headers({name: "x"}),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\r\nb: c", "snow\u2603", "\ud800", None, object()])
def test_a_value_that_would_break_the_message_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        Headers().set("a", value)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError):
        Headers([("a", value)])  # type: ignore[list-item]  # wrong on purpose


@pytest.mark.parametrize("init", ["a", b"a", 5, [("a",)], [("a", "b", "c")], ["ab"], [5]])
def test_what_is_neither_mapping_nor_pairs_is_refused(init: object) -> None:
    with pytest.raises(TypeError):
        Headers(init)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [(" a ", "a"), ("\t\r\na b\n", "a b"), ("", ""), ("\va", "\va"), ("é", "é"), (5, "5"), (True, "true"), (1.0, "1")],
)
def test_a_value_is_normalised_as_a_byte_string(given_value: str, kept: str) -> None:
    assert Headers({"x": given_value}).get("x") == kept


def test_get_combines_in_order_and_is_none_when_there_is_nothing() -> None:
    headers = Headers([("accept", "a"), ("x", "y"), ("Accept", "b"), ("ACCEPT", "")])
    assert headers.get("accept") == "a, b, "
    assert headers.get("missing") is None
    assert headers.get("missing", "default") == "default"


def test_set_takes_the_place_of_the_first_and_removes_the_others() -> None:
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3")])
    headers.set("a", "4")
    headers.set("c", "5")
    assert headers.wire == [(b"a", b"4"), (b"b", b"2"), (b"c", b"5")]


def test_delete_removes_every_value_and_forgives_a_missing_name() -> None:
    headers = Headers([("a", "1"), ("A", "2"), ("b", "3")])
    headers.delete("a")
    headers.delete("zzz")
    assert list(headers.keys()) == ["b"]


def test_set_cookie_is_never_combined_when_listed() -> None:
    headers = Headers([("set-cookie", "b=2"), ("z", "1"), ("Set-Cookie", "a=1"), ("c", "3"), ("C", "4")])
    assert list(headers) == [("c", "3, 4"), ("set-cookie", "b=2"), ("set-cookie", "a=1"), ("z", "1")]
    assert headers.get_set_cookie() == ["b=2", "a=1"]
    assert headers.get("set-cookie") == "b=2, a=1"
    headers.set("set-cookie", "c=3")
    assert headers.get_set_cookie() == ["c=3"]
    assert Headers().get_set_cookie() == []


def test_headers_are_used_like_a_mapping_too() -> None:
    headers = Headers({"A": "1"})
    headers["B"] = "2"
    assert "a" in headers and "c" not in headers
    assert dict(headers) == {"a": "1", "b": "2"}
    assert list(headers.keys()) == ["a", "b"] and list(headers.values()) == ["1", "2"]
    assert len(headers) == 2 and list(headers.items()) == list(headers)
    del headers["b"]
    for missing in (lambda: headers["b"], lambda: headers.__delitem__("b")):
        with pytest.raises(KeyError):
            missing()


def test_iteration_sees_what_changes_under_it() -> None:
    headers = Headers([("a", "1"), ("b", "2"), ("c", "3")])
    walk = iter(headers)
    assert next(walk) == ("a", "1")
    headers.delete("b")
    assert next(walk) == ("c", "3")
    headers.append("d", "4")
    assert list(walk) == [("d", "4")]


@given(CHANGES)
def test_any_series_of_changes_agrees_with_a_plain_list(changes: list[tuple[str, str, str]]) -> None:
    headers, model = Headers(), list[tuple[str, str]]()
    for what, name, value in changes:
        key, text = name.lower(), value.strip("\t\n\r ")
        if what == "append":
            headers.append(name, value)
            model.append((key, text))
        else:
            first = next((at for at, pair in enumerate(model) if pair[0] == key), len(model))
            kept = [pair for pair in model if pair[0] != key]
            headers.set(name, value) if what == "set" else headers.delete(name)
            model = [*kept[:first], (key, text), *kept[first:]] if what == "set" else kept
    assert [(name.decode(), value.decode("latin-1")) for name, value in headers.wire] == model
    names = sorted({name for name, _ in model})
    assert list(headers) == [(name, ", ".join(value for key, value in model if key == name)) for name in names]


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=10))
def test_headers_survive_the_wire(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    again = Headers.from_wire(headers.wire)
    assert list(again) == list(headers)
    for name, value in headers.wire:
        assert name == name.lower()
        assert not set(value) & set(b"\0\r\n") and value == value.strip(b"\t\n\r ")
