"""Expressions: every assertion holds."""

import itertools, operator
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple

if (n := len("abc")) > 2:
    walrus = n
P = namedtuple("P", "x y")
a, *b, c = range(5)
d = {**{"x": 1}, "y": [i * i for i in range(4) if i % 2]}
total = sum(i for i in range(4))

assert walrus == 3
assert a == 0
assert b == [1, 2, 3]
assert c == 4
assert d == {"x": 1, "y": [1, 9]}
assert ({k: v for v, k in enumerate("ab")}) == {"a": 0, "b": 1}
assert ({1, 2} | {3}) == {1, 2, 3}
assert (f"{n:>{5}}|{n!r}|{n=}") == "    3|3|n=3"
assert ("%(x)d" % {"x": total / 2}) == "3"
assert ("{} {x}".format(1, x=2)) == "1 2"
assert (Counter("aab").most_common(1)) == [("a", 2)]
assert (deque([1, 2], maxlen=1)[0]) == 2
assert (P(1, 2)._replace(x=3).x) == 3
assert (defaultdict(list, a=[1])["b"]) == []
assert (ChainMap({1: 2}, {3: 4})[3]) == 4
assert (list(itertools.pairwise("abc"))) == [("a", "b"), ("b", "c")]
assert (list(map(operator.itemgetter(1), [(1, 2)]))) == [2]
assert ([*zip("ab", (1, 2), strict=True)]) == [("a", 1), ("b", 2)]
assert (sorted("bca", key=str.lower, reverse=True)) == ["c", "b", "a"]
assert (1 if n else 2) == 1
assert (not n) == False
assert (7 // 2) == 3
assert (2**10) == 1024
assert (-n) == -3
assert (b"x" * 2) == b"xx"
assert ("abc"[::-1]) == "cba"
assert 0x1F == 31
assert 1_000 == 1000
