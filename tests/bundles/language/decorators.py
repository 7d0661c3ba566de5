"""Decorators and closures: every assertion holds."""

import functools


def twice(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs) * 2

    return inner


@twice
def add(a, /, b, *, c=1):
    "Adds."
    return a + b + c


@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class A:
    @functools.cached_property
    def once(self):
        return object()


@functools.total_ordering
class O:
    def __init__(self, n):
        self.n = n

    def __eq__(self, o):
        return self.n == o.n

    def __lt__(self, o):
        return self.n < o.n


def counter():
    n = 0

    def up():
        nonlocal n
        n += 1
        return n

    return up


up = counter()
up()
a = A()

assert (add(1, 2)) == 8
assert (add.__name__) == "add"
assert (add.__doc__) == "Adds."
assert (fib(50)) == 12586269025
assert (a.once is a.once) == True
assert (O(1) >= O(0)) == True
assert (up()) == 2
assert (functools.partial(add, 1)(b=1)) == 6
assert (functools.reduce(lambda x, y: x * y, [1, 2, 3, 4])) == 24
