"""Text: every assertion holds."""

import base64, binascii, difflib, html, re, string, struct, textwrap, unicodedata, urllib.parse, zlib
from html.parser import HTMLParser
from urllib.parse import parse_qs, quote, urlencode, urljoin


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [v for k, v in attrs if k == "href"]


links = Links()
links.feed('<a href="/x">y</a>')
m = re.match(r"(?P<user>[^@]+)@(.+)", "me@example.org")
swap = re.compile(r"(\w)(\w)").sub(r"\2\1", "ab")

assert swap == "ba"
assert (m["user"]) == "me"
assert (m.groups()) == ("me", "example.org")
assert (re.sub(r"\d", lambda x: str(int(x[0]) + 1), "a1b2")) == "a2b3"
assert (html.escape("<a>")) == "&lt;a&gt;"
assert (links.found) == ["/x"]
assert (urllib.parse.urlparse("https://u@h:1/p?q=1#f").port) == 1
assert (parse_qs("a=1&a=2")) == {"a": ["1", "2"]}
assert (quote("a b/ü")) == "a%20b/%C3%BC"
assert (urlencode({"a": "ü"})) == "a=%C3%BC"
assert (urljoin("https://x/a/b", "../c")) == "https://x/c"
assert (base64.urlsafe_b64encode(b"\xff\xfe").decode()) == "__4="
assert (base64.b64decode("aGk=")) == b"hi"
assert (struct.unpack("<IH", struct.pack("<IH", 1, 2))) == (1, 2)
assert (zlib.decompress(zlib.compress(b"x" * 99))[:1]) == b"x"
assert (textwrap.dedent("  a")) == "a"
assert (unicodedata.normalize("NFC", "e\u0301")) == "é"
assert (string.Template("$a").substitute(a=1)) == "1"
assert (string.ascii_lowercase[:3]) == "abc"
assert (binascii.hexlify(b"a")) == b"61"
assert (difflib.get_close_matches("appel", ["apple"])) == ["apple"]
assert ("Straße".casefold()) == "strasse"
assert ("é".encode("latin-1")) == b"\xe9"
assert ("bücher.example".encode("idna")) == b"xn--bcher-kva.example"
assert (textwrap.shorten("a b c d e f", 5, placeholder="…")) == "a b…"
