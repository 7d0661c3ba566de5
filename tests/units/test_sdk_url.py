"""URL and URLSearchParams keep the URL standard's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.sdk.fetch.url import URL, URLSearchParams

TEXT = st.text(max_size=8)


def test_a_url_falls_into_its_parts() -> None:
    url = URL("HTTPS://user:pa%20ss@Example.ORG:8443/a/../b c?x=1&y=ä#frag")
    assert url.href == str(url) == url.to_json() == "https://user:pa%20ss@example.org:8443/b%20c?x=1&y=%C3%A4#frag"
    assert (url.protocol, url.username, url.password) == ("https:", "user", "pa%20ss")
    assert (url.host, url.hostname, url.port) == ("example.org:8443", "example.org", "8443")
    assert (url.pathname, url.search, url.hash) == ("/b%20c", "?x=1&y=%C3%A4", "#frag")
    assert url.origin == "https://example.org:8443"


@pytest.mark.parametrize(
    ("url", "base", "href"),
    [
        ("../x", "http://a/b/c/d", "http://a/b/x"),
        ("//h/p", "https://a/", "https://h/p"),
        ("?q", "http://a/b", "http://a/b?q"),
        ("", "http://a/b#c", "http://a/b"),
        ("http:80", "https://a/", "http://0.0.0.80/"),
        ("http://0x7f.1/", None, "http://127.0.0.1/"),
        ("http://faß.example/", None, "http://xn--fa-hia.example/"),
        ("mailto:a@b", None, "mailto:a@b"),
        ("http://a:80/", None, "http://a/"),
    ],
)
def test_a_url_is_resolved_against_its_base(url: str, base: str | None, href: str) -> None:
    assert URL(url, base).href == href
    assert URL.can_parse(url, base)
    assert URL(URL(url, base)).href == href


@pytest.mark.parametrize(
    "url", ["", "/relative", "http://", "http://a b/", "http://[::1", "http://a:99999/", "https://%00/"]
)
def test_what_is_no_url_is_a_type_error(url: str) -> None:
    with pytest.raises(TypeError, match="not a valid URL"):
        URL(url)
    assert not URL.can_parse(url)
    assert URL.parse(url) is None


@pytest.mark.parametrize(
    ("part", "value", "href"),
    [
        ("protocol", "http", "http://u:p@h:81/p?q#f"),
        ("protocol", "mailto", "https://u:p@h:81/p?q#f"),
        ("username", "x y", "https://x%20y:p@h:81/p?q#f"),
        ("password", "", "https://u@h:81/p?q#f"),
        ("host", "other:9", "https://u:p@other:9/p?q#f"),
        ("hostname", "a b", "https://u:p@h:81/p?q#f"),
        ("port", "443", "https://u:p@h/p?q#f"),
        ("port", 8080, "https://u:p@h:8080/p?q#f"),
        ("port", "x", "https://u:p@h:81/p?q#f"),
        ("pathname", "a?b", "https://u:p@h:81/a%3Fb?q#f"),
        ("search", "", "https://u:p@h:81/p#f"),
        ("search", "?ä", "https://u:p@h:81/p?%C3%A4#f"),
        ("hash", "", "https://u:p@h:81/p?q"),
        ("href", "http://new/", "http://new/"),
    ],
)
def test_a_setter_changes_its_part_or_nothing(part: str, value: object, href: str) -> None:
    url = URL("https://u:p@h:81/p?q#f")
    setattr(url, part, value)
    assert url.href == href


def test_only_href_refuses_nonsense_aloud() -> None:
    url = URL("http://a/")
    with pytest.raises(TypeError):
        url.href = "nonsense"
    assert url.href == "http://a/"


def test_search_params_and_url_follow_each_other() -> None:
    url = URL("http://a/?x=1#h")
    params = url.search_params
    params.append("y", "a b&")
    assert url.href == "http://a/?x=1&y=a+b%26#h"
    url.search = "?z=3"
    assert url.search_params is params and list(params) == [("z", "3")]
    url.href = "http://b/?q=%20"
    assert params.get("q") == " "
    params.delete("q")
    assert url.href == "http://b/"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("?a=b", [("a", "b")]),
        ("??a=b", [("?a", "b")]),
        ("a", [("a", "")]),
        ("a=b=c&&=&d", [("a", "b=c"), ("", ""), ("d", "")]),
        ("a+b=%2b%2B+", [("a b", "++ ")]),
        ("%zz=%4&%=%e", [("%zz", "%4"), ("%", "%e")]),
        ("a=%ff%c3%a4", [("a", "\ufffdä")]),
        ("\ufeffa=%EF%BB%BFb", [("\ufeffa", "\ufeffb")]),
        ("ä=\ud800", [("ä", "\ufffd")]),
        ("\ud83d\ude00", [("\U0001f600", "")]),
        ("a;b", [("a;b", "")]),
    ],
)
def test_a_query_is_read_as_the_standard_reads_it(text: str, pairs: list[tuple[str, str]]) -> None:
    assert list(URLSearchParams(text)) == pairs


def test_a_query_is_written_as_the_standard_writes_it() -> None:
    params = URLSearchParams([("a b~", "*-._!'()"), ("ä", "\0&=+%"), ("", "")])
    assert str(params) == "a+b%7E=*-._%21%27%28%29&%C3%A4=%00%26%3D%2B%25&="


def test_search_params_are_made_of_a_mapping_of_pairs_or_of_their_like() -> None:
    for init in ({"a": "1", "b": "2"}, [("a", "1"), ["b", "2"]], URLSearchParams("a=1&b=2")):
        assert str(URLSearchParams(init)) == "a=1&b=2"  # type: ignore[arg-type]  # every kind in turn
    assert list(URLSearchParams(dict(zip("\ud800\udfff", "12", strict=True)))) == [("\ufffd", "2")]
    for wrong in ([("a",)], ["ab"], 5, {"a": None}):
        with pytest.raises(TypeError):
            URLSearchParams(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_search_params_are_asked_and_changed_by_name_and_value() -> None:
    params = URLSearchParams("a=1&b=2&a=3&c=4&a=1")
    assert (params.get("a"), params.get_all("a"), params.get("zz"), params.size) == ("1", ["1", "3", "1"], None, 5)
    assert params.has("a", "3") and not params.has("a", "2") and "b" in params and params["b"] == "2"
    params.delete("a", "1")
    assert str(params) == "b=2&a=3&c=4"
    params.append("b", "5")
    params.set("b", "6")
    params.set("d", "7")
    assert str(params) == "b=6&a=3&c=4&d=7"
    with pytest.raises(KeyError):
        params["zz"]


def test_sorting_is_stable_and_by_code_units() -> None:
    params = URLSearchParams("\uffff=1&z=b&\U0001f308=2&z=a&a=3")
    params.sort()
    assert list(params) == [("a", "3"), ("z", "b"), ("z", "a"), ("\U0001f308", "2"), ("\uffff", "1")]


def test_iteration_of_search_params_is_live() -> None:
    url = URL("http://a/?a=1&b=2&c=3")
    seen = []
    for name, _ in url.search_params:
        seen.append(name)
        url.search_params.delete("b")
    assert seen == ["a", "c"]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]]) -> None:
    params = URLSearchParams(pairs)
    url = URL("http://a/")
    for name, value in pairs:
        url.search_params.append(name, value)
    assert str(params).isascii()
    assert list(URLSearchParams(str(params))) == list(params) == list(URL(url.href).search_params)
